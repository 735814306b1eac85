/** What a message's schema says is what its receiver gets: none of the product's schemas would change a body, reply or part on its way. */
import { expect, test } from 'vitest'
import { createControl } from '../kernel/control.ts'
import { protocol as journal } from '../kernel/journal.ts'
import { startTestKernel } from '../kernel/testing/test-kernel.ts'
import type { Protocol } from '../kernel/types.ts'
import { alters } from '../kernel/unaltered.ts'
import { entries } from './actors.ts'
import { protocol as addons } from './addons/protocol.ts'

test('no schema of the product changes what it judges', async () => {
  const running = await startTestKernel({ actors: [] })
  const { protocol: control } = createControl(running.kernel, () => {})
  await running.stop()
  const all: [string, Protocol][] = [
    ...entries.map(({ manifest, protocol }): [string, Protocol] => [manifest.kind, protocol]),
    ['kernel', control],
    ['journal', journal],
    ['addons', addons],
  ]
  const found = all.flatMap(([target, protocol]) =>
    Object.entries(protocol).flatMap(([kind, { body, reply, part }]) =>
      [body, reply, part].flatMap((schema) => {
        const what = schema ? alters(schema) : null
        return what === null ? [] : [`${target} "${kind}": ${what}`]
      }),
    ),
  )
  expect(found).toEqual([])
  expect(all.flatMap(([, protocol]) => Object.keys(protocol)).length).toBeGreaterThan(80)
})
