/**
 * Policy as a machine: what the sources said last, and who wants to hear of it.
 *
 *   reading --observe.read--> serving --observe.read--> serving (watchers told if it changed)
 *      |  ^                      |
 *      |  +------ retry ---------+-- observe.crashed --> blind: nothing applies, local settings are off, until a reading works
 *      +------------------------------------------------> blind
 */
import { setup } from 'xstate'
import { fault, type Inbound, type KernelEvent, type Outgoing } from '../../kernel/index.ts'
import { changeEntry, check, effectiveReply, explain, type Known, know, policyPart } from './answers.ts'
import type { Variables } from './folder-path.ts'
import { maxWaiting, maxWatchers, retryMs } from './limits.ts'
import { textOf } from './places.ts'
import type { protocol } from './protocol.ts'
import type { Source } from './sources.ts'

type Asked = { kind: 'effective' | 'secrets' | 'explain' | 'watch'; key: string }
export type Context = {
  variables: Variables
  known: Known | null
  /** Requests that came before the first reading. */
  waiting: readonly (Asked & { request: number })[]
  watchers: readonly number[]
}
type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'observe.read'; sources: readonly Source[] }
  | { type: 'observe.ended' | 'observe.crashed' }

const base = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing; input: { params: Readonly<Record<string, unknown>> } },
  /** Effect: reads now and whenever a source changes. */
  actions: { observe: () => {} },
  delays: { retry: retryMs },
})

/** The context after a request, and what its sender is told. */
function ask(context: Context, request: number, asked: Asked): { context: Context; out: Outgoing[] } {
  const { known, waiting, watchers } = context
  const overloaded = (what: string): Outgoing => ({
    type: 'refuse',
    request,
    error: fault('overloaded', `Too many requests ${what} policy.`),
  })
  if (known === null) {
    if (waiting.length >= maxWaiting) return { context, out: [overloaded('wait for')] }
    return { context: { ...context, waiting: [...waiting, { ...asked, request }] }, out: [] }
  }
  switch (asked.kind) {
    case 'effective':
      return { context, out: [{ type: 'reply', request, body: effectiveReply(known) }] }
    case 'secrets':
      return { context, out: [{ type: 'reply', request, body: { otlpHeaders: known.effective.values.otlpHeaders } }] }
    case 'explain': {
      const found = explain(known, asked.key)
      return { context, out: ['code' in found ? { type: 'refuse', request, error: found } : { type: 'reply', request, body: found }] }
    }
    case 'watch':
      if (watchers.length >= maxWatchers) return { context, out: [overloaded('watch')] }
      return {
        context: { ...context, watchers: [...watchers, request] },
        out: [{ type: 'partTo', request, body: { policy: policyPart(known) } }],
      }
    default:
      return asked.kind satisfies never
  }
}

/** A reading: who waited is answered, who watches is told if anything in force changed. */
function learn(context: Context, sources: readonly Source[]): { context: Context; out: Outgoing[] } {
  const known = know(sources, context.variables)
  const part = policyPart(known)
  const changed = context.known === null || JSON.stringify(policyPart(context.known)) !== JSON.stringify(part)
  // Headers are not part of what watchers see; told again, whoever needs them asks for them.
  const secretChanged =
    context.known !== null &&
    JSON.stringify(context.known.effective.values.otlpHeaders) !== JSON.stringify(known.effective.values.otlpHeaders)
  const told =
    changed || secretChanged ? context.watchers.map((request): Outgoing => ({ type: 'partTo', request, body: { policy: part } })) : []
  const record: Outgoing[] =
    changed || secretChanged ? [{ type: 'send', to: 'telemetry', kind: 'audit', body: changeEntry(context.known, known) }] : []
  let step: { context: Context; out: Outgoing[] } = { context: { ...context, known, waiting: [] }, out: [...record, ...told] }
  for (const { request, ...asked } of context.waiting) {
    const next = ask(step.context, request, asked)
    step = { context: next.context, out: [...step.out, ...next.out] }
  }
  return step
}

const stepping = (take: (context: Context, event: Event) => { context: Context; out: readonly Outgoing[] }) =>
  base.enqueueActions(({ context, event, enqueue }) => {
    const { context: next, out } = take(context, event)
    enqueue.assign(() => next)
    for (const message of out) enqueue.emit(message)
  })

export const machine = base
  .extend({
    actions: {
      answer: stepping((context, event) => {
        if (!('from' in event) || event.type === 'check' || event.from.request === null) return { context, out: [] }
        return ask(context, event.from.request, { kind: event.type, key: event.type === 'explain' ? event.body.key : '' })
      }),
      check: stepping((context, event) => {
        const request = event.type === 'check' ? event.from.request : null
        if (event.type !== 'check' || request === null) return { context, out: [] }
        return { context, out: [{ type: 'reply', request, body: check(event.body.text, context.variables) }] }
      }),
      learn: stepping((context, event) => (event.type === 'observe.read' ? learn(context, event.sources) : { context, out: [] })),
      goBlind: stepping((context) =>
        learn(context, [
          { kind: 'managed-file', place: 'all places', state: 'unreadable', why: 'reading the sources failed; it is tried again' },
        ]),
      ),
      forget: stepping((context, event) => {
        if (event.type !== 'cancelled') return { context, out: [] }
        const { request } = event
        const others = context.waiting.filter((item) => item.request !== request)
        return { context: { ...context, waiting: others, watchers: context.watchers.filter((other) => other !== request) }, out: [] }
      }),
    },
  })
  .createMachine({
    id: 'policy',
    context: ({ input: { params } }) => ({
      variables: { home: textOf(params['userHome']), user: textOf(params['user']) },
      known: null,
      waiting: [],
      watchers: [],
    }),
    initial: 'reading',
    on: {
      effective: { actions: 'answer' },
      watch: { actions: 'answer' },
      explain: { actions: 'answer' },
      secrets: { actions: 'answer' },
      check: { actions: 'check' },
      cancelled: { actions: 'forget' },
      'observe.read': { target: '.serving', actions: 'learn' },
      'observe.crashed': '.blind',
      'observe.ended': '.blind',
      stopping: '.stopping',
    },
    states: {
      reading: { entry: 'observe' },
      serving: {},
      blind: { entry: 'goBlind', after: { retry: 'reading' } },
      /** What is known stays true while the others stop. */
      stopping: { on: { 'observe.read': {}, 'observe.crashed': {}, 'observe.ended': {} } },
    },
  })
