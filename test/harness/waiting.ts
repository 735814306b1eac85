/** Waiting for what another process does to the file system, by being told. */
import { existsSync, watch } from 'node:fs'
import { dirname } from 'node:path'

/** Resolves when the file is there. The test's own deadline ends the wait. */
export function fileAppears(path: string): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!existsSync(path)) return
      watcher.close()
      resolve()
    }
    const watcher = watch(dirname(path), look)
    // It may have been there before the watch was.
    look()
  })
}
