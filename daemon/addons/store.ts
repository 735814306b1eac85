/**
 * Where actors from outside are kept, one folder each:
 *
 *   BULKHEAD_HOME/actors/NAME/
 *     code/           as it was added; read by its process while it loads, and by nobody else
 *     manifest.json   what the code says of itself
 *     consent.json    what somebody agreed to: the hash of both, when, and who
 *     data/           its own, when it asks for one
 *
 * The hash covers every file of the code and the manifest. Whatever changes either takes the agreement away.
 */
import { createHash } from 'node:crypto'
import {
  constants,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  closeSync,
  fstatSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Description, description } from './description.ts'
import { bad, describe } from './describe.ts'
import { maxCodeBytes, maxFiles } from './limits.ts'

const consentFile = z.strictObject({ hash: z.string(), at: z.string(), by: z.string() })
export type Consent = z.infer<typeof consentFile>
export type Stored = { name: string; description: Description; hash: string; consent: Consent | null }

/** @param dir `BULKHEAD_HOME/actors` */
export function openStore(dir: string) {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const place = (name: string) => ({
    root: join(dir, name),
    code: join(dir, name, 'code'),
    own: join(dir, name, 'data'),
    manifest: join(dir, name, 'manifest.json'),
    consent: join(dir, name, 'consent.json'),
  })

  return {
    place,
    names: (): string[] => readdirSync(dir).filter((name) => /^[a-z][a-z0-9-]+$/.test(name) && existsSync(place(name).code)),
    /** As it is now. Throws `bad-actor`. */
    read(name: string): Stored {
      const { code, manifest, consent } = place(name)
      const parsed = description.safeParse(readJson(manifest))
      if (!parsed.success) throw bad(`Its manifest.json is not right: ${z.prettifyError(parsed.error)}`)
      const agreed = consentFile.safeParse(readJson(consent))
      return { name, description: parsed.data, hash: hashOf(parsed.data, code), consent: agreed.success ? agreed.data : null }
    },
    /** What the code in a folder says of itself now, and the hash somebody would agree to. Throws `bad-actor`. */
    async examine(code: string): Promise<{ description: Description; hash: string }> {
      const before = hashOf(null, code)
      const found = await describe(code)
      if (hashOf(null, code) !== before) throw bad('Its files change while they are looked at.')
      return { description: found, hash: hashOf(found, code) }
    },
    /** Takes the code over, with what was agreed. */
    keep(name: string, from: string, it: Description, consent: Consent): void {
      const { root, code, own, manifest, consent: agreed } = place(name)
      mkdirSync(own, { recursive: true, mode: 0o700 })
      // Before anything of it changes: a crash from here on leaves an actor nobody agreed to.
      rmSync(agreed, { force: true })
      if (from !== code) {
        const next = join(root, 'code.new')
        rmSync(next, { recursive: true, force: true })
        cpSync(from, next, { recursive: true })
        rmSync(code, { recursive: true, force: true })
        renameSync(next, code)
      }
      writeJson(manifest, it)
      writeJson(agreed, consent)
    },
    remove(name: string): void {
      rmSync(place(name).root, { recursive: true, force: true })
    },
  }
}

/** Of every file's name and content, in order, and of the description. Throws `bad-actor` for what is no plain folder of code. */
function hashOf(it: Description | null, code: string): string {
  const all = createHash('sha256').update(JSON.stringify(it)).update('\0')
  let bytes = 0
  const files = filesIn(code, '')
  if (files.length === 0) throw bad('There is nothing in it.')
  for (const file of files) {
    const content = readPlain(join(code, file))
    bytes += content.length
    if (bytes > maxCodeBytes) throw bad(`It is larger than ${maxCodeBytes} bytes.`)
    all.update(`${JSON.stringify(file)} ${createHash('sha256').update(content).digest('hex')}\n`)
  }
  return all.digest('hex')
}

function filesIn(root: string, under: string): string[] {
  const found: string[] = []
  let entries
  try {
    entries = readdirSync(join(root, under), { withFileTypes: true })
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error))
  }
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = under === '' ? entry.name : `${under}/${entry.name}`
    if (entry.isDirectory()) found.push(...filesIn(root, path))
    else if (entry.isFile()) found.push(path)
    else throw bad(`${path} is neither a file nor a folder.`)
    if (found.length > maxFiles) throw bad(`It has more than ${maxFiles} files.`)
  }
  return found
}

/** A file that turned into a link or a pipe since it was listed is not followed and not waited for. */
function readPlain(path: string): Buffer {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const { size } = fstatSync(fd)
    if (!fstatSync(fd).isFile() || size > maxCodeBytes) throw bad(`${path} is larger than ${maxCodeBytes} bytes, or no file.`)
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

function readJson(path: string): unknown {
  try {
    return lstatSync(path).isFile() ? JSON.parse(readPlain(path).toString('utf8')) : null
  } catch {
    return null
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
