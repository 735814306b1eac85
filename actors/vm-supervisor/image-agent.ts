/**
 * The guest's agent as an initrd of its own, appended to the image's at each boot: a changed agent needs no new image.
 *
 *   /init                        guest/init.sh
 *   /agent/wire.ts               guest/wire.ts
 *   /agent/agent/*.ts            guest/agent/*.ts      (import '../wire.ts' works as in the repository)
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type CpioEntry, writeCpio } from './image-cpio.ts'

/** The archive (a multiple of 512 bytes, like the image's initrd, so the two can be joined). Rejects if a file cannot be read. */
export async function packAgent(guestDir: string): Promise<Buffer> {
  const entries: CpioEntry[] = [
    { path: 'init', type: 'file', mode: 0o755, data: await readFile(join(guestDir, 'init.sh')) },
    { path: 'agent', type: 'directory', mode: 0o755 },
    // Without it Node looks for the module type in every parent, and warns.
    { path: 'agent/package.json', type: 'file', mode: 0o644, data: Buffer.from('{"type":"module"}\n') },
    { path: 'agent/wire.ts', type: 'file', mode: 0o644, data: await readFile(join(guestDir, 'wire.ts')) },
    { path: 'agent/agent', type: 'directory', mode: 0o755 },
  ]
  const names = (await readdir(join(guestDir, 'agent'))).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts')).sort()
  for (const name of names) entries.push({ path: `agent/agent/${name}`, type: 'file', mode: 0o644, data: await readFile(join(guestDir, 'agent', name)) })
  return writeCpio(entries)
}
