/**
 * An actor a test can hold up in the middle of a step while messages gather in its hands: by a lever in memory both share, which only a thread can be
 * given. A process is held up from outside, by a signal.
 */
import { assign, emit, setup } from 'xstate'
import { noRequest } from '../../no-request.ts'
import type { Actor, From, Inbound, KernelEvent, Manifest, Outgoing } from '../../types.ts'
import { protocol } from './protocol.ts'

type Context = { notes: readonly number[]; lever: Int32Array<SharedArrayBuffer> | null }
type Input = { params: { lever?: SharedArrayBuffer } }

const requestOf = (from: From): number => from.request ?? noRequest

/** Words of the lever: whether the step goes on, and whether it has begun. */
export const lever = { moved: 0, pulled: 1 }

function stall(at: Context['lever']): void {
  if (at === null) return
  Atomics.store(at, lever.pulled, 1)
  Atomics.wait(at, lever.moved, 0)
  Atomics.store(at, lever.moved, 0)
  Atomics.store(at, lever.pulled, 0)
}

const manifest = {
  kind: 'stalling',
  purpose: 'shows the kernel to its tests',
  placement: 'process',
  cardinality: 'singleton',
  grants: [],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'permanent' },
} satisfies Manifest

const machine = setup({
  types: {} as { context: Context; events: Inbound<typeof protocol> | KernelEvent; emitted: Outgoing; input: Input },
}).createMachine({
  id: 'stalling',
  context: ({ input }) => ({ notes: [], lever: input.params.lever ? new Int32Array(input.params.lever) : null }),
  on: {
    stall: {
      actions: [
        assign(({ context }) => {
          stall(context.lever)
          return {}
        }),
        emit(({ event }): Outgoing => ({ type: 'reply', request: requestOf(event.from), body: {} })),
      ],
    },
    note: {
      actions: [
        assign({ notes: ({ context, event }) => [...context.notes, event.body.n] }),
        emit(({ event }): Outgoing => ({ type: 'reply', request: requestOf(event.from), body: { noted: event.body.n } })),
      ],
    },
    notes: {
      actions: [
        emit(({ context, event }): Outgoing => ({ type: 'reply', request: requestOf(event.from), body: { notes: [...context.notes] } })),
        assign({ notes: [] }),
      ],
    },
  },
})

export const actor = { manifest, protocol, machine, effects: {} } satisfies Actor
