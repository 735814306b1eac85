/** The initrd of one boot: the image's, followed by the agent's archive; the kernel unpacks both, the later over the earlier. */
import { createHash } from 'node:crypto'
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { packAgent } from './image-agent.ts'

/** What was joined last, and from what: to see that the agent is the same is quicker than to pack it, and each start needs to know. */
let last = { inputs: '', path: '' }

/** Path of the joined file in `home`, made unless it is there; others are removed. Rejects if a file cannot be read or written. */
export async function joinedInitrd(home: string, imageDir: string, guestDir: string): Promise<string> {
  const inputs = JSON.stringify([home, imageDir, await stateOf(guestDir)])
  const there = inputs === last.inputs && (await stat(last.path).catch(() => null)) !== null
  if (!there) last = { inputs, path: await make(home, imageDir, guestDir) }
  return last.path
}

async function make(home: string, imageDir: string, guestDir: string): Promise<string> {
  const agent = await packAgent(guestDir)
  const hash = createHash('sha256').update(basename(imageDir)).update(agent).digest('hex').slice(0, 24)
  const name = `initrd-${hash}.img`
  const present = (await readdir(home)).filter((file) => /^initrd-[0-9a-f]+\.img/.test(file))
  if (!present.includes(name)) {
    const image = await readFile(join(imageDir, 'initrd.img'))
    // Under another name first: a file cut short by a crash would be taken for a whole one.
    await writeFile(join(home, `${name}.new`), Buffer.concat([image, agent]))
    await rename(join(home, `${name}.new`), join(home, name))
  }
  for (const other of present) if (other !== name) await rm(join(home, other), { force: true })
  return join(home, name)
}

/** Names, sizes and times of all its files. */
async function stateOf(dir: string): Promise<string[]> {
  const names = (await readdir(dir, { recursive: true })).toSorted()
  return Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(join(dir, name))
      return `${name} ${size} ${mtimeMs}`
    }),
  )
}
