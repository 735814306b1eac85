import * as fs from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { limits } from './limits.ts'
import { encodeRequest } from './ninep-codec.ts'
import { NinepConnections } from './ninep-connections.ts'
import { Places } from './ninep-places.ts'
import { rootFid, TestClient, uid } from './test-client.ts'
import { openDescriptors, secret, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
let connections: NinepConnections
let client: TestClient
beforeEach(() => {
  folder = testFolder()
  connections = new NinepConnections(folder.gate)
  client = new TestClient(connections).attach()
})
afterEach(() => {
  connections.closeAll()
  folder.remove()
})

const path = (...parts: string[]) => join(folder.root, ...parts)
const noTimes = { size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }

describe('files and folders', () => {
  test('create, write, read, attributes', () => {
    client.ask('mkdir', { fid: rootFid, name: 'd', mode: 0o750, gid: uid })
    const fid = client.create('d', 'f', 0o666)
    expect(client.write(fid, 'hello', 0)).toBe(5)
    expect(client.write(fid, '!', 9)).toBe(1)
    expect(client.read(fid)).toBe('hello\0\0\0\0!')
    expect(client.read(fid, 4, 3)).toBe('o\0\0')
    expect(client.read(fid, 100)).toBe('')
    expect(client.attributes(fid)).toMatchObject({ mode: 0o100666, uid, gid: uid, nlink: 1n, rdev: 0n, size: 10n })
    expect(client.attributes(client.walk('d')).mode).toBe(0o040750)
    client.ask('fsync', { fid })
    expect(fs.readFileSync(path('d/f'), 'latin1')).toBe('hello\0\0\0\0!')
    expect(fs.statSync(path('d/f')).mode & 0o7777).toBe(0o666)
    const { qid } = client.attributes(fid)
    // Version 0 would keep Linux from caching it.
    expect(qid.slice(2, 10)).not.toBe('00000000')
  })

  test('setattr: size, mode, times; never owners or special bits', () => {
    fs.writeFileSync(path('f'), '0123456789')
    const fid = client.walk('f')
    const set = (valid: number, values: object) => client.error('setattr', { fid, valid, mode: 0, uid: 0, gid: 0, ...noTimes, ...values })
    expect(set(8, { size: 4n })).toBe('')
    expect(set(1, { mode: 0o6751 })).toBe('')
    expect(set(0x20 | 0x100, { mtimeSec: 1_600_000_000n, mtimeNsec: 500_000_000n })).toBe('')
    expect(client.attributes(fid)).toMatchObject({ mode: 0o100751, size: 4n, mtime: 1_600_000_000n, mtimeNsec: 500_000_000n })
    expect(fs.statSync(path('f')).mode & 0o7777).toBe(0o751)
    expect(set(2, { uid })).toBe('')
    expect(set(2, { uid: 0 })).toBe('EPERM')
    expect(set(4, { gid: 0 })).toBe('EPERM')
    expect(set(8, { size: 2n ** 60n })).toBe('EFBIG')
    client.ask('mkdir', { fid: rootFid, name: 'suid', mode: 0o7777, gid: uid })
    expect(fs.statSync(path('suid')).mode & 0o7777).toBe(0o777)
  })

  test('readdir in small pieces sees each name once', () => {
    const names = Array.from({ length: 100 }, (_, i) => `file-${i}-${'x'.repeat(i)}`)
    for (const name of names) fs.writeFileSync(path(name), '')
    expect(client.names('', 300).toSorted()).toEqual(['.', '..', ...names].toSorted())
    expect(client.error('readdir', { fid: client.open(''), offset: 0n, count: 10 })).toBe('EINVAL')
  })

  test('walks stop at the first name that is not there', () => {
    fs.mkdirSync(path('a/b'), { recursive: true })
    expect(client.ask('walk', { fid: rootFid, newfid: 50, names: ['a', 'x', 'y'] }).readUInt16LE(0)).toBe(1)
    expect(client.error('getattr', { fid: 50, mask: 0n })).toBe('EBADF')
    expect(client.error('walk', { fid: rootFid, newfid: 50, names: ['x'] })).toBe('ENOENT')
    expect(client.error('clunk', { fid: 50 })).toBe('EBADF')
  })

  test('the attributes that are asked for next come with a walk, if wished: those of a getattr, and only for a fid that is made', () => {
    fs.mkdirSync(path('a'))
    fs.writeFileSync(path('a/f'), 'content')
    const [walked, ahead, ...more] = walkedAhead(rootFid, 70, ['a', 'f'])
    expect(walked?.readUInt16LE(7)).toBe(2)
    expect(ahead?.subarray(7)).toEqual(client.ask('getattr', { fid: 70, mask: 0n }))
    expect([ahead?.[4], more]).toEqual([25, []])
    // Nothing new was found, less than all was found, nothing was found.
    for (const names of [[], ['a', 'x'], ['x']]) expect(walkedAhead(rootFid, 71, names)).toHaveLength(1)
  })

  test('a fid that is walked on from is answered as any other, with what comes next in the folder it stood for', () => {
    fs.mkdirSync(path('a'))
    for (const name of ['f1', 'f2', 'f3']) fs.writeFileSync(path(`a/${name}`), name)
    for (const name of ['f1', 'f2']) {
      const here = client.walk('a')
      const [walked, ahead] = walkedAhead(here, here, [name])
      expect([walked?.[4], walked?.readUInt16LE(7), ahead?.[4]], name).toEqual([111, 1, 25])
      expect(ahead?.subarray(7)).toEqual(client.ask('getattr', { fid: here, mask: 0n }))
    }
  })

  test('what is read next comes with an opening: attributes and content, of a small file that is only read', () => {
    fs.writeFileSync(path('f'), 'content')
    fs.writeFileSync(path('large'), 'x'.repeat(limits.contentAhead + 1))
    const opened = (name: string, flags: number, ahead = true) => {
      const frame = encodeRequest('lopen', 1, { fid: client.walk(name), flags })
      const all = connections.answer({ conn: 'test#1', uid, frame, ahead }, {}, 'vm-supervisor') as Buffer
      return messagesIn(all).map((message) => [message[4], message.subarray(11).toString()] as const)
    }
    const types = (name: string, flags: number, ahead = true) => opened(name, flags, ahead).map(([type]) => type)
    expect(types('f', 0)).toEqual([13, 25, 117])
    expect(opened('f', 0).at(-1)?.[1]).toBe('content')
    expect([types('f', 2), types('f', 0o1000), types('f', 0, false), types('large', 0)]).toEqual([[13], [13], [13], [13]])
  })

  test('why a fid was not made is told by what needs it: who asked for it may have gone on', () => {
    expect(client.error('walk', { fid: rootFid, newfid: 80, names: ['gone'] })).toBe('ENOENT')
    expect(client.error('lopen', { fid: 80, flags: 0 })).toBe('ENOENT')
    expect(client.error('getattr', { fid: 80, mask: 0n })).toBe('ENOENT')
    expect(client.error('clunk', { fid: 80 })).toBe('EBADF')
    expect(client.error('getattr', { fid: 80, mask: 0n })).toBe('EBADF')
    expect(client.error('walk', { fid: rootFid, newfid: 80, names: ['gone'] })).toBe('ENOENT')
    fs.writeFileSync(path('gone'), 'here')
    client.ask('walk', { fid: rootFid, newfid: 80, names: ['gone'] })
    expect(client.error('getattr', { fid: 80, mask: 0n })).toBe('')
  })

  test('what came along before a message is done first and in order, whatever comes of it, by the same rules', () => {
    const newFid = 50
    const before = [
      encodeRequest('walk', 1, { fid: rootFid, newfid: newFid, names: [] }),
      Buffer.from([7, 0, 0, 0, 99, 1, 0]),
      encodeRequest('clunk', 1, { fid: 999 }),
      encodeRequest('lcreate', 1, { fid: newFid, name: 'made', flags: 1, mode: 0o644, gid: 0 }),
    ]
    const ask = (grant: { mode?: 'ro' }, frame: Buffer) =>
      connections.answer({ conn: 'test#1', uid, frame, before, ahead: true }, grant, 'vm-supervisor') as Buffer
    const content = Buffer.from('text')
    expect(ask({ mode: 'ro' }, encodeRequest('write', 7, { fid: newFid, offset: 0n, data: content })).readUInt32LE(7)).toBe(30)
    expect(fs.readdirSync(folder.root)).toEqual([])
    client.ask('clunk', { fid: newFid })
    const answer = ask({}, encodeRequest('write', 8, { fid: newFid, offset: 0n, data: content }))
    expect([answer[4], answer.readUInt16LE(5), answer.length]).toEqual([119, 8, 11])
    expect(fs.readFileSync(path('made'), 'utf8')).toBe('text')
  })

  test('unlink and rename, also of what is open', () => {
    const a = client.create('', 'a')
    client.write(a, 'old')
    const b = client.create('', 'b')
    client.write(b, 'new')
    client.ask('renameat', { oldDir: rootFid, oldName: 'b', newDir: rootFid, newName: 'a' })
    expect(client.read(a) + client.read(b)).toBe('oldnew')
    client.write(a, 'still')
    expect(client.attributes(a).nlink).toBe(0n)
    expect(fs.readFileSync(path('a'), 'utf8')).toBe('new')
    client.ask('unlinkat', { fid: rootFid, name: 'a', flags: 0 })
    client.write(b, 'gone', 0)
    expect(client.read(b)).toBe('gone')
    const again = client.walk('', b)
    client.ask('lopen', { fid: again, flags: 2 })
    expect(client.read(again)).toBe('gone')
    expect(client.names('')).toEqual(['.', '..'])
    client.ask('fsync', { fid: b })
  })

  test('a fid follows its file through renames of folders above', () => {
    fs.mkdirSync(path('x/y'), { recursive: true })
    fs.writeFileSync(path('x/y/f'), 'content')
    const fid = client.walk('x/y/f')
    const inner = client.walk('x/y')
    client.ask('renameat', { oldDir: rootFid, oldName: 'x', newDir: rootFid, newName: 'z' })
    fs.mkdirSync(path('x'))
    client.ask('lopen', { fid, flags: 0 })
    expect(client.read(fid)).toBe('content')
    client.ask('mkdir', { fid: inner, name: 'new', mode: 0o755, gid: uid })
    expect(fs.existsSync(path('z/y/new'))).toBe(true)
    client.ask('rename', { fid, dfid: rootFid, name: 'moved' })
    client.ask('remove', { fid })
    expect(fs.readdirSync(folder.root).toSorted()).toEqual(['x', 'z'])
    expect(client.error('getattr', { fid, mask: 0n })).toBe('EBADF')
  })

  test('hard links', () => {
    const fid = client.create('', 'a')
    client.write(fid, 'text')
    client.ask('link', { dfid: rootFid, fid, name: 'b' })
    expect(client.attributes(fid).nlink).toBe(2n)
    expect(fs.readFileSync(path('b'), 'utf8')).toBe('text')
    client.ask('unlinkat', { fid: rootFid, name: 'a', flags: 0 })
    client.ask('unlinkat', { fid: rootFid, name: 'b', flags: 0 })
    expect(client.error('link', { dfid: rootFid, fid, name: 'c' })).toBe('ENOENT')
  })

  test("errors are the system's", () => {
    fs.mkdirSync(path('full/x'), { recursive: true })
    fs.writeFileSync(path('f'), '')
    expect(client.error('mkdir', { fid: rootFid, name: 'f', mode: 0o755, gid: 0 })).toBe('EEXIST')
    expect(client.error('unlinkat', { fid: rootFid, name: 'full', flags: 0x200 })).toBe('ENOTEMPTY')
    expect(client.error('unlinkat', { fid: rootFid, name: 'full', flags: 0 })).toBe('EISDIR')
    expect(client.error('unlinkat', { fid: rootFid, name: 'f', flags: 0x200 })).toBe('ENOTDIR')
    expect(client.error('lcreate', { fid: client.walk(''), name: 'f', flags: 0o302, mode: 0o644, gid: 0 })).toBe('EEXIST')
    expect(client.error('lopen', { fid: client.walk('full'), flags: 1 })).toBe('EISDIR')
    expect(client.error('read', { fid: client.open('f', 1), offset: 0n, count: 1 })).toBe('EBADF')
    expect(client.error('xattrwalk', { fid: rootFid, newfid: 9, name: 'security.capability' })).toBe('EOPNOTSUPP')
    expect(client.error('auth', { afid: 1, uname: '', aname: '', uid: 0 })).toBe('EOPNOTSUPP')
    expect(client.error('flush', { oldTag: 3 })).toBe('')
    expect(client.ask('lock', { fid: rootFid, kind: 1, flags: 0, start: 0n, length: 0n, pid: 1, client: 'c' })[0]).toBe(0)
    expect(client.ask('getlock', { fid: rootFid, kind: 1, start: 0n, length: 0n, pid: 1, client: 'c' })[0]).toBe(2)
    expect(client.ask('statfs', { fid: rootFid }).length).toBe(60)
  })
})

describe('links and special files', () => {
  test('links inside can be made; those that lead out cannot, by making or moving', () => {
    fs.mkdirSync(path('a/b'), { recursive: true })
    const inner = client.walk('a/b')
    const link = (fid: number, target: string) => client.error('symlink', { fid, name: 'l', target, gid: uid })
    for (const target of ['/etc/passwd', folder.outside, '../../../outside', 'x/../../../../outside', ''])
      expect(link(inner, target), target).toBe('EPERM')
    expect(link(rootFid, '..')).toBe('EPERM')
    expect(link(inner, '../../top')).toBe('')
    expect(
      client
        .ask('readlink', { fid: client.walk('a/b/l') })
        .subarray(2)
        .toString(),
    ).toBe('../../top')
    expect(client.attributes(client.walk('a/b/l')).mode & 0o170000).toBe(0o120000)
    expect(client.error('renameat', { oldDir: inner, oldName: 'l', newDir: rootFid, newName: 'l' })).toBe('EPERM')
    expect(client.error('rename', { fid: client.walk('a/b/l'), dfid: rootFid, name: 'l' })).toBe('EPERM')
    expect(client.error('link', { dfid: rootFid, fid: client.walk('a/b/l'), name: 'l' })).toBe('EPERM')
    expect(client.error('renameat', { oldDir: client.walk('a'), oldName: 'b', newDir: rootFid, newName: 'b' })).toBe('EPERM')
    expect(client.error('renameat', { oldDir: inner, oldName: 'l', newDir: inner, newName: 'l2' })).toBe('')
    client.ask('unlinkat', { fid: inner, name: 'l2', flags: 0 })
    expect(client.error('renameat', { oldDir: client.walk('a'), oldName: 'b', newDir: rootFid, newName: 'b' })).toBe('')
  })

  test('links that lead out are shown and not followed', () => {
    fs.symlinkSync(folder.outside, path('out'))
    fs.symlinkSync(join(folder.outside, 'secret.txt'), path('out-file'))
    expect(client.error('walk', { fid: rootFid, newfid: 70, names: ['out', 'secret.txt'] })).toBe('')
    expect(client.error('getattr', { fid: 70, mask: 0n })).toBe('EBADF')
    const fid = client.walk('out')
    expect(client.error('walk', { fid, newfid: 71, names: ['secret.txt'] })).toBe('ENOTDIR')
    expect(client.error('lopen', { fid, flags: 0 })).toBe('ELOOP')
    expect(client.error('mkdir', { fid, name: 'x', mode: 0o755, gid: 0 })).toBe('ENOTDIR')
    expect(client.error('lopen', { fid: client.walk('out-file'), flags: 0 })).toBe('ELOOP')
    expect(client.error('lcreate', { fid: client.walk(''), name: 'out-file', flags: 2, mode: 0o644, gid: 0 })).toBe('EEXIST')
    expect(client.error('setattr', { fid: client.walk('out-file'), valid: 8, mode: 0, uid: 0, gid: 0, ...noTimes })).toBe('EINVAL')
    expect(client.error('setattr', { fid: client.walk('out-file'), valid: 1, mode: 0o777, uid: 0, gid: 0, ...noTimes })).toBe('')
    expect(fs.readFileSync(join(folder.outside, 'secret.txt'), 'utf8')).toBe(secret)
    expect(fs.statSync(join(folder.outside, 'secret.txt')).mode & 0o777).toBe(0o644)
    client.ask('unlinkat', { fid: rootFid, name: 'out', flags: 0 })
  })

  test('special files can be seen and removed, not made or opened', async () => {
    const { execFileSync } = await import('node:child_process')
    execFileSync('mkfifo', [path('pipe')])
    for (const mode of [0o010644, 0o020644, 0o060644, 0o140644])
      expect(client.error('mknod', { fid: rootFid, name: 'n', mode, major: 1, minor: 3, gid: 0 })).toBe('EPERM')
    expect(client.error('mknod', { fid: rootFid, name: 'plain', mode: 0o100640, major: 0, minor: 0, gid: 0 })).toBe('')
    expect(client.attributes(client.walk('pipe'))).toMatchObject({ mode: 0o100000, rdev: 0n })
    expect(client.error('lopen', { fid: client.walk('pipe'), flags: 0 })).toBe('EPERM')
    expect(client.error('unlinkat', { fid: rootFid, name: 'pipe', flags: 0 })).toBe('')
  })
})

describe('what a guest kernel would never send', () => {
  const names = ['..', '.', '', '/', 'a/b', '../outside', '/etc/passwd', 'a\0b', '\0', 'n'.repeat(256), 'ü'.repeat(128)]

  test.each(names.map((name) => ({ name, label: JSON.stringify(name).slice(0, 30) })))('name $label', ({ name }) => {
    fs.mkdirSync(path('d'))
    fs.writeFileSync(path('f'), 'x')
    const dir = client.walk('d')
    const file = client.walk('f')
    const before = fs.readdirSync(folder.root)
    const asked = [
      client.error('walk', { fid: dir, newfid: 99, names: [name] }),
      client.error('walk', { fid: rootFid, newfid: 99, names: ['d', name, 'outside'] }),
      client.error('lcreate', { fid: client.walk('d'), name, flags: 2, mode: 0o644, gid: 0 }),
      client.error('mkdir', { fid: dir, name, mode: 0o755, gid: 0 }),
      client.error('symlink', { fid: dir, name, target: 'x', gid: 0 }),
      client.error('mknod', { fid: dir, name, mode: 0o100644, major: 0, minor: 0, gid: 0 }),
      client.error('link', { dfid: dir, fid: file, name }),
      client.error('rename', { fid: file, dfid: dir, name }),
      client.error('renameat', { oldDir: rootFid, oldName: 'f', newDir: dir, newName: name }),
      client.error('renameat', { oldDir: dir, oldName: name, newDir: rootFid, newName: 'stolen' }),
      client.error('unlinkat', { fid: dir, name, flags: 0 }),
      client.error('unlinkat', { fid: dir, name, flags: 0x200 }),
    ]
    for (const error of asked) expect(['EINVAL', 'ENAMETOOLONG']).toContain(error)
    expect(fs.readdirSync(folder.root)).toEqual(before)
    expect(fs.readdirSync(path('d'))).toEqual([])
  })

  test('sizes, fids and order that make no sense', () => {
    const fid = client.create('', 'f')
    expect(client.ask('read', { fid, offset: 0n, count: 0xffff_ffff }).length).toBe(4)
    expect(client.ask('read', { fid, offset: 0n, count: 0 }).length).toBe(4)
    expect(client.error('read', { fid, offset: 2n ** 64n - 1n, count: 1 })).toBe('EFBIG')
    expect(client.error('write', { fid, offset: 2n ** 63n, data: Buffer.from('x') })).toBe('EFBIG')
    expect(client.error('readdir', { fid, offset: 0n, count: 100 })).toBe('EBADF')
    const listing = client.open('')
    expect(client.ask('readdir', { fid: listing, offset: 2n ** 40n, count: 100 }).readUInt32LE(0)).toBe(0)
    expect(client.error('lopen', { fid: listing, flags: 0 })).toBe('EBADF')
    expect(client.error('lopen', { fid: client.walk('f'), flags: 3 })).toBe('EINVAL')
    expect(client.error('walk', { fid: rootFid, newfid: fid, names: [] })).toBe('EBADF')
    expect(client.error('walk', { fid: rootFid, newfid: 0xffff_ffff, names: [] })).toBe('EBADF')
    expect(client.error('attach', { fid: rootFid, afid: 0, uname: '', aname: '/etc', uid: 0 })).toBe('EBADF')
    expect(client.error('read', { fid: 12_345, offset: 0n, count: 1 })).toBe('EBADF')
    expect(client.raw(Buffer.alloc(100_000, 1))[4]).toBe(7)
    expect(client.raw(encodeRequest('walk', 1, { fid: 0, newfid: 9, names: Array.from({ length: 17 }, () => 'x') }))[4]).toBe(7)
    const invalid = encodeRequest('mkdir', 5, { fid: 0, name: 'xx', mode: 0, gid: 0 })
    invalid[13] = 0xff
    expect(client.raw(invalid).readUInt32LE(7)).toBe(84)
  })

  test('a connection without a version, or of another', () => {
    const fresh = new TestClient(connections, { conn: 'fresh' })
    expect(fresh.error('walk', { fid: rootFid, newfid: 1, names: [] })).toBe('ESTALE')
    expect(fresh.ask('version', { msize: 8_192, version: '9P2000.u' }).subarray(6).toString()).toBe('unknown')
    expect(fresh.error('version', { msize: 100, version: '9P2000.L' })).toBe('EMSGSIZE')
    expect(fresh.ask('version', { msize: 0xffff_ffff, version: '9P2000.L' }).readUInt32LE(0)).toBe(256 * 1024)
  })

  test('any frames in any order: always one answer, nothing outside touched', () => {
    fs.mkdirSync(path('d/e'), { recursive: true })
    fs.writeFileSync(path('d/f'), 'x')
    fs.symlinkSync(folder.outside, path('out'))
    const before = openDescriptors(folder.gate)
    const fid = fc.nat(6)
    const name = fc.constantFrom('d', 'e', 'f', 'out', 'secret.txt', '..', '.', 'a/b', 'new', '')
    const u64 = fc.constantFrom(0n, 1n, 5n, 4_096n, 2n ** 53n, 2n ** 64n - 1n)
    const count = fc.constantFrom(0, 1, 100, 70_000, 0xffff_ffff)
    const mode = fc.constantFrom(0o644, 0o7777, 0o100644, 0o020666)
    const request = fc.oneof(
      fc.record({ fid, newfid: fid, names: fc.array(name, { maxLength: 3 }) }).map((body) => encodeRequest('walk', 1, body)),
      fc.record({ fid, flags: fc.constantFrom(0, 1, 2, 3, 0o1002) }).map((body) => encodeRequest('lopen', 1, body)),
      fc.record({ fid, name, flags: fc.constantFrom(0, 2, 0o302), mode, gid: fid }).map((body) => encodeRequest('lcreate', 1, body)),
      fc.record({ fid, offset: u64, count }).map((body) => encodeRequest('read', 1, body)),
      fc.record({ fid, offset: u64, count }).map((body) => encodeRequest('readdir', 1, body)),
      fc
        .record({ fid, offset: fc.constantFrom(0n, 10n), data: fc.uint8Array({ maxLength: 20 }) })
        .map((body) => encodeRequest('write', 1, { ...body, data: Buffer.from(body.data) })),
      fc.record({ fid, name, mode, gid: fid }).map((body) => encodeRequest('mkdir', 1, body)),
      fc.record({ fid, name, target: name, gid: fid }).map((body) => encodeRequest('symlink', 1, body)),
      fc.record({ dfid: fid, fid, name }).map((body) => encodeRequest('link', 1, body)),
      fc.record({ fid, dfid: fid, name }).map((body) => encodeRequest('rename', 1, body)),
      fc.record({ oldDir: fid, oldName: name, newDir: fid, newName: name }).map((body) => encodeRequest('renameat', 1, body)),
      fc.record({ fid, name, flags: fc.constantFrom(0, 0x200) }).map((body) => encodeRequest('unlinkat', 1, body)),
      fc.record({ fid, mask: u64 }).map((body) => encodeRequest('getattr', 1, body)),
      fc
        .record({
          fid,
          valid: fc.nat(0x1ff),
          mode,
          uid: fc.constant(uid),
          gid: fc.constant(uid),
          size: fc.constantFrom(0n, 9n),
          atimeSec: u64,
          atimeNsec: u64,
          mtimeSec: u64,
          mtimeNsec: u64,
        })
        .map((body) => encodeRequest('setattr', 1, body)),
      fc.record({ fid }).map((body) => encodeRequest('clunk', 1, body)),
      fc.record({ fid }).map((body) => encodeRequest('remove', 1, body)),
      fc.record({ fid }).map((body) => encodeRequest('fsync', 1, body)),
      fc.uint8Array({ maxLength: 60 }),
    )
    fc.assert(
      fc.property(fc.array(request, { minLength: 5, maxLength: 40 }), (frames) => {
        const hostile = new TestClient(connections, { conn: 'hostile' }).attach()
        for (const frame of frames) expect(hostile.raw(frame).length).toBeGreaterThanOrEqual(7)
        connections.close('hostile', 'vm-supervisor')
        expect(openDescriptors(folder.gate)).toBe(before)
        expect(fs.readdirSync(folder.outside)).toEqual(['secret.txt'])
        expect(fs.readFileSync(join(folder.outside, 'secret.txt'), 'utf8')).toBe(secret)
        for (const link of linksBelow(folder.root)) if (link.text !== folder.outside) expect(link.text).not.toMatch(/^\//)
      }),
      { numRuns: 120 },
    )
  })
})

describe('what a capability allows', () => {
  test('read-only refuses every change, by gate or by grant', () => {
    fs.mkdirSync(path('d'))
    fs.writeFileSync(path('f'), 'text')
    const reader = new TestClient(connections, { conn: 'ro', grant: { mode: 'ro' } }).attach()
    const d = reader.walk('d')
    const f = reader.walk('f')
    const open = reader.open('f')
    expect(reader.read(open)).toBe('text')
    expect(reader.error('fsync', { fid: open })).toBe('')
    const refused = [
      reader.error('lopen', { fid: reader.walk('f'), flags: 1 }),
      reader.error('lopen', { fid: reader.walk('f'), flags: 0o1000 }),
      reader.error('lcreate', { fid: reader.walk('d'), name: 'x', flags: 0, mode: 0o644, gid: 0 }),
      reader.error('write', { fid: open, offset: 0n, data: Buffer.from('x') }),
      reader.error('mkdir', { fid: d, name: 'x', mode: 0o755, gid: 0 }),
      reader.error('symlink', { fid: d, name: 'x', target: 'y', gid: 0 }),
      reader.error('mknod', { fid: d, name: 'x', mode: 0o100644, major: 0, minor: 0, gid: 0 }),
      reader.error('link', { dfid: d, fid: f, name: 'x' }),
      reader.error('rename', { fid: f, dfid: d, name: 'x' }),
      reader.error('renameat', { oldDir: rootFid, oldName: 'f', newDir: d, newName: 'x' }),
      reader.error('unlinkat', { fid: rootFid, name: 'f', flags: 0 }),
      reader.error('setattr', { fid: f, valid: 1, mode: 0, uid: 0, gid: 0, ...noTimes }),
      reader.error('remove', { fid: f }),
    ]
    expect(new Set(refused)).toEqual(new Set(['EROFS']))
  })

  test('a path narrows the root', () => {
    fs.mkdirSync(path('sub'))
    fs.writeFileSync(path('sub/f'), 'inner')
    const narrow = new TestClient(connections, { grant: { path: 'sub' } }).attach()
    expect(narrow.names('')).toEqual(['.', '..', 'f'])
    expect(narrow.error('walk', { fid: rootFid, newfid: 9, names: ['..'] })).toBe('EINVAL')
    expect(narrow.error('symlink', { fid: rootFid, name: 'up', target: '../f', gid: 0 })).toBe('')
  })

  test("connections are counted, and are their opener's alone", () => {
    const other = connections.answer(
      { conn: 'test#1', uid, frame: encodeRequest('getattr', 1, { fid: rootFid, mask: 0n }) },
      {},
      'conversation:s-1',
    )
    expect(Buffer.isBuffer(other) && other.readUInt32LE(7)).toBe(116)
    for (let i = 0; i < 62; i += 1) new TestClient(connections, { conn: `c${i}` }).attach()
    expect(() => new TestClient(connections, { conn: 'one too many' }).attach()).toThrow('overloaded')
    connections.close('c1', 'vm-supervisor')
    new TestClient(connections, { conn: 'now' }).attach()
  })
})

test('with more names than handles, places are found again and followed', () => {
  const places = new Places(folder.gate.root, 4)
  const small = new NinepConnections(folder.gate, places)
  const one = new TestClient(small).attach()
  fs.mkdirSync(path('d'))
  for (let i = 0; i < 20; i += 1) fs.writeFileSync(path(`d/f${i}`), `text ${i}`)
  const before = openDescriptors(folder.gate)
  const above = one.walk('d')
  // The connected folder itself is not asked for meanwhile.
  const fids = Array.from({ length: 20 }, (_, i) => one.walk(`f${i}`, above))
  expect(openDescriptors(folder.gate) - before).toBeLessThanOrEqual(4)
  expect([one.error('getattr', { fid: rootFid, mask: 0n }), one.error('getattr', { fid: above, mask: 0n })]).toEqual(['', ''])
  one.ask('renameat', { oldDir: rootFid, oldName: 'd', newDir: rootFid, newName: 'moved' })
  fs.rmSync(path('moved/f3'))
  fs.writeFileSync(path('moved/f3'), 'another file')
  fs.rmSync(path('moved/f4'))
  fs.symlinkSync(join(folder.outside, 'secret.txt'), path('moved/f4'))
  for (const [i, fid] of fids.entries()) {
    if (i === 3 || i === 4) {
      expect(['ESTALE', 'ENOENT']).toContain(one.error('lopen', { fid, flags: 0 }))
      continue
    }
    one.ask('lopen', { fid, flags: 0 })
    expect(one.read(fid)).toBe(`text ${i}`)
  }
  small.closeAll()
})

function walkedAhead(fid: number, newfid: number, names: string[]): Buffer[] {
  const frame = encodeRequest('walk', 1, { fid, newfid, names })
  return messagesIn(connections.answer({ conn: 'test#1', uid, frame, ahead: true }, {}, 'vm-supervisor') as Buffer)
}

function messagesIn(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = []
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at)) messages.push(bytes.subarray(at, at + bytes.readUInt32LE(at)))
  return messages
}

/** Node's own recursive listing follows links. */
function linksBelow(at: string): { name: string; text: string }[] {
  return fs.readdirSync(at, { withFileTypes: true }).flatMap((entry) => {
    const full = join(at, entry.name)
    if (entry.isSymbolicLink()) return [{ name: entry.name, text: fs.readlinkSync(full) }]
    return entry.isDirectory() ? linksBelow(full) : []
  })
}
