import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { leaveOutUnwritten, TouchedPages } from './saved-memory.ts'

const memoryBytes = 1024 * 1024
const page = 4096

const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}
const u32 = (value: number): Buffer => u64(value).subarray(4)
const name = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])

/** As QEMU writes it: migration.c, ram.c. */
const head = Buffer.concat([Buffer.from('QEVM'), u32(3), Buffer.from([7]), u32(10), Buffer.from('pc-q35-7.2')])
const ram = Buffer.concat([Buffer.from([1]), u32(2), name('ram'), u32(0), u32(4)])
const sizes = (...blocks: readonly (readonly [string, number])[]): Buffer =>
  Buffer.concat([u64(blocks.reduce((sum, [, size]) => sum + size, 0) + 4), ...blocks.flatMap(([block, size]) => [name(block), u64(size)])])
const full = (number: number, fill: number, block?: string): Buffer =>
  Buffer.concat([u64(number * page + 8 + (block ? 0 : 0x20)), block ? name(block) : Buffer.alloc(0), Buffer.alloc(page, fill)])
const zero = (number: number, block?: string): Buffer =>
  Buffer.concat([u64(number * page + 2 + (block ? 0 : 0x20)), block ? name(block) : Buffer.alloc(0), Buffer.from([0])])
const over = (next?: 2 | 3): Buffer =>
  Buffer.concat([u64(0x10), Buffer.from([0x7e]), u32(2), ...(next ? [Buffer.from([next]), u32(2)] : [])])
const devices = Buffer.concat([Buffer.from([4]), u32(7), Buffer.alloc(8192, 0x10)])
const blocks = sizes(['pc.ram', memoryBytes], ['pc.rom', 2 * page])

const stream = (...records: readonly Buffer[]): Buffer => Buffer.concat([head, ram, blocks, over(2), ...records, over(), devices])

function pass(bytes: Buffer, piece = bytes.length): { kept: Buffer; leftOut: number } {
  const touched = new TouchedPages(memoryBytes)
  const kept: Buffer[] = []
  for (let at = 0; at < bytes.length; at += piece) kept.push(...touched.push(bytes.subarray(at, at + piece)))
  return { kept: Buffer.concat([...kept, touched.end()]), leftOut: touched.leftOut }
}

describe('a saved memory without what was never written', () => {
  const records = [full(0, 1, 'pc.ram'), zero(1), full(2, 2), zero(3), zero(4)]

  it.each([1, 7, 4096, 4361, 1 << 20])('has all that was, and no page of zeros, read in pieces of %i bytes', (piece) => {
    expect(pass(stream(...records), piece)).toEqual({ kept: stream(full(0, 1, 'pc.ram'), full(2, 2)), leftOut: 3 })
  })

  it('says that a page was emptied after it had been written', () => {
    const emptied = stream(full(5, 1, 'pc.ram'), zero(6), over(3), zero(5, 'pc.ram'), zero(6))
    expect(pass(emptied)).toEqual({ kept: stream(full(5, 1, 'pc.ram'), over(3), zero(5, 'pc.ram')), leftOut: 2 })
  })

  it('keeps emptied pages that do not name their block', () => {
    const emptied = stream(full(5, 1, 'pc.ram'), full(6, 1), over(3), zero(5, 'pc.ram'), zero(6))
    expect(pass(emptied)).toEqual({ kept: emptied, leftOut: 0 })
  })

  it('keeps what names a block, and all of other blocks: a ROM has content before anything is restored', () => {
    const others = stream(zero(0, 'pc.ram'), full(1, 1), zero(0, 'pc.rom'), zero(1))
    expect(pass(others)).toEqual({ kept: others, leftOut: 0 })
  })

  it.each([
    ['an empty file', Buffer.alloc(0)],
    ['what is no such stream', Buffer.alloc(16_384, 7)],
    ['another version', Buffer.concat([Buffer.from('QEVM'), u32(4), stream().subarray(8)])],
    ['another first section', Buffer.concat([head, Buffer.from([1]), u32(2), name('cpu'), stream().subarray(head.length + ram.length)])],
    ['two blocks that may be the memory', Buffer.concat([head, ram, sizes(['a', memoryBytes], ['b', memoryBytes]), over(), devices])],
    ['a list of blocks without end', Buffer.concat([head, ram, u64(2 ** 40 + 4), Buffer.alloc(16_384)])],
    ['a page outside', stream(full(memoryBytes / page, 1, 'pc.ram'))],
    ['compressed pages', stream(Buffer.concat([u64(0x140), name('pc.ram'), Buffer.alloc(page)]))],
    ['one that is cut short', stream(...records).subarray(0, -devices.length)],
  ])('stays as it was when it is %s', async (_, bytes) => {
    const dir = await mkdtemp(join(tmpdir(), 'bulkhead-memory-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    const path = join(dir, 'memory')
    await writeFile(path, bytes)
    expect(await leaveOutUnwritten(path, memoryBytes)).toBeNull()
    expect(await readFile(path)).toEqual(bytes)
    expect(await readdir(dir)).toEqual(['memory'])
  })

  it('takes the place of the file', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'bulkhead-memory-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    const path = join(dir, 'memory')
    await writeFile(path, stream(...records))
    expect(await leaveOutUnwritten(path, memoryBytes)).toBe(3)
    expect(await readFile(path)).toEqual(stream(full(0, 1, 'pc.ram'), full(2, 2)))
    expect(await readdir(dir)).toEqual(['memory'])
  })
})
