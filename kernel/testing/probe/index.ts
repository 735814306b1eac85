/** A small actor for the kernel's own tests: echoes, streams, waits, crashes, passes capabilities on, and tries what its jail should deny. */
import { connect } from 'node:net'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import * as Effect from 'effect/Effect'
import { assign, emit, enqueueActions, setup } from 'xstate'
import type { Actor, EffectContext, Effects, From, Inbound, KernelEvent, Manifest, Outgoing } from '../../types.ts'
import { noRequest } from '../../no-request.ts'
import { protocol } from './protocol.ts'

export const manifest = {
  kind: 'probe',
  purpose: 'shows the kernel to its tests',
  placement: 'process',
  cardinality: 'singleton',
  grants: [{ name: 'peer', target: 'peer', limits: { kinds: ['echo', 'slow'] }, reason: 'to ask the peer' }],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'permanent' },
} satisfies Manifest

type ProbeEvent =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'attempt.done'; request: number; results: Record<string, string> }
  | { type: 'stream.done'; request: number }

const machine = setup({
  types: {} as { context: { count: number; asking: Record<string, number> }; events: ProbeEvent; emitted: Outgoing },
  actions: {
    attempt: (_, _params: { request: number | null; dir: string | undefined; outgrowMiB: number | undefined }) => {},
    stream: (_, _params: { request: number | null; parts: number }) => {},
    hoard: (_, _params: { outsideMiB: number | null }) => {},
    breaks: () => {},
  },
}).createMachine({
  id: 'probe',
  context: { count: 0, asking: {} },
  initial: 'on',
  states: {
    on: {
      on: {
        echo: {
          actions: [
            assign({ count: ({ context }) => context.count + 1 }),
            emit(
              ({ event, context }): Outgoing => ({
                type: 'reply',
                request: requestOf(event.from),
                body: { text: event.body.text, count: context.count, from: event.from.badge.from, session: event.from.badge.session },
              }),
            ),
          ],
        },
        silent: {},
        long: {
          actions: emit(({ event }): Outgoing => {
            const text = 'x'.repeat(event.body.characters)
            const request = requestOf(event.from)
            if (!event.body.ask) return { type: 'reply', request, body: { text } }
            return { type: 'send', to: 'peer', kind: 'echo', body: { text }, ref: String(request) }
          }),
        },
        spin: {
          actions: () => {
            for (;;);
          },
        },
        never: { actions: assign({ count: ({ context }) => context.count + 1 }) },
        attempt: {
          actions: {
            type: 'attempt',
            params: ({ event }) => ({ request: event.from.request, dir: event.body.dir, outgrowMiB: event.body.outgrowMiB }),
          },
        },
        'attempt.done': {
          actions: emit(({ event }): Outgoing => ({ type: 'reply', request: event.request, body: { results: event.results } })),
        },
        hoard: { actions: { type: 'hoard', params: ({ event }) => ({ outsideMiB: event.body.outsideMiB }) } },
        breaks: { actions: 'breaks' },
        stream: { actions: { type: 'stream', params: ({ event }) => ({ request: event.from.request, parts: event.body.parts }) } },
        'stream.done': { actions: emit(({ event }): Outgoing => ({ type: 'reply', request: event.request, body: {} })) },
        burst: {
          actions: enqueueActions(({ enqueue, event }) => {
            const request = requestOf(event.from)
            for (let n = 0; n < 100; n++) enqueue.emit({ type: 'partTo', request, body: { n } })
            enqueue.emit({ type: 'reply', request, body: {} })
          }),
        },
        spend: {
          actions: enqueueActions(({ enqueue, event }) => {
            const { quota, amount, answer } = event.body
            const request = requestOf(event.from)
            enqueue.emit({ type: 'charge', request, quota, amount })
            if (answer) enqueue.emit({ type: 'reply', request, body: {} })
          }),
        },
        throws: {
          actions: [
            assign({ count: ({ context }) => context.count + 1 }),
            emit({ type: 'send', to: 'peer', kind: 'echo', body: { text: 'must not leave' } }),
            assign(() => {
              throw new Error('asked to')
            }),
          ],
        },
        ask: {
          actions: [
            assign({ asking: ({ context, event }) => ({ ...context.asking, [String(event.from.request)]: requestOf(event.from) }) }),
            emit(
              ({ event }): Outgoing => ({
                type: 'send',
                to: event.from.caps[0] ?? event.body.slot,
                kind: event.body.kind,
                body: { text: 'asked' },
                ref: String(event.from.request),
              }),
            ),
          ],
        },
        replied: { actions: emit(({ event }): Outgoing => ({ type: 'reply', request: Number(event.ref), body: { answer: event.body } })) },
        refused: { actions: emit(({ event }): Outgoing => ({ type: 'refuse', request: Number(event.ref), error: event.error })) },
        cancelled: { actions: assign({ count: ({ context }) => context.count + 1 }) },
      },
    },
  },
})

function requestOf(from: From): number {
  return from.request ?? noRequest
}

const effects = {
  stream: {
    outcomes: ['done'],
    run: ({ request, parts }: { request: number; parts: number }, context: EffectContext) =>
      Effect.promise(async () => {
        for (let n = 0; n < parts; n++) await context.part(request, { n })
        return { type: 'done' }
      }),
  },
  breaks: {
    outcomes: ['done'],
    run: () =>
      Effect.sync(() => {
        setImmediate(() => {
          throw new Error('nobody caught this')
        })
        return { type: 'done' }
      }),
  },
  hoard: {
    outcomes: ['done'],
    run: ({ outsideMiB }: { outsideMiB: number | null }) =>
      Effect.sync(() => {
        const kept: object[] = []
        for (;;) {
          if (outsideMiB === null) kept.push(Array.from({ length: 100_000 }, (_, n) => n + kept.length))
          else if (kept.length < outsideMiB) kept.push(Buffer.alloc(1024 * 1024, 1))
        }
      }),
  },
  attempt: {
    outcomes: ['done'],
    run: ({ dir, outgrowMiB }: { dir?: string; outgrowMiB?: number }) =>
      Effect.promise(async () => {
        const results: Record<string, string> = {}
        const attempt = (name: string, action: () => unknown) => {
          try {
            results[name] = `ok ${String(action())}`
          } catch (error) {
            results[name] = String((error as NodeJS.ErrnoException).code ?? error)
          }
        }
        attempt('read', () => readFileSync('/etc/hostname').length)
        attempt('readOwnCode', () => readFileSync(new URL(import.meta.url)).length)
        attempt('write', () => writeFileSync('/tmp/bulkhead-probe-escape', ''))
        if (dir !== undefined) {
          attempt('readDir', () => readdirSync(dir).length)
          attempt('writeDir', () => writeFileSync(`${dir}/escape`, ''))
        }
        if (outgrowMiB !== undefined) attempt('outgrow', () => Buffer.alloc(outgrowMiB * 1024 * 1024).length)
        attempt('spawn', () => spawnSync('/bin/true').status)
        // oxlint-disable-next-line typescript/no-implied-eval, typescript/no-unsafe-call
        attempt('eval', () => new Function('return 1')())
        attempt('env', () => Object.keys(process.env).length)
        results['connect'] = await new Promise<string>((resolve) => {
          try {
            connect(9, '127.0.0.1')
              .on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
              .on('connect', () => resolve('ok'))
          } catch (error) {
            resolve(String((error as NodeJS.ErrnoException).code))
          }
        })
        return { type: 'done', results }
      }),
  },
} satisfies Effects

export const actor = { manifest, protocol, machine, effects } satisfies Actor
