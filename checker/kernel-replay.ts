/**
 * Replays a counterexample of one actor against the running kernel: real mailboxes, capabilities, requests and message log. Around the actor
 * stand parties that do what the counterexample says and nothing else:
 *
 *   message              from an endpoint with the badge it came with
 *   outcome of an effect the effect runs until its outcome is due
 *   answer, part         from whoever the request reached
 *   timer                delays are put off for ever, and a timer fires when it is due
 *
 * Shares nothing with the search. Numbers of requests are the kernel's own; those of the counterexample are translated.
 */
import * as Effect from 'effect/Effect'
import { type AnyStateMachine, initialTransition, transition } from 'xstate'
import { z } from 'zod'
import { mint } from '../kernel/capabilities.ts'
import { createKernel, type Endpoint, type Native, type NativeFrom } from '../kernel/kernel.ts'
import { openMessageLog } from '../kernel/message-log.ts'
import { startInline } from '../kernel/placement-inline.ts'
import { decode } from '../kernel/transcript.ts'
import type { Actor, Badge, EffectContext, Fault, Outgoing, Protocol } from '../kernel/types.ts'

type Event = { type: string; [key: string]: unknown }
type Running = { name: string; params: Record<string, unknown>; end(outcome: Event): void }
type Asked = { kind: string; from: NativeFrom; answer(body: unknown, caps: number): void; refuse(error: Fault): void }
export type KernelReplay = {
  /** The state the machine is in after the event, `(threw)` if its step threw. */
  step(event: Event): Promise<unknown>
  stop(): Promise<void>
}

const kind = 'replayed'
/** Whoever a capability that came with an answer leads to. */
const elsewhere = 'outside'
/** No timer of Node is due later; none fires by itself. */
const never = 2 ** 31 - 1
/** Turns of the event loop within which the kernel has handed over what was sent. */
const maxTurns = 10_000

export async function createKernelReplay(subject: {
  machine: AnyStateMachine
  input: { params?: Record<string, unknown> } | null | undefined
  events: readonly { event: Event }[]
}): Promise<KernelReplay> {
  const events = subject.events.map(({ event }) => event)
  const sends = sentOn(subject.machine, subject.input, events)
  const slots = [...new Set(sends.flatMap(({ to }) => (typeof to === 'string' ? [to] : [])))]
  const running: Running[] = []
  const asked: Asked[] = []
  const requests = new Map<number, { abort: AbortController; real: number | null }>()
  let context: EffectContext | null = null
  const effects: Actor['effects'] = Object.fromEntries(
    Object.keys(subject.machine.implementations.actions).map((name) => [
      name,
      {
        outcomes: events.flatMap(({ type }) => (type.startsWith(`${name}.`) ? [type.slice(name.length + 1)] : [])),
        run: (params: Record<string, unknown>, given: EffectContext) => {
          context = given
          return Effect.callback<Event>((resume) => {
            const one: Running = { name, params, end: (outcome) => resume(Effect.succeed(outcome)) }
            running.push(one)
            return Effect.sync(() => void running.splice(running.indexOf(one), 1))
          })
        },
      },
    ]),
  )
  const actor: Actor = {
    manifest: {
      kind,
      purpose: 'replays a counterexample',
      placement: 'inline',
      cardinality: 'singleton',
      grants: slots.map((name) => ({ name, target: `${elsewhere}:${name}`, limits: {}, reason: 'as in the counterexample' })),
      permissions: () => ({}),
      permissionReasons: {},
      restart: { strategy: 'temporary' },
    },
    protocol: anything(events.filter((event) => 'from' in event).map(({ type }) => type)),
    machine: subject.machine.provide({
      delays: Object.fromEntries(Object.keys(subject.machine.implementations.delays).map((name) => [name, never])),
    }),
    effects,
  }
  const log = openMessageLog(':memory:', { version: 'replay' })
  const kernel = createKernel({
    entries: [{ manifest: actor.manifest, protocol: actor.protocol, entry: '', load: async () => actor }],
    natives: [...slots.map((name) => `${elsewhere}:${name}`), elsewhere].map(party),
    params: { [kind]: subject.input?.params ?? {} },
    placements: { inline: startInline, thread: startInline, process: startInline },
    messageLog: log,
    log: () => {},
  })

  /** Takes what it is asked and waits until the counterexample says what it answers. */
  function party(id: string): Native {
    return {
      id,
      protocol: anything(sends.map((message) => message.kind)),
      handle: (what, _body, from) =>
        new Promise((resolve, reject) => {
          const one: Asked = {
            kind: what,
            from,
            answer: (body, caps) =>
              resolve({ body, caps: Array.from({ length: caps }, () => mint(kernel.tables, elsewhere, {}, 'as in the counterexample')) }),
            refuse: reject,
          }
          asked.push(one)
          from.signal.addEventListener('abort', () => void asked.splice(asked.indexOf(one), 1))
        }),
    }
  }

  const senders = new Map<string, Endpoint>()
  function senderOf({ from, session, limits }: Badge): Endpoint {
    const key = JSON.stringify([from, session, limits])
    const known = senders.get(key)
    if (known) return known
    const bounded = session === null ? limits : { ...limits, session }
    const made = kernel.endpoint(`${from}#${senders.size}`, [
      { name: kind, target: kind, limits: bounded, reason: 'as in the counterexample' },
    ])
    senders.set(key, made)
    return made
  }

  function send(event: Event): void {
    const { request, badge } = event['from'] as { request: number | null; badge?: Badge }
    const sender = senderOf(badge ?? { from: 'outside', session: null, limits: {} })
    if (request === null) return sender.send(kind, event.type, event['body'])
    const abort = new AbortController()
    requests.set(request, { abort, real: null })
    sender.request(kind, event.type, event['body'], { signal: abort.signal, deadlineMs: null }).catch(() => {})
  }

  function cause(event: Event): void {
    if ('from' in event) return send(event)
    if (event.type === 'cancelled') return requests.get(event['request'] as number)?.abort.abort()
    if (event.type === 'replied' || event.type === 'refused' || event.type === 'part') return answer(event)
    const [name = ''] = event.type.split('.')
    const due = running.find(
      (one) =>
        one.name === name &&
        (event['ref'] === undefined || one.params['ref'] === undefined || one.params['ref'] === translated(event['ref'])) &&
        (event['request'] === undefined || one.params['request'] === undefined || one.params['request'] === translated(event['request'])),
    )
    if (due) return due.end({ ...event, type: event.type.slice(name.length + 1) })
    if (!context) throw new Error(`${event.type} cannot be raised: no effect has run yet.`)
    context.raise(translated(event) as Event)
  }

  function answer(event: Event): void {
    const waiting = asked.find((one) => one.kind === event['kind'])
    // Who gave it up gets the answer from the kernel.
    if (!waiting) return
    if (event.type === 'part') return waiting.from.part(event['body'])
    asked.splice(asked.indexOf(waiting), 1)
    if (event.type === 'replied') waiting.answer(event['body'], (event['caps'] as readonly unknown[]).length)
    else waiting.refuse(event['error'] as Fault)
  }

  /** Request numbers of the counterexample as the kernel's, also where refs are made of them. */
  function translated(value: unknown): unknown {
    if (typeof value === 'number') return requests.get(value)?.real ?? value
    if (typeof value === 'string') return value.replaceAll(/\d+/g, (digits) => String(requests.get(Number(digits))?.real ?? digits))
    if (Array.isArray(value)) return value.map(translated)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === 'type' ? item : translated(item)]))
  }

  await kernel.start()
  const [span] = log.allSpans()
  if (!span) throw new Error('The machine did not start.')
  const lines = () => [...log.linesOf(span.id)]
  let seen = 0

  /** The next step the log has. */
  async function next(): Promise<ReturnType<typeof lines>[number]> {
    for (let turn = 0; turn < maxTurns; turn++) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      log.allSpans()
      const line = lines()[seen]
      if (line) {
        seen++
        return line
      }
    }
    throw new Error('The event did not reach the machine.')
  }
  await next()
  return {
    async step(event) {
      cause(event)
      const line = await next()
      if ('from' in event) {
        const { request } = event['from'] as { request: number | null }
        const known = request === null ? undefined : requests.get(request)
        if (known) known.real = ((decode(line.event) as Event)['from'] as { request: number }).request
      }
      return line.error === null ? decode(line.value) : '(threw)'
    },
    async stop() {
      await kernel.stop()
      log.close()
    },
  }
}

function anything(kinds: readonly string[]): Protocol {
  return Object.fromEntries(kinds.map((name) => [name, { body: z.any(), reply: z.any(), part: z.any(), deadlineMs: null }]))
}

/** What the machine sends on the way: who has to be there to take it. */
function sentOn(machine: AnyStateMachine, input: unknown, events: readonly Event[]): Extract<Outgoing, { type: 'send' }>[] {
  const sent: Extract<Outgoing, { type: 'send' }>[] = []
  const note = (actions: readonly { type: string; params: unknown }[]): void => {
    for (const { type, params } of actions) {
      if (type !== 'xstate.emit') continue
      const { event } = params as { event: Outgoing }
      if (event.type === 'send') sent.push(event)
    }
  }
  let [snapshot, actions] = initialTransition(machine, input)
  note(actions)
  for (const event of events) {
    ;[snapshot, actions] = transition(machine, snapshot, event)
    // A step that throws sends nothing, and the counterexample ends with it.
    if (snapshot.status === 'error') break
    note(actions)
  }
  return sent
}
