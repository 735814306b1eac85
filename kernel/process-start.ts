/** First code of every actor process: what it loads next comes compiled, if it was loaded before. Argument: that of process-entry.ts, and `cache`. */
import module from 'node:module'

const { cache } = JSON.parse(process.argv[2] ?? '{}') as { cache: string | null }
if (cache !== null) module.enableCompileCache(cache)
await import('./process-entry.ts')
