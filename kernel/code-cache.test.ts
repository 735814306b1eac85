/** Compiled code of earlier starts: kept by an actor's process while it loads, and out of its reach from its first message on. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import module from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeCacheFor } from './code-cache.ts'
import { actor as probe } from './testing/probe/index.ts'
import { startTestKernel } from './testing/test-kernel.ts'

test.each([false, true])(
  'a process keeps what it compiled, and can neither read nor change it afterwards; in a jail: %s',
  async (jailed) => {
    const own = mkdtempSync(join(tmpdir(), 'bulkhead-code-'))
    // When this process was started with one, that one stays.
    module.enableCompileCache(join(own, 'tests'))
    const kind = jailed ? 'jailed-cache-probe' : 'cache-probe'
    const dir = codeCacheFor(kind) as string
    rmSync(dir, { recursive: true })
    mkdirSync(dir)
    const manifest = { ...probe.manifest, kind, ...(jailed ? {} : { jail: { none: 'to try it without' } }) }
    const kernel = await startTestKernel({
      actors: [
        { manifest, protocol: probe.protocol, entry: new URL('./testing/probe/index.ts', import.meta.url).href, load: async () => probe },
      ],
      placement: 'process',
    })
    try {
      expect(readdirSync(dir, { recursive: true }).length).toBeGreaterThan(10)
      const { body } = await kernel.test.request(kind, 'attempt', { dir })
      expect(body).toMatchObject({ results: { readDir: 'ERR_ACCESS_DENIED', writeDir: 'ERR_ACCESS_DENIED' } })
    } finally {
      await kernel.stop()
      rmSync(own, { recursive: true, force: true })
    }
  },
)
