/** Whatever programs do in a folder that the guest's carrier serves, it is what they would have got from a folder of their own. */
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testFolder, type TestFolder } from '../../actors/fs-gate/test-folder.ts'
import { CarriedFolder } from '../../test/harness/carried-folder.ts'
import { type Entry, type FuseClient, named, packed, root } from '../../test/harness/fuse-client.ts'

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = fs.constants
const accessMode = 3
const { ENOENT, EBADF, EEXIST, ENOTDIR, EISDIR } = constants.errno

let folder: TestFolder
let carried: CarriedFolder
beforeAll(async () => {
  folder = testFolder()
  ;({ carried } = await CarriedFolder.open(folder.gate))
})
afterAll(async () => {
  await carried.close()
  folder.remove()
})

type Step =
  | { do: 'stat' | 'list' | 'unlink' | 'rmdir' | 'mkdir'; at: string }
  | { do: 'create' | 'open'; at: string; flags: number; slot: number }
  | { do: 'read'; slot: number; offset: number }
  | { do: 'write'; slot: number; offset: number; text: string }
  | { do: 'close'; slot: number }
  | { do: 'truncate'; at: string; size: number }
  | { do: 'rename' | 'link'; at: string; to: string }
  | { do: 'forget' }

const path = fc.constantFrom('a', 'b', 'd', 'd/a', 'd/b', 'e', 'e/a')
const slot = fc.integer({ min: 0, max: 2 })
const text = fc.constantFrom('xy', 'longer than that')
const offset = fc.constantFrom(0, 3, 9)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('stat', 'list', 'unlink', 'rmdir', 'mkdir'), at: path }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('create'),
      at: path,
      flags: fc.constantFrom(O_WRONLY, O_RDWR, O_WRONLY | O_EXCL, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND),
      slot,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('open'),
      at: path,
      flags: fc.constantFrom(O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_APPEND),
      slot,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read'), slot, offset }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('write'), slot, offset, text }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close'), slot }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncate'), at: path, size: fc.constantFrom(0, 4, 30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('rename', 'link'), at: path, to: path }) },
  { weight: 1, arbitrary: fc.constant({ do: 'forget' }) },
)

test('looks, files, folders, names and links, in any order, also of what is open, renamed and removed meanwhile', async () => {
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      run += 1
      const own = fs.mkdtempSync(join(folder.outside, 'own-'))
      const theirs = join(folder.root, `run${run}`)
      for (const at of [own, theirs]) {
        fs.mkdirSync(join(at, 'd'), { recursive: true })
        fs.writeFileSync(join(at, 'a'), 'content')
        fs.writeFileSync(join(at, 'd', 'b'), 'other content')
      }
      const plain = new Plain(own)
      const kernel = new Kernel(carried.client, `run${run}`)
      try {
        for (const one of steps) {
          const [expected, got] = [plain.does(one), await kernel.does(one)]
          expect(got, JSON.stringify(one)).toEqual(expected)
        }
        await kernel.end()
        expect(contentOf(theirs)).toEqual(contentOf(own))
      } finally {
        plain.end()
      }
    }),
    { numRuns: 100 },
  )
})

/** A folder of the device's, without anything in between. Answers are what can be told, or the error's number. */
class Plain {
  readonly #root: string
  readonly #open = new Map<number, { fd: number; flags: number }>()

  constructor(at: string) {
    this.#root = at
  }

  does(one: Step): unknown {
    try {
      return this.#answer(one)
    } catch (error) {
      return -((error as NodeJS.ErrnoException).errno ?? 0)
    }
  }

  end(): void {
    for (const { fd } of this.#open.values()) fs.closeSync(fd)
  }

  #answer(one: Step): unknown {
    const at = 'at' in one ? join(this.#root, one.at) : this.#root
    switch (one.do) {
      case 'stat': {
        const { mode, nlink, size } = fs.lstatSync(at)
        return (mode & 0o40_000) === 0 ? { mode, links: nlink, size } : { mode }
      }
      case 'list':
        return fs.readdirSync(at).toSorted()
      case 'unlink':
        return done(fs.unlinkSync(at))
      case 'rmdir':
        return done(fs.rmdirSync(at))
      case 'mkdir':
        return done(fs.mkdirSync(at, 0o755))
      case 'create':
      case 'open': {
        const fd = fs.openSync(at, one.flags | (one.do === 'create' ? O_CREAT : 0), 0o644)
        if (fs.fstatSync(fd).isDirectory()) {
          fs.closeSync(fd)
          return 'a folder'
        }
        this.#close(one.slot)
        this.#open.set(one.slot, { fd, flags: one.flags })
        return 'open'
      }
      case 'read': {
        const file = this.#open.get(one.slot)
        if (!file) return 'closed'
        const bytes = Buffer.alloc(100)
        return bytes.subarray(0, fs.readSync(file.fd, bytes, 0, bytes.length, one.offset)).toString('latin1')
      }
      case 'write': {
        const file = this.#open.get(one.slot)
        return file ? { written: fs.writeSync(file.fd, Buffer.from(one.text), 0, one.text.length, one.offset) } : 'closed'
      }
      case 'close':
        return this.#close(one.slot)
      case 'truncate':
        return done(fs.truncateSync(at, one.size))
      case 'rename':
        return done(fs.renameSync(at, join(this.#root, one.to)))
      case 'link':
        return done(fs.linkSync(at, join(this.#root, one.to)))
      default:
        return 'done'
    }
  }

  #close(number: number): string {
    const file = this.#open.get(number)
    this.#open.delete(number)
    if (file) fs.closeSync(file.fd)
    return file ? 'done' : 'closed'
  }
}

function done(_: void): string {
  return 'done'
}

/** The same through the carrier, as a kernel does it that keeps nothing: what it would find out by itself about kinds is found out here. */
class Kernel {
  readonly #client: FuseClient
  readonly #root: string
  readonly #open = new Map<number, { node: bigint; file: bigint; flags: number }>()
  readonly #lookups = new Map<bigint, bigint>()

  constructor(client: FuseClient, at: string) {
    this.#client = client
    this.#root = at
  }

  async does(one: Step): Promise<unknown> {
    switch (one.do) {
      case 'forget':
        return this.#forget()
      case 'read': {
        const file = this.#open.get(one.slot)
        if (file && (file.flags & accessMode) === O_WRONLY) return EBADF
        return file ? this.#client.read(file.node, file.file, BigInt(one.offset), 100) : 'closed'
      }
      case 'write': {
        const file = this.#open.get(one.slot)
        if (file && (file.flags & accessMode) === O_RDONLY) return EBADF
        return file ? this.#client.write(file.node, file.file, BigInt(one.offset), one.text, file.flags) : 'closed'
      }
      case 'close':
        return this.#close(one.slot)
      default:
        return this.#byName(one)
    }
  }

  async end(): Promise<void> {
    for (const number of this.#open.keys()) await this.#close(number)
    await this.#forget()
  }

  async #byName(one: Exclude<Step, { slot: number; offset: number } | { do: 'close' | 'forget' }>): Promise<unknown> {
    const client = this.#client
    const [above, name] = await this.#above(one.at)
    if (typeof above === 'number') return above
    switch (one.do) {
      case 'mkdir': {
        const answer = await client.ask('mkdir', above.node, Buffer.concat([packed([0o755, 0], 'LL'), named(name)]))
        if (typeof answer === 'number') return answer
        this.#count(answer.readBigUInt64LE(0))
        return 'done'
      }
      case 'unlink':
      case 'rmdir':
        return plainly(await client.ask(one.do, above.node, named(name)))
      case 'create': {
        const there = await this.#look(above.node, name)
        if (typeof there !== 'number') return (one.flags & O_EXCL) === 0 ? this.#ofEntry({ ...one, do: 'open' }, there) : EEXIST
        if (there !== ENOENT) return there
        const made = await client.create(above.node, name, one.flags)
        if (typeof made === 'number') return made
        this.#count(made.node)
        await this.#close(one.slot)
        this.#open.set(one.slot, { node: made.node, file: made.file, flags: one.flags })
        return 'open'
      }
      case 'rename':
      case 'link': {
        const [to, newName] = await this.#above(one.to)
        if (typeof to === 'number') return to
        if (one.do === 'rename')
          return plainly(await client.ask('rename', above.node, Buffer.concat([packed([to.node], 'Q'), named(name, newName)])))
        const found = await this.#look(above.node, name)
        if (typeof found === 'number') return found
        const there = await this.#look(to.node, newName)
        if (there !== ENOENT) return typeof there === 'number' ? there : EEXIST
        const answer = await client.ask('link', to.node, Buffer.concat([packed([found.node], 'Q'), named(newName)]))
        if (typeof answer !== 'number') this.#count(answer.readBigUInt64LE(0))
        return plainly(answer)
      }
      default:
        return this.#ofEntry(one, await this.#look(above.node, name))
    }
  }

  async #ofEntry(one: Step, found: Entry | number): Promise<unknown> {
    if (typeof found === 'number') return found
    const isFolder = (found.attributes.mode & 0o40_000) !== 0
    switch (one.do) {
      case 'stat': {
        const { mode, links, size } = found.attributes
        return isFolder ? { mode } : { mode, links, size: Number(size) }
      }
      case 'list': {
        if (!isFolder) return ENOTDIR
        const entries = await this.#client.list(found.node)
        return typeof entries === 'number'
          ? entries
          : entries
              .map(({ name }) => name)
              .filter((name) => !/^\.+$/.test(name))
              .toSorted()
      }
      case 'open': {
        if (isFolder) return one.flags === O_RDONLY ? 'a folder' : EISDIR
        const file = await this.#client.open(found.node, one.flags)
        if (typeof file === 'number') return file
        await this.#close(one.slot)
        this.#open.set(one.slot, { node: found.node, file, flags: one.flags })
        return 'open'
      }
      case 'truncate': {
        const set = await this.#client.truncate(found.node, BigInt(one.size))
        return typeof set === 'number' ? set : 'done'
      }
      default:
        return EBADF
    }
  }

  async #above(at: string): Promise<[Entry | number, string]> {
    const names = [this.#root, ...at.split('/')]
    const last = names.pop() as string
    let entry: Entry | number = { node: root } as Entry
    for (const name of names) {
      if (typeof entry === 'number') return [entry, last]
      entry = await this.#look(entry.node, name)
    }
    return [entry, last]
  }

  async #look(node: bigint, name: string): Promise<Entry | number> {
    const entry = await this.#client.lookup(node, name)
    if (typeof entry !== 'number') this.#count(entry.node)
    return entry
  }

  #count(node: bigint): void {
    this.#lookups.set(node, (this.#lookups.get(node) ?? 0n) + 1n)
  }

  async #close(number: number): Promise<string> {
    const file = this.#open.get(number)
    this.#open.delete(number)
    if (file) await this.#client.release(file.node, file.file)
    return file ? 'done' : 'closed'
  }

  /** All that nobody has open. */
  async #forget(): Promise<string> {
    const used = new Set([...this.#open.values()].map(({ node }) => node))
    for (const [node, lookups] of this.#lookups) {
      if (used.has(node)) continue
      this.#client.forget(node, lookups)
      this.#lookups.delete(node)
    }
    return 'done'
  }
}

function plainly(answer: Buffer | number): unknown {
  return typeof answer === 'number' ? answer : 'done'
}

function contentOf(at: string): unknown {
  return fs
    .readdirSync(at, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((entry) => [entry.name, entry.isDirectory() ? contentOf(join(at, entry.name)) : fs.readFileSync(join(at, entry.name), 'utf8')])
}
