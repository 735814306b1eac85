/**
 * The guest's agent as an initrd of its own, appended to the image's at each boot: a changed agent needs no new image.
 *
 *   /init                    guest/init.sh
 *   /agent/*.js              guest/*.ts
 *   /agent/agent/*.js        guest/agent/*.ts      (so `../wire.js` is where the sources say)
 *   /agent/agent/*.pl        guest/agent/*.pl
 *
 * Types are taken out here: in an emulated machine that would cost Node more than a second at each start.
 */
import { readdir, readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { type CpioEntry, writeCpio } from './image-cpio.ts'

/** The archive (a multiple of 512 bytes, like the image's initrd, so the two can be joined). Rejects if a file cannot be read. */
export async function packAgent(guestDir: string): Promise<Buffer> {
  const entries: CpioEntry[] = [
    { path: 'init', type: 'file', mode: 0o755, data: await readFile(join(guestDir, 'init.sh')) },
    { path: 'agent', type: 'directory', mode: 0o755 },
    // Without it Node looks for the module type in every parent, and warns.
    { path: 'agent/package.json', type: 'file', mode: 0o644, data: Buffer.from('{"type":"module"}\n') },
    { path: 'agent/agent', type: 'directory', mode: 0o755 },
  ]
  for (const folder of ['', 'agent']) {
    const names = (await readdir(join(guestDir, folder))).filter((name) => /\.(ts|pl)$/.test(name) && !name.endsWith('.test.ts')).toSorted()
    for (const name of names) {
      const source = join(guestDir, folder, name)
      const data = name.endsWith('.ts') ? await javascript(source) : await readFile(source)
      entries.push({ path: join('agent', folder, name.replace(/ts$/, 'js')), type: 'file', mode: 0o644, data })
    }
  }
  return writeCpio(entries)
}

/** The file as JavaScript with the same lines; its relative imports end in `.js`. */
async function javascript(path: string): Promise<Buffer> {
  const plain = stripTypeScriptTypes(await readFile(path, 'utf8'))
  return Buffer.from(plain.replace(/(\bfrom\s+'\.{1,2}\/[^']+)\.ts'/g, "$1.js'"))
}
