/**
 * First code of every actor process: what it loads next comes compiled, if it was loaded before. Argument: that of process-entry.ts, and `cache`.
 * Plain JavaScript: stripping types even from this file would load a compiler of its own into each process, some 10 MiB of it.
 */
import module from 'node:module'

const { cache } = /** @type {{ cache: string | null }} */ (JSON.parse(process.argv[2] ?? '{}'))
if (cache !== null) module.enableCompileCache(cache)
await import('./process-entry.ts')
