/**
 * Compiled code of earlier starts, by Node's compile cache: a folder for each kind of actor beside that of the kernel's own process, when that
 * has one. Whoever writes to such a folder decides what the next process that reads it runs. So each kind has one of its own, for product code
 * only, and an actor may touch it just while it loads, before its first message.
 */
import { mkdirSync } from 'node:fs'
import module from 'node:module'
import { dirname, join } from 'node:path'

/** The folder for a kind of actor, with the separator that stands for all that is in it; null: there is none. */
export function codeCacheFor(kind: string): string | null {
  const own = module.getCompileCacheDir()
  if (own === undefined) return null
  // Node appends a folder of its own for its version.
  const dir = join(dirname(dirname(own)), kind)
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    return `${dir}/`
  } catch {
    return null
  }
}
