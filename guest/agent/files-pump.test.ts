/** What serves folders in the guest, run here: between a kernel and the gate it answers for for a moment, and must not be told from. */
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../actors/fs-gate/limits.ts'
import { uid } from '../../actors/fs-gate/test-client.ts'
import { testFolder, type TestFolder } from '../../actors/fs-gate/test-folder.ts'
import { CarriedFolder } from '../../test/harness/carried-folder.ts'
import { type Entry, entryOf, type FuseClient, named, packed, root } from '../../test/harness/fuse-client.ts'

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_EXCL, O_TRUNC } = fs.constants
const { ENOENT, EACCES, EINVAL, ENOSYS, EPROTO, ESTALE } = constants.errno

let folder: TestFolder
let carried: CarriedFolder
let client: FuseClient

beforeEach(async () => {
  folder = testFolder()
  ;({ carried } = await CarriedFolder.open(folder.gate))
  client = carried.client
})

afterEach(async () => {
  await carried.close()
  folder.remove()
})

function path(name: string): string {
  return join(folder.root, name)
}

async function walk(name: string): Promise<Entry> {
  const entry = await client.walk(name)
  if (typeof entry === 'number') throw new Error(`${name}: error ${entry}`)
  return entry
}

async function open(node: bigint, flags: number): Promise<bigint> {
  const file = await client.open(node, flags)
  if (typeof file === 'number') throw new Error(`error ${file}`)
  return file
}

describe('the host is asked for little', () => {
  test('who opens and reads a small file asks twice; its size, its bytes again and its end are told from that', async () => {
    fs.writeFileSync(path('f'), 'small')
    carried.heard = []
    const { node, attributes } = await walk('f')
    const file = await open(node, O_RDONLY)
    expect([attributes.size, (await client.getattr(node)) as object]).toEqual([5n, expect.objectContaining({ size: 5n })])
    expect([await client.read(node, file), await client.read(node, file, 2n), await client.read(node, file, 5n)]).toEqual([
      'small',
      'all',
      '',
    ])
    await client.release(node, file)
    // On a busy machine the moment may be over before all is asked: then it is asked again, in this order.
    expect(carried.asked.slice(0, 2)).toEqual(['walk', 'lopen'])
    expect(carried.asked).not.toContain('clunk')
  })

  test('files of a folder that is gone through one after the other are told of together, each with its own attributes', async () => {
    const list = Array.from({ length: 12 }, (_, index) => `f${index + 10}`)
    for (const [index, name] of list.entries()) fs.writeFileSync(path(name), 'x'.repeat(index))
    carried.heard = []
    for (const [index, name] of list.entries()) expect((await walk(name)).attributes.size).toBe(BigInt(index))
    expect(carried.asked.length).toBeLessThan(list.length)
  })

  test('a file that is made is known: its attributes, its name, and the folder’s', async () => {
    carried.heard = []
    const made = await client.create(root, 'f', O_WRONLY)
    if (typeof made === 'number') throw new Error(`error ${made}`)
    expect(made.attributes).toMatchObject({ size: 0n, mode: 0o100_644, links: 1, uid })
    expect((await walk('f')).node).toBe(made.node)
    expect(carried.asked[0]).toBe('lcreate')
    expect(carried.heard.slice(0, 2)).toEqual(['(walk)', 'lcreate'])
  })

  test('a folder is opened and listed in one go, whole, in pieces of any size', async () => {
    const names = Array.from({ length: 900 }, (_, index) => `a file with a longer name ${index}`)
    for (const name of names) fs.writeFileSync(path(name), '')
    fs.mkdirSync(path('sub'))
    for (const size of [300, 4_096, 131_072]) {
      const entries = await client.list(root, size)
      if (typeof entries === 'number') throw new Error(`error ${entries}`)
      expect(entries.map(({ name }) => name).toSorted()).toEqual(['.', '..', 'sub', ...names].toSorted())
      expect(entries.find(({ name }) => name === 'sub')?.type).toBe(4)
      expect(entries.find(({ name }) => name === names[0])).toMatchObject({
        type: 8,
        ino: fs.statSync(path(names[0] ?? ''), { bigint: true }).ino,
      })
    }
  })

  test('fids are given back: of what is closed, what is found again, and what the kernel has forgotten', async () => {
    fs.writeFileSync(path('f'), 'text')
    fs.mkdirSync(path('d'))
    carried.heard = []
    const { node } = await walk('f')
    await client.getattr((await walk('d')).node)
    // Longer than anything is good for: it is walked to anew.
    const walks = () => carried.heard.filter((name) => /^\(?walk/.test(name)).length
    const before = walks()
    let lookups = 1n
    for (; walks() === before; lookups += 1n) expect((await walk('f')).node).toBe(node)
    const file = await open(node, O_RDONLY)
    await client.release(node, file)
    expect(await client.list(root)).toHaveLength(4)
    client.forget(node, lookups)
    await client.ask('statfs', root)
    // What is left is the other's.
    expect(carried.heard.filter((name) => name === '(clunk)')).toHaveLength(walks() - 1)
    expect((await walk('f')).node).not.toBe(node)
  })
})

describe('it is never wrong for long', () => {
  test('what has been changed through a folder is seen there at once', async () => {
    fs.writeFileSync(path('f'), 'before')
    fs.linkSync(path('f'), path('other'))
    for (const name of ['c', 'd', 'next']) fs.writeFileSync(path(name), '')
    // The rest comes along with the second in a row.
    await walk('c')
    await walk('d')
    const { node } = await walk('f')
    const reads = await open(node, O_RDONLY)
    const writes = await open(node, O_RDWR)
    expect(await client.read(node, reads)).toBe('before')
    expect(await client.write(node, writes, 6n, ' and after')).toEqual({ written: 10 })
    expect([await client.read(node, reads), await client.getattr(node)]).toEqual([
      'before and after',
      expect.objectContaining({ size: 16n }),
    ])
    // The same by another name, which may have come along with the first.
    expect((await walk('other')).attributes.size).toBe(16n)
    expect(await client.truncate(node, 3n)).toMatchObject({ size: 3n })
    expect((await walk('other')).attributes.size).toBe(3n)
    expect(await client.ask('unlink', root, named('f'))).toHaveLength(0)
    expect(await client.lookup(root, 'f')).toBe(ENOENT)
    expect((await walk('other')).attributes.links).toBe(1)
    expect(await client.ask('rename', root, Buffer.concat([packed([root], 'Q'), named('next', 'f')]))).toHaveLength(0)
    expect((await walk('f')).attributes.size).toBe(0n)
    expect(await client.lookup(root, 'next')).toBe(ENOENT)
  })

  test('a name that came along with another is not said again once it was removed or given to another file', async () => {
    for (const name of ['a', 'b', 'c', 'd']) fs.writeFileSync(path(name), name)
    await walk('a')
    await walk('b')
    await walk('c')
    await client.ask('unlink', root, named('c'))
    expect(await client.lookup(root, 'c')).toBe(ENOENT)
    await client.ask('unlink', root, named('d'))
    const made = await client.create(root, 'd', O_WRONLY | O_EXCL)
    expect(made).toMatchObject({ attributes: { size: 0n } })
    expect((await walk('d')).attributes.size).toBe(0n)
  })

  test('what the host said before a change that was asked for meanwhile is not said again', async () => {
    fs.writeFileSync(path('f'), 'before')
    const { node } = await walk('f')
    const file = await open(node, O_RDWR)
    for (let size = 7; size < 40; size += 1) {
      carried.forget()
      await client.ask('statfs', root)
      const looked = client.request('getattr', node, packed([0, 0, 0n], 'LLQ'))
      const cut = client.request('setattr', node, packed([8, 0, 0n, BigInt(size), ...Array<number>(12).fill(0)], 'LLQQQQQQLLLLLLLL'))
      client.stream.write(Buffer.concat([looked.bytes, cut.bytes]))
      await cut.answer
      expect(await client.getattr(node)).toMatchObject({ size: BigInt(size) })
      carried.forget()
      await client.ask('statfs', root)
      const again = client.request('getattr', node, packed([0, 0, 0n], 'LLQ'))
      const text = Buffer.from('x'.repeat(size + 50))
      const write = client.request('write', node, Buffer.concat([packed([file, 0n, text.length, 0, 0n, 1, 0], 'QQLLQLL'), text]))
      client.stream.write(Buffer.concat([again.bytes, write.bytes]))
      await write.answer
      expect(await client.getattr(node)).toMatchObject({ size: BigInt(size + 50) })
    }
  })

  test('a change on the device is seen soon', async () => {
    fs.writeFileSync(path('f'), 'before')
    const { node } = await walk('f')
    const file = await open(node, O_RDONLY)
    expect(await client.read(node, file)).toBe('before')
    fs.writeFileSync(path('f'), 'afterwards')
    while ((await client.read(node, file)) === 'before') expect(((await client.getattr(node)) as { size: bigint }).size).toBeGreaterThan(0n)
    expect(await client.read(node, file)).toBe('afterwards')
  })

  test('a file that is cut short on the device while it is open ends there, and is known to once it is looked at', async () => {
    fs.writeFileSync(path('f'), 'x'.repeat(2 * limits.contentAhead))
    const { node } = await walk('f')
    const file = await open(node, O_RDWR)
    fs.truncateSync(path('f'), 4)
    expect([await client.read(node, file), await client.read(node, file, 4n), await client.read(node, file, 9n)]).toEqual(['xxxx', '', ''])
    while (((await client.getattr(node)) as { size: bigint }).size !== 4n);
    expect(await client.write(node, file, 4n, 'more')).toEqual({ written: 4 })
    expect(await client.read(node, file)).toBe('xxxxmore')
  })

  test('of more files than the host keeps handles of each is found again, also where the device has moved them to', async () => {
    fs.mkdirSync(path('d'))
    const count = limits.fidHandles + 50
    for (let index = 0; index < count; index += 1) fs.writeFileSync(path(`d/f${index}`), 'text')
    const above = await walk('d')
    const files: Entry[] = []
    for (let index = 0; index < count; index += 1) files.push((await client.lookup(above.node, `f${index}`)) as Entry)
    expect(await client.getattr(root)).toMatchObject({ mode: expect.any(Number) })
    const [first, second] = files as [Entry, Entry]
    await client.release(first.node, await open(first.node, O_RDONLY))
    fs.renameSync(path('d'), path('moved'))
    // Where it was there is nothing: the kernel then looks from the top, at once.
    expect(await client.open(second.node, O_RDONLY)).toBe(ESTALE)
    const found = await walk('moved/f1')
    expect(found.node).toBe(second.node)
    await client.release(found.node, await open(found.node, O_RDONLY))
    expect(await client.lookup(root, 'd')).toBe(ENOENT)
  })

  test('a node for a name that went away meanwhile is answered with the reason, by the look-up or by what needs it', async () => {
    fs.writeFileSync(path('f'), 'text')
    const known = await walk('f')
    client.forget(known.node, 1n)
    fs.rmSync(path('f'))
    const found = await client.lookup(root, 'f')
    expect(typeof found === 'number' ? found : await client.open(found.node, O_RDONLY)).toBe(ENOENT)
  })

  test('what is appended comes behind what is there, whoever has written it since', async () => {
    const made = await client.create(root, 'log', O_WRONLY | O_APPEND)
    if (typeof made === 'number') throw new Error(`error ${made}`)
    await client.write(made.node, made.file, 0n, 'one ', O_WRONLY | O_APPEND)
    fs.appendFileSync(path('log'), 'theirs ')
    await client.write(made.node, made.file, 4n, 'two', O_WRONLY | O_APPEND)
    expect(fs.readFileSync(path('log'), 'utf8')).toBe('one theirs two')
  })

  test('when the folders of its session change, all of it is asked anew, and the kernel is told to', async () => {
    fs.writeFileSync(path('f'), 'before')
    const { node } = await walk('f')
    const file = await open(node, O_RDONLY)
    await walk('f')
    carried.forget()
    // Comes after it, and says so.
    await client.ask('statfs', root)
    carried.heard = []
    await client.read(node, file)
    await client.getattr(node)
    expect(carried.asked).toEqual(['read', 'getattr'])
  })

  test('what the kernel was told of in that moment it is told to forget', async () => {
    fs.writeFileSync(path('f'), 'text')
    const { node } = await walk('f')
    // On a busy machine the moment may be over before it is told: then there is nothing to forget.
    for (let tries = 0; tries < 1_000 && !client.invalidated.includes(node); tries += 1) {
      await client.getattr(node)
      carried.forget()
      await client.ask('statfs', root)
    }
    expect(client.invalidated).toContain(node)
  })

  test('of a folder that was taken away everything is refused, also of what is open', async () => {
    fs.writeFileSync(path('f'), 'x'.repeat(limits.contentAhead + 1))
    const { node } = await walk('f')
    const file = await open(node, O_RDWR)
    carried.served = false
    carried.forget()
    await client.ask('statfs', root)
    expect([
      await client.read(node, file),
      await client.write(node, file, 0n, 'y'),
      await client.getattr(node),
      await client.lookup(root, 'f'),
      await client.create(root, 'g', O_WRONLY),
      await client.list(root),
      await client.truncate(node, 0n),
      await client.ask('unlink', root, named('f')),
    ]).toEqual(Array(8).fill(EACCES))
    expect(fs.statSync(path('f')).size).toBe(limits.contentAhead + 1)
  })
})

describe('what the kernel asks', () => {
  test('is understood in pieces and several at once', async () => {
    fs.writeFileSync(path('f'), 'text')
    const one = client.request('lookup', root, named('f'))
    const two = client.request('lookup', root, named('gone'))
    const bytes = Buffer.concat([one.bytes, two.bytes])
    for (const byte of bytes.subarray(0, 45)) client.stream.write(Buffer.of(byte))
    client.stream.write(bytes.subarray(45))
    expect(entryOf(await one.answer)).toMatchObject({ attributes: { size: 4n } })
    expect(await two.answer).toBe(ENOENT)
  })

  test('keeps no pages but those of mapped files, where it can map any that way', async () => {
    fs.writeFileSync(path('f'), 'text')
    const { node } = await walk('f')
    const kept: Record<string, boolean> = {}
    for (const [kernel, minor, flags2] of [
      ['Linux 6.12', 41, 0xffff_ffff],
      ['Linux 6.1', 38, 0],
      ['Linux 5.15', 34, 0],
    ] as const) {
      const said = await client.init(minor, flags2)
      if (typeof said === 'number') throw new Error(`error ${said}`)
      expect(said.minor).toBe(Math.min(minor, 36))
      await client.release(node, await open(node, O_RDONLY))
      kept[kernel] = client.keepsPages
    }
    expect(kept).toEqual({ 'Linux 6.12': false, 'Linux 6.1': true, 'Linux 5.15': true })
    expect(await client.init(30)).toBe(EPROTO)
  })

  test('of a node that nobody was told of is answered as stale, and the next is served', async () => {
    const nobody = 4_711n
    const stale = [
      await client.getattr(nobody),
      await client.lookup(nobody, 'f'),
      await client.open(nobody, O_RDONLY),
      await client.ask('rename', root, Buffer.concat([packed([nobody], 'Q'), named('a', 'b')])),
      await client.ask('link', root, Buffer.concat([packed([nobody], 'Q'), named('a')])),
    ]
    expect(stale).toEqual(Array(5).fill(ESTALE))
    client.forget(nobody, 1n)
    expect(await client.list(root)).toHaveLength(2)
  })

  test('and this does without is answered so, and the next is served', async () => {
    expect(await client.ask('getxattr', root, Buffer.concat([packed([0, 0], 'LL'), named('user.x')]))).toBe(ENOSYS)
    expect(await client.ask('ioctl', root, packed([0n, 0, 0x5401, 0n, 0, 0], 'QLLQLL'))).toBe(ENOSYS)
    expect(await client.ask(4_095, root)).toBe(ENOSYS)
    const exchange = packed([root, 2, 0], 'QLL')
    expect(await client.ask('rename2', root, Buffer.concat([exchange, named('a', 'b')]))).toBe(EINVAL)
    expect(await client.list(root)).toHaveLength(2)
  })

  test('links, nodes, times, modes, sizes of the file system', async () => {
    const linked = entryOf(await client.ask('symlink', root, named('l', 'target')))
    if (typeof linked === 'number') throw new Error(`error ${linked}`)
    expect(linked.attributes.mode).toBe(0o120_777)
    expect((await client.ask('readlink', linked.node)).toString()).toBe('target')
    const made = entryOf(await client.ask('mknod', root, Buffer.concat([packed([0o100_600, 0, 0, 0], 'LLLL'), named('n')])))
    if (typeof made === 'number') throw new Error(`error ${made}`)
    expect(made.attributes.mode).toBe(0o100_600)
    expect(await client.setattr(made.node, { valid: 1 | 0x20, mode: 0o100_640, mtime: 1_000n })).toMatchObject({
      mode: 0o100_640,
      mtime: 1_000n,
    })
    expect(fs.statSync(path('n')).mtimeMs).toBe(1_000_000)
    const now = (await client.setattr(made.node, { valid: 0x120 })) as { mtime: bigint }
    expect(now.mtime).toBeGreaterThan(1_000n)
    const { bsize } = fs.statfsSync(folder.root)
    expect(((await client.ask('statfs', root)) as Buffer).readUInt32LE(40)).toBe(bsize)
    const file = await open(made.node, O_RDWR | O_TRUNC)
    await client.write(made.node, file, 0n, 'synced')
    expect(await client.ask('fsync', made.node, packed([file, 1, 0], 'QLL'))).toHaveLength(0)
  })

  test('and more than fits into one message is read and written whole', async () => {
    const made = await client.create(root, 'big', O_RDWR)
    if (typeof made === 'number') throw new Error(`error ${made}`)
    const most = 63 * 4_096
    const text = Array.from({ length: most }, (_, index) => String.fromCodePoint(index % 251)).join('')
    expect(await client.write(made.node, made.file, 0n, text)).toEqual({ written: most })
    expect((await client.read(made.node, made.file, 0n, most)) === text).toBe(true)
    expect(fs.readFileSync(path('big'), 'latin1') === text).toBe(true)
  })
})

test('a folder that the host refuses is not connected, and why is said', async () => {
  const refused = await CarriedFolder.open(null)
  await refused.carried.close()
  expect(refused.error).toBe(EACCES)
})

test('whoever still uses a folder that the agent lets go of is cut off; the host hears of it, and its files are closed', async () => {
  fs.writeFileSync(path('f'), 'text')
  const { node } = await walk('f')
  await open(node, O_RDWR)
  const held = () => fs.readdirSync('/proc/self/fd').filter((fd) => placeOf(fd) === path('f')).length
  expect(held()).toBe(2)
  await carried.cutOff()
  expect(held()).toBe(0)
})

function placeOf(fd: string): string {
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    // The one the listing itself was read by.
    return ''
  }
}
