/**
 * A memory as QEMU saves it, without the pages the guest never wrote. QEMU names every page, and whoever restores one that is all zeros reads
 * what is there to compare: the host then has to find memory for all of the guest's, which took longer than all else of a start, and never got
 * it back. Memory is zeros before anything is restored to it, so that leaving such a page out leaves the same machine.
 *
 *   "QEVM" u32 3 | u8 7, u32 size, configuration | u8 1, u32 id, u8 3 "ram", u32, u32 | RECORD… | other sections
 *   RECORD = u64 address and flags | what these say
 */
import { open, rename, rm } from 'node:fs/promises'

/** Part of what a saved memory depends on: raised when what is kept of it changes. */
export const savedFormat = 2

const magic = 0x5145_564d
const version = 3
/** Kinds of sections. */
const section = { start: 1, part: 2, end: 3, configuration: 7, footer: 0x7e }
/** Flags of a record. */
const flag = { zero: 0x02, sizes: 0x04, page: 0x08, over: 0x10, sameBlock: 0x20 }
const page = 4096
/** Longest thing that is looked at as a whole, bytes: a page with its block's name. */
const longest = 8 + 256 + page
const chunk = 4 * 1024 * 1024

/** Thrown when it is no such stream, or one that says what is not known here. */
class Unknown extends Error {}

/** Takes the stream piece by piece and gives back what of it is kept, in order. Throws when it is another format. */
export class TouchedPages {
  readonly #memoryBytes: number
  #held: Buffer = Buffer.alloc(0)
  #state: 'head' | 'records' | 'rest' = 'head'
  /** The block the next record is about, and the guest's memory among them. */
  #block = ''
  #memory: string | null = null
  /** Of the guest's memory, by number: written before, so that a zero is news. */
  readonly #written: Uint8Array
  #section = 0
  #left = 0

  constructor(memoryBytes: number) {
    this.#memoryBytes = memoryBytes
    this.#written = new Uint8Array(memoryBytes / page)
  }

  /** Pages left out so far. */
  get leftOut(): number {
    return this.#left
  }

  push(bytes: Buffer): Buffer[] {
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    const kept: Buffer[] = []
    let from = 0
    let at = 0
    if (this.#state === 'head' && all.length >= longest) at = this.#head(all)
    while (this.#state === 'records' && all.length - at >= longest) {
      const { end, keep } = this.#record(all, at)
      if (!keep) {
        if (at > from) kept.push(all.subarray(from, at))
        from = end
      }
      at = end
    }
    if (this.#state === 'rest') at = all.length
    if (at > from) kept.push(all.subarray(from, at))
    this.#held = all.subarray(at)
    return kept
  }

  /** What was held back. Throws when the stream ended before its end. */
  end(): Buffer {
    if (this.#state !== 'rest') throw new Unknown('it ends too early')
    return this.#held
  }

  #head(bytes: Buffer): number {
    if (bytes.readUInt32BE(0) !== magic || bytes.readUInt32BE(4) !== version || bytes[8] !== section.configuration)
      throw new Unknown('it does not begin like one')
    const at = 13 + bytes.readUInt32BE(9)
    if (at + 17 > longest) throw new Unknown('its configuration is too long')
    if (bytes[at] !== section.start || bytes.toString('latin1', at + 5, at + 9) !== '\u0003ram')
      throw new Unknown('memory is not its first section')
    this.#section = bytes.readUInt32BE(at + 1)
    this.#state = 'records'
    return at + 17
  }

  #record(bytes: Buffer, start: number): { end: number; keep: boolean } {
    const low = bytes.readUInt32BE(start + 4)
    const flags = low % page
    const value = bytes.readUInt32BE(start) * 2 ** 32 + low - flags
    let at = start + 8
    if (flags === flag.sizes) return { end: this.#sizes(bytes, at, value), keep: true }
    if (flags === flag.over) return { end: this.#over(bytes, at), keep: true }
    const named = (flags & flag.sameBlock) === 0
    if (named) {
      this.#block = nameAt(bytes, at)
      at += 1 + this.#block.length
    }
    const number = this.#block === this.#memory ? value / page : null
    if (number !== null && number >= this.#written.length) throw new Unknown('a page lies outside the memory')
    const kind = flags & ~flag.sameBlock
    if (kind === flag.page) {
      if (number !== null) this.#written[number] = 1
      return { end: at + page, keep: true }
    }
    if (kind !== flag.zero) throw new Unknown(`a record has the flags ${flags}`)
    if (bytes[at] !== 0) throw new Unknown('a page of one byte')
    // One that names its block is what those that follow go by.
    const keep = named || number === null || this.#written[number] === 1
    if (!keep) this.#left++
    return { end: at + 1, keep }
  }

  /** The blocks and their sizes. The guest's memory is the one of its size. */
  #sizes(bytes: Buffer, start: number, total: number): number {
    let at = start
    for (let left = total; left > 0; ) {
      if (at + 9 + 255 > bytes.length) throw new Unknown('it has too many blocks')
      const name = nameAt(bytes, at)
      at += 1 + name.length
      const size = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
      at += 8
      left -= size
      if (size !== this.#memoryBytes) continue
      if (this.#memory !== null) throw new Unknown('two blocks have the size of the memory')
      this.#memory = name
    }
    return at
  }

  /** Of a round: another follows, or what else there is to the machine. */
  #over(bytes: Buffer, start: number): number {
    const at = bytes[start] === section.footer ? start + 5 : start
    const goesOn = bytes[at] === section.part || bytes[at] === section.end
    if (goesOn && bytes.readUInt32BE(at + 1) === this.#section) return at + 5
    this.#state = 'rest'
    return at
  }
}

function nameAt(bytes: Buffer, at: number): string {
  const length = bytes[at] ?? 0
  return bytes.toString('latin1', at + 1, at + 1 + length)
}

/** Replaces the file by one without those pages; resolves with how many there were. Null: its format is another, and it stays as it was. */
export async function leaveOutUnwritten(path: string, memoryBytes: number): Promise<number | null> {
  const made = `${path}.touched`
  const [from, to] = [await open(path, 'r'), await open(made, 'w', 0o600)]
  try {
    const touched = new TouchedPages(memoryBytes)
    for (let read = -1; read !== 0; ) {
      const { buffer, bytesRead } = await from.read(Buffer.allocUnsafe(chunk), 0, chunk)
      read = bytesRead
      await to.writeFile(read === 0 ? touched.end() : Buffer.concat(touched.push(buffer.subarray(0, read))))
    }
    await rename(made, path)
    return touched.leftOut
  } catch (error) {
    await rm(made, { force: true })
    if (error instanceof Unknown) return null
    throw error
  } finally {
    await from.close()
    await to.close()
  }
}
