/**
 * Writes cpio archives of the "newc" form, which the Linux kernel unpacks as its initial RAM file system. Archives may follow
 * each other in one initrd if each starts on a multiple of 4 bytes; later files replace earlier ones of the same name.
 */

export type CpioEntry =
  | { path: string; type: 'file'; mode: number; data: Uint8Array }
  | { path: string; type: 'directory'; mode: number }
  | { path: string; type: 'symlink'; target: string }
  | { path: string; type: 'device'; mode: number; major: number; minor: number }

const kinds = { file: 0o100000, directory: 0o040000, symlink: 0o120000, device: 0o020000 } as const
/** Both a block of the archive and the alignment of the next one. */
const block = 512

/**
 * The archive, its size a multiple of 512 bytes. Paths are relative (`bin/sh`); parents must come first; everything belongs to
 * root and carries no time, so equal input gives equal bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = []
  let size = 0
  const add = (part: Uint8Array): void => {
    parts.push(part)
    size += part.length
  }
  const align = (to: number): void => add(Buffer.alloc((to - (size % to)) % to))
  const record = (path: string, mode: number, data: Uint8Array, inode: number, device: readonly [number, number]): void => {
    const name = Buffer.from(`${path}\0`)
    // inode, mode, uid, gid, links, mtime, size, device of the archive (2), device the node stands for (2), name size, check
    const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, device[0], device[1], name.length, 0]
    add(Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`))
    add(name)
    align(4)
    add(data)
    align(4)
  }
  entries.forEach((entry, index) => {
    const data = entry.type === 'file' ? entry.data : Buffer.from(entry.type === 'symlink' ? entry.target : '')
    const mode = kinds[entry.type] | (entry.type === 'symlink' ? 0o777 : entry.mode)
    record(entry.path, mode, data, index + 1, entry.type === 'device' ? [entry.major, entry.minor] : [0, 0])
  })
  record('TRAILER!!!', 0, Buffer.alloc(0), 0, [0, 0])
  align(block)
  return Buffer.concat(parts, size)
}
