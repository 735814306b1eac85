/** Compiled code of earlier starts: kept by an actor's process while it loads, and out of its reach from its first message on. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import module from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeCacheFor } from './code-cache.ts'
import { actor as probe } from './testing/probe/index.ts'
import { startTestKernel } from './testing/test-kernel.ts'

test('a process keeps what it compiled, and can neither read nor change it afterwards', async () => {
  const own = mkdtempSync(join(tmpdir(), 'bulkhead-code-'))
  // When this process was started with one, that one stays.
  module.enableCompileCache(join(own, 'tests'))
  const dir = codeCacheFor('probe') as string
  const kernel = await startTestKernel({
    actors: [{ ...probe, entry: new URL('./testing/probe/index.ts', import.meta.url).href, load: async () => probe }],
    placement: 'process',
  })
  try {
    expect(readdirSync(dir, { recursive: true }).length).toBeGreaterThan(10)
    const { body } = await kernel.test.request('probe', 'attempt', { dir })
    expect(body).toMatchObject({ results: { readDir: 'ERR_ACCESS_DENIED', writeDir: 'ERR_ACCESS_DENIED' } })
  } finally {
    await kernel.stop()
    rmSync(own, { recursive: true, force: true })
  }
})
