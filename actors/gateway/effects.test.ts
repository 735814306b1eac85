import { Socket } from 'node:net'
import * as Effect from 'effect/Effect'
import { expect, test } from 'vitest'
import type { EffectContext } from '../../kernel/index.ts'
import { effects } from './effects.ts'

test.each(['local', 'page'] as const)('who is gone before being served, through the %s door, holds no place', async (door) => {
  const socket = new Socket().destroy()
  const context = {
    params: { page: { port: 1, token: 'x', dir: '/nowhere' } },
    takeHandle: () => socket,
    raise() {},
    log() {},
  } as unknown as EffectContext
  await new Promise((resolve) => socket.once('close', resolve))
  expect(await Effect.runPromise(effects.serve.run({ conn: 7, full: false, door }, context))).toEqual({ type: 'closed', conn: 7 })
})
