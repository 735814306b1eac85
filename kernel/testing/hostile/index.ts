/**
 * A process actor that answers the kernel's first message with whatever bytes its parameters say: what a taken-over actor could send. Started
 * like any actor, by the kernel's own entry file, whose socket it then writes to behind the host's back.
 */
import { writeSync } from 'node:fs'
import { setup } from 'xstate'
import * as Effect from 'effect/Effect'
import type { Actor, Inbound, KernelEvent, Manifest } from '../../types.ts'
import { protocol } from './protocol.ts'

const manifest = {
  kind: 'hostile',
  purpose: 'shows the kernel what a hostile actor may send',
  placement: 'process',
  cardinality: 'singleton',
  grants: [{ name: 'peer', target: 'peer', limits: { kinds: ['echo'] }, reason: 'to have something to misuse' }],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'permanent', intensity: 1000 },
} satisfies Manifest

const machine = setup({
  types: {} as { context: object; events: Inbound<typeof protocol> | KernelEvent | { type: 'write.done' } },
  actions: { write: (_, _params: { bytes: Uint8Array; times: number }) => {} },
}).createMachine({
  context: {},
  on: { attack: { actions: { type: 'write', params: ({ event }) => ({ bytes: event.body.bytes, times: event.body.times }) } } },
})

export const actor = {
  manifest,
  protocol,
  machine,
  effects: {
    write: {
      outcomes: ['done'],
      run: ({ bytes, times }: { bytes: Uint8Array; times: number }) =>
        Effect.promise(async () => {
          for (let n = 0; n < times; n++) await whole(bytes)
          return { type: 'done' }
        }),
    },
  },
} satisfies Actor

/** The socket does not block: what does not fit waits its turn. */
async function whole(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(3, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}
