/** The contract of `kernel/testing/contract.ts`, for every actor of the product, in every placement it may have. */
import { test } from 'vitest'
import { contract } from '../kernel/testing/contract.ts'
import type { Placement } from '../kernel/types.ts'
import { entries } from './actors.ts'
import { paramsOf } from './test-params.ts'

const everywhere: readonly Placement[] = ['inline', 'thread', 'process']
/** It takes sockets, which a thread cannot be given. */
const placements: Readonly<Record<string, readonly Placement[]>> = { gateway: ['inline', 'process'] }

test.each(entries.map(({ manifest, entry }) => [manifest.kind, entry] as const))('%s', async (kind, entry) => {
  await contract(entry, { params: (at) => paramsOf(kind, at), placements: placements[kind] ?? everywhere })
})
