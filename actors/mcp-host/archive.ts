/**
 * A bundle unpacked: yauzl reads the zip, this decides what may come out of it. Everything is looked at before anything is written, and
 * counted again while it is written, because a zip can lie about sizes.
 */
import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Entry, fromBuffer, type ZipFile } from 'yauzl'
import { fault, type Fault, isFault } from '../../kernel/index.ts'
import { bundle } from './limits.ts'

type File = { entry: Entry; path: string; mode: number }

/**
 * Unpacks into `into`, which must be new. In-tree symbolic links are left out (published bundles have them as conveniences of
 * `node_modules/.bin` only). Throws `bad-extension`.
 */
export async function unpack(bytes: Buffer, into: string): Promise<void> {
  const zip = await open(bytes)
  const files = await inspect(zip)
  let written = 0
  for (const { entry, path, mode } of files) {
    const target = join(into, path)
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        written += chunk.length
        done(written > bundle.maxUnpackedBytes ? refused('it unpacks to more than it says') : null, chunk)
      },
    })
    // `wx`: nothing that is already there is ever written to or through.
    await pipeline(await stream(zip, entry), counted, createWriteStream(target, { flags: 'wx', mode })).catch((error: unknown) => {
      // What the disk says is no fault of the bundle.
      throw error instanceof Error && !('syscall' in error) && !isFault(error) ? refused(error.message) : error
    })
  }
}

/** One file of a bundle, or null. */
export async function readEntry(bytes: Buffer, name: string, maxBytes: number): Promise<Buffer | null> {
  const zip = await open(bytes)
  const found = (await inspect(zip)).find(({ path }) => path === name)
  if (!found) return null
  if (found.entry.uncompressedSize > maxBytes) throw refused(`${name} is too large`)
  const chunks: Buffer[] = []
  for await (const chunk of (await stream(zip, found.entry)) as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Every file that may be unpacked; throws when any entry is one that must not be in a bundle. */
async function inspect(zip: ZipFile): Promise<File[]> {
  if (zip.entryCount > bundle.maxFiles) throw refused(`it has ${zip.entryCount} files, more than ${bundle.maxFiles}`)
  const files: File[] = []
  const taken = new Set<string>()
  let unpacked = 0
  let packed = 0
  for await (const entry of entriesOf(zip)) {
    const { fileName, uncompressedSize, compressedSize, externalFileAttributes } = entry
    const problem = pathProblem(fileName)
    if (problem) throw refused(`${JSON.stringify(fileName.slice(0, 200))} ${problem}`)
    const path = posix.normalize(fileName)
    if (fileName.endsWith('/')) continue
    if (entry.isEncrypted()) throw refused(`${path} is encrypted`)
    unpacked += uncompressedSize
    packed += compressedSize
    if (uncompressedSize > bundle.maxFileBytes || unpacked > bundle.maxUnpackedBytes) throw refused('it unpacks to too much')
    if (unpacked > bundle.ratioFromBytes && unpacked > packed * bundle.maxRatio) throw refused('it is compressed more than any real bundle')
    const kind = (externalFileAttributes >>> 16) & 0o170000
    if (kind === 0o120000) {
      await inspectLink(zip, entry, path)
      continue
    }
    if (kind !== 0 && kind !== 0o100000) throw refused(`${path} is neither a file nor a folder`)
    const key = path.normalize('NFC').toLowerCase()
    if (taken.has(key)) throw refused(`${path} is in it twice, or differs from another only in case`)
    taken.add(key)
    files.push({ entry, path, mode: ((externalFileAttributes >>> 16) & 0o100) === 0 ? 0o600 : 0o700 })
  }
  const folders = new Set(files.flatMap(({ path }) => ancestors(path)))
  const both = files.find(({ path }) => folders.has(path.normalize('NFC').toLowerCase()))
  if (both) throw refused(`${both.path} is both a file and a folder`)
  return files
}

async function inspectLink(zip: ZipFile, entry: Entry, path: string): Promise<void> {
  if (entry.uncompressedSize > 4096) throw refused(`${path} is a symbolic link with an impossible target`)
  let target = ''
  for await (const chunk of (await stream(zip, entry)) as AsyncIterable<Buffer>) target += chunk.toString('utf8')
  const led = posix.normalize(posix.join(posix.dirname(path), target))
  if (target.startsWith('/') || led === '..' || led.startsWith('../'))
    throw refused(`${path} is a symbolic link that leads out of the bundle`)
}

function pathProblem(name: string): string | null {
  const parts = name.replace(/\/$/, '').split('/')
  if (name.includes('\0')) return 'has a NUL in its name'
  if (name.includes('\\')) return 'has a backslash in its name'
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) return 'is an absolute path'
  if (parts.includes('..')) return 'leads out of the bundle'
  if (name.length > bundle.maxPathChars || parts.length > bundle.maxDepth) return 'is too long or too deep'
  return parts.some((part) => part === '') ? 'has an empty part in its name' : null
}

function ancestors(path: string): string[] {
  const parts = path.normalize('NFC').toLowerCase().split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

function open(bytes: Buffer): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    // yauzl checks names and sizes too; what it lets pass is looked at again here.
    fromBuffer(bytes, { lazyEntries: true, autoClose: false, strictFileNames: true, validateEntrySizes: true }, (error, zip) =>
      error ? reject(refused(error.message)) : resolve(zip),
    )
  })
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const entry = await new Promise<Entry | null>((resolve, reject) => {
      const settle = (done: () => void) => (): void => {
        zip.removeAllListeners('entry').removeAllListeners('end').removeAllListeners('error')
        done()
      }
      zip.on('entry', (found: Entry) => settle(() => resolve(found))())
      zip.on('end', () => settle(() => resolve(null))())
      zip.on('error', (error: Error) => settle(() => reject(refused(error.message)))())
      zip.readEntry()
    })
    if (!entry) return
    yield entry
  }
}

function stream(zip: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, readable) => (error ? reject(refused(error.message)) : resolve(readable)))
  })
}

function refused(cause: string): Fault & Error {
  return Object.assign(new Error(cause), fault('bad-extension', 'The bundle cannot be installed.', { cause }))
}
