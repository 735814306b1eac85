/** Where a folder's change store lies: below the daemon's state, never inside the folder. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'

/** Names a folder in change ids and on disk. The same folder, connected again or by another session, has the same store. */
export function storeKey(root: string): string {
  return createHash('sha256').update(root).digest('hex').slice(0, 24)
}

/** null: no changes are kept (tests of other things). */
export function storePlace(params: Readonly<Record<string, unknown>>): string | null {
  const { changes, root } = params
  return typeof changes === 'string' && changes !== '' ? join(changes, storeKey(String(root))) : null
}
