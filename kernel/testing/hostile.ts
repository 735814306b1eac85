/**
 * A process actor that answers the kernel's first message with whatever bytes its parameters say: what a taken-over actor could send. Started
 * like any actor, by the kernel's own entry file, whose socket it then uses behind the host's back.
 */
import { Socket } from 'node:net'
import { setup } from 'xstate'
import * as Effect from 'effect/Effect'
import type { Actor, Inbound, KernelEvent, Manifest } from '../types.ts'
import { protocol } from './hostile-protocol.ts'

export const manifest = {
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
          const pipe = new Socket({ fd: 3, readable: false, writable: true })
          for (let n = 0; n < times; n++) if (!pipe.write(bytes)) await new Promise((resolve) => pipe.once('drain', resolve))
          return { type: 'done' }
        }),
    },
  },
} satisfies Actor
