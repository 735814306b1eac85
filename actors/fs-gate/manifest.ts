import type { Manifest, Permissions } from '../../kernel/index.ts'
import { handleVariant } from './handle-variants.ts'
import { storePlace } from './store-place.ts'

/**
 * The store's folder may not be there yet: a plain path that is no folder at start would allow that path alone, hence `/*`.
 *
 * Flags tried on the pinned Node (26.10), for a folder `/w`:
 *
 *   --permission --allow-fs-read=/w --allow-fs-read=/proc/self/fd/ [--allow-fs-write=/w --allow-fs-write=/proc/self/fd/ --allow-wasi]
 *
 * `/proc/self/fd/N/name` is how a name is opened relative to a handle. Node checks that path as text only, so it is no wall against this
 * actor's own code (a `..` behind a handle would pass); the walk in `walk.ts` is. Under the permission model Node has no fsync, fchmod,
 * futimes and no symlink; `syscalls.ts` says what is done instead, and why WASI is asked for.
 */
export const manifest = {
  kind: 'fs-gate',
  purpose: 'Serves one connected folder of one session: file tools, and a file server for the workspace.',
  placement: 'process',
  cardinality: 'instance',
  grants: [],
  permissions({ root, mode, ...params }): Permissions {
    const store = storePlace({ root, ...params })
    const paths = [String(root), ...handleVariant(process.platform).names, ...(mode === 'rw' && store !== null ? [`${store}/*`] : [])]
    const readWrite = { fsRead: paths, fsWrite: paths, wasi: true }
    return mode === 'rw' ? readWrite : { fsRead: paths }
  },
  permissionReasons: {
    fsRead: 'The connected folder, names relative to its open handles, and what its changes replaced.',
    fsWrite: 'The same, when the folder is connected for writing.',
    wasi: 'fsync and symbolic links, which the permission model otherwise withholds; narrowed to open handles and given up at start.',
  },
  restart: { strategy: 'permanent' },
} satisfies Manifest
