/**
 * The catalogue of attacks on shared folders as one table: by a tool, and by the guest's kernel itself, which sends what no kernel would. Each is
 * refused and leaves no trace, inside or outside. The count stands in docs/SPECIFICATION.md.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { treeOf } from '../../test/harness/tree.ts'
import { editFile, writeFile } from './change-tools.ts'
import { NinepConnections } from './ninep-connections.ts'
import { type BodyOfRequest, encodeRequest, type RequestName } from './ninep-codec.ts'
import { listFolder, readFile, statPath } from './read-tools.ts'
import { globFiles, grepFiles } from './search-tools.ts'
import { rootFid, TestClient, uid } from './test-client.ts'
import { never, noLimits, openDescriptors, refusal, secret, type TestFolder, testFolder } from './test-folder.ts'
import { deletePath, movePath } from './tree-tools.ts'

type Case = { what: string; refused(): Promise<string> | string }

let folder: TestFolder
let client: TestClient
let server: ReturnType<typeof createServer>
const path = (...parts: string[]) => join(folder.root, ...parts)

beforeAll(async () => {
  folder = testFolder()
  const { root, outside } = folder
  fs.mkdirSync(path('d/e'), { recursive: true })
  fs.mkdirSync(path('repo/.git/hooks'), { recursive: true })
  fs.writeFileSync(path('repo/.git/hooks/pre-push'), 'mine')
  fs.writeFileSync(path('repo/.git/config'), '[core]\n')
  fs.writeFileSync(path('f'), 'inside')
  fs.writeFileSync(path('d/e/f'), 'inside')
  fs.symlinkSync(outside, path('out'))
  fs.symlinkSync('../outside', path('out-relative'))
  fs.symlinkSync(join(outside, 'secret.txt'), path('out-file'))
  fs.symlinkSync(join(outside, 'missing'), path('out-dangling'))
  fs.symlinkSync('out', path('chained'))
  fs.symlinkSync('out-dangling', path('chained-dangling'))
  fs.symlinkSync('loop', path('loop'))
  fs.symlinkSync('/proc/self/root', path('magic'))
  fs.symlinkSync('/proc/self/fd/0', path('magic-fd'))
  fs.symlinkSync('../x', path('d/up'))
  execFileSync('mkfifo', [path('pipe')])
  server = createServer().listen(path('socket'))
  await new Promise((ready) => server.once('listening', ready))
  fs.symlinkSync('/dev/zero', path('device-link'))
  client = new TestClient(new NinepConnections(folder.gate)).attach()
  fs.mkdirSync(join(root, 'd/full'))
  fs.writeFileSync(path('d/full/x'), 'x')
})
afterAll(async () => {
  await new Promise((done) => server.close(done))
  folder.remove()
})

const leadsOut = [
  '../outside/secret.txt',
  'd/../../outside/secret.txt',
  'd/e/../../..',
  '/etc/passwd',
  '/',
  'out/secret.txt',
  'out/new',
  'out/deep/new',
  'out-relative/secret.txt',
  'out-file',
  'out-dangling',
  'chained/secret.txt',
  'chained-dangling',
  'loop',
  'loop/x',
  'magic/etc/passwd',
  'magic/proc/self/environ',
  'magic-fd',
  'device-link',
  'f\0.png',
  'n'.repeat(256),
  `${'d/'.repeat(3_000)}f`,
  '\ud800',
  'f/x',
]
const protectedPaths = [
  '.git/hooks/pre-commit',
  'repo/.git/hooks/pre-push',
  'a/b/c/d/e/f/.git/hooks/x',
  '.git/config',
  'repo/.git/config',
  '.GIT/hooks/x',
  '.Git/Config',
  '.g\u200cit/hooks/x',
  '.git\ufeff/config',
  '.git /hooks/x',
  '.git./config',
  '.git::$INDEX_ALLOCATION/hooks/x',
  'GIT~1/config',
  '．git/config',
  'nested/repo/.git',
  '.husky/pre-commit',
  '.bulkhead/instructions.md',
  '.bashrc',
  '.BashRC',
  '.envrc',
  '.npmrc',
  '.gitconfig',
  '.mcp.json',
  '.vscode/tasks.json',
  'x/.VSCode/Settings.json',
  '.idea/workspace.xml',
  '.claude/settings.json',
  '.claude/settings.local.json',
  '.claude/hooks/x.sh',
  '.claude/commands/x.md',
  '.claude/agents/x.md',
  '.cursor/mcp.json',
  '.codex/config.toml',
  'lib/sitecustomize.py',
  'Desktop/x.desktop',
  'x.lnk',
]

/** By tools: each with each path. */
function byTools(): Case[] {
  const { gate } = folder
  const tools: Record<string, (at: string) => Promise<unknown>> = {
    read: (at) => readFile(gate, { path: at }, noLimits, never),
    list: (at) => listFolder(gate, { path: at }, noLimits, never),
    glob: (at) => globFiles(gate, { pattern: '**', path: at }, noLimits, never),
    grep: (at) => grepFiles(gate, { pattern: 'secret', path: at }, noLimits, never),
    stat: (at) => statPath(gate, { path: at }, noLimits),
    write: (at) => writeFile(gate, { path: at, content: 'evil' }, noLimits, never),
    edit: (at) => editFile(gate, { path: at, oldText: 'secret', newText: 'evil' }, noLimits, never),
    'move from': (at) => movePath(gate, { path: `${at}/x`, to: 'taken' }, noLimits, never),
    'move to': (at) => movePath(gate, { path: 'f', to: `${at}/x` }, noLimits, never),
    'delete below': (at) => deletePath(gate, { path: `${at}/x`, recursive: true }, noLimits, never),
  }
  const walked = Object.entries(tools).flatMap(([tool, call]) =>
    leadsOut.map((at) => ({ what: `${tool} ${JSON.stringify(at).slice(0, 40)}`, refused: () => refusal(() => call(at)) })),
  )
  const guarded = protectedPaths.flatMap((at): Case[] => [
    { what: `write ${JSON.stringify(at)}`, refused: () => refusal(() => writeFile(gate, { path: at, content: 'evil' }, noLimits, never)) },
    { what: `move to ${JSON.stringify(at)}`, refused: () => refusal(() => movePath(gate, { path: 'f', to: at }, noLimits, never)) },
  ])
  const special = ['pipe', 'socket'].flatMap((at) =>
    ['read', 'write', 'edit'].map((tool) => ({ what: `${tool} ${at}`, refused: () => refusal(() => tools[tool]?.(at)) })),
  )
  return [...walked, ...guarded, ...special]
}

const noTimes = { size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }
const dress = { uid, gid: uid, ...noTimes }

/** By the guest's kernel: what it is answered with, '' when it is let through. */
function ninep<K extends RequestName>(what: string, name: K, body: () => BodyOfRequest<K>): Case {
  return {
    what: `${name}: ${what}`,
    // What leads up to it must work, else something else was refused.
    refused: () => client.error(name, body()),
  }
}

function byGuest(): Case[] {
  const names: [string, string][] = [
    ['empty', ''],
    ['.', '.'],
    ['..', '..'],
    ['/', '/'],
    ['a slash inside', 'd/f'],
    ['up and out', '../outside/secret.txt'],
    ['absolute', '/etc/passwd'],
    ['NUL', 'f\0'],
    ['NUL in front', '\0'],
    ['256 bytes', 'n'.repeat(256)],
    ['4 KiB', 'n'.repeat(4_096)],
  ]
  const rawNames = names.flatMap(([label, name]): Case[] => [
    ninep(`a name that is ${label}`, 'walk', () => ({ fid: rootFid, newfid: 900, names: [name] })),
    ninep(`a second name that is ${label}`, 'walk', () => ({ fid: rootFid, newfid: rootFid, names: ['nowhere', name] })),
    ninep(`a name that is ${label}`, 'lcreate', () => ({ fid: rootFid, name, flags: 2, mode: 0o644, gid: uid })),
    ninep(`a name that is ${label}`, 'mkdir', () => ({ fid: rootFid, name, mode: 0o755, gid: uid })),
    ninep(`a name that is ${label}`, 'symlink', () => ({ fid: rootFid, name, target: 'f', gid: uid })),
    ninep(`a name that is ${label}`, 'mknod', () => ({ fid: rootFid, name, mode: 0o100644, major: 0, minor: 0, gid: uid })),
    ninep(`a name that is ${label}`, 'link', () => ({ dfid: rootFid, fid: client.walk('f'), name })),
    ninep(`a name that is ${label}`, 'unlinkat', () => ({ fid: rootFid, name, flags: 0 })),
    ninep(`a name that is ${label}`, 'rename', () => ({ fid: client.walk('f'), dfid: rootFid, name })),
    ninep(`an old name that is ${label}`, 'renameat', () => ({ oldDir: rootFid, oldName: name, newDir: rootFid, newName: 'x' })),
    ninep(`a new name that is ${label}`, 'renameat', () => ({ oldDir: rootFid, oldName: 'f', newDir: rootFid, newName: name })),
  ])
  const links = ['out', 'out-relative', 'out-file', 'out-dangling', 'chained', 'magic', 'magic-fd', 'device-link']
  const throughLinks = links.flatMap((link): Case[] => [
    ninep(`through ${link}`, 'walk', () => ({ fid: client.walk(link), newfid: 901, names: ['secret.txt'] })),
    ...[0, 1, 2, 0o1001].map((flags) => ninep(`${link}, flags ${flags}`, 'lopen', () => ({ fid: client.walk(link), flags }))),
    ninep(`in ${link}`, 'lcreate', () => ({ fid: client.walk(link), name: 'new', flags: 2, mode: 0o644, gid: uid })),
    ninep(`in ${link}`, 'mkdir', () => ({ fid: client.walk(link), name: 'new', mode: 0o755, gid: uid })),
    ninep(`in ${link}`, 'symlink', () => ({ fid: client.walk(link), name: 'new', target: 'x', gid: uid })),
    ninep(`in ${link}`, 'unlinkat', () => ({ fid: client.walk(link), name: 'secret.txt', flags: 0 })),
    ninep(`into ${link}`, 'link', () => ({ dfid: client.walk(link), fid: client.walk('f'), name: 'new' })),
    ninep(`into ${link}`, 'renameat', () => ({ oldDir: rootFid, oldName: 'f', newDir: client.walk(link), newName: 'new' })),
    ninep(`out of ${link}`, 'renameat', () => ({ oldDir: client.walk(link), oldName: 'secret.txt', newDir: rootFid, newName: 'new' })),
    ninep(`the size of what ${link} leads to`, 'setattr', () => ({ fid: client.walk(link), valid: 8, mode: 0, ...dress })),
    ninep(`entries of ${link}`, 'readdir', () => ({ fid: client.walk(link), offset: 0n, count: 4_096 })),
    ninep(`over a lookup of ${link}`, 'lcreate', () => ({ fid: rootFid, name: link, flags: 2, mode: 0o644, gid: uid })),
  ])
  const targets = ['/etc/passwd', '../outside', '../../x', 'd/../../x', '/', '..', '/proc/self/environ', `${'../'.repeat(40)}etc`]
  const newLinks = targets.flatMap((target): Case[] => [
    ninep(`to ${target.slice(0, 30)}`, 'symlink', () => ({ fid: rootFid, name: 'new', target, gid: uid })),
  ])
  const moves: Case[] = [
    ninep('a link that would lead out from there', 'renameat', () => ({
      oldDir: client.walk('d'),
      oldName: 'up',
      newDir: rootFid,
      newName: 'up',
    })),
    ninep('a link that would lead out from there', 'link', () => ({ dfid: rootFid, fid: client.walk('d/up'), name: 'up' })),
    ninep('a folder into itself', 'renameat', () => ({ oldDir: rootFid, oldName: 'd', newDir: client.walk('d/e'), newName: 'd' })),
    ninep('a folder', 'link', () => ({ dfid: rootFid, fid: client.walk('d'), name: 'again' })),
    ninep('a pipe', 'link', () => ({ dfid: rootFid, fid: client.walk('pipe'), name: 'again' })),
    ninep('a full folder', 'unlinkat', () => ({ fid: client.walk('d'), name: 'full', flags: 0x200 })),
    ninep('the connected folder itself', 'remove', () => ({ fid: client.walk('') })),
    ninep('the connected folder itself', 'rename', () => ({ fid: client.walk(''), dfid: client.walk('d'), name: 'x' })),
  ]
  const kinds: [string, number][] = [
    ['a pipe', 0o010644],
    ['a socket', 0o140644],
    ['a character device', 0o020666],
    ['a block device', 0o060666],
    ['a folder', 0o040755],
    ['a link', 0o120777],
  ]
  const special = [
    ...kinds.map(([label, mode]) => ninep(label, 'mknod', () => ({ fid: rootFid, name: 'new', mode, major: 1, minor: 5, gid: uid }))),
    ...['pipe', 'socket'].flatMap((at): Case[] => [
      ...[0, 1, 2].map((flags) => ninep(`${at}, flags ${flags}`, 'lopen', () => ({ fid: client.walk(at), flags }))),
      ninep(at, 'setattr', () => ({ fid: client.walk(at), valid: 1, mode: 0o777, ...dress })),
    ]),
  ]
  const rights: Case[] = [
    ninep("another's", 'setattr', () => ({ fid: client.walk('f'), valid: 2, mode: 0, ...dress, uid: 0 })),
    ninep("another group's", 'setattr', () => ({ fid: client.walk('f'), valid: 4, mode: 0, ...dress, gid: 0 })),
    ...['security.capability', 'security.selinux', 'system.posix_acl_access', 'trusted.x', 'user.x'].flatMap((name): Case[] => [
      ninep(name, 'xattrcreate', () => ({ fid: client.walk('f'), name, size: 20n, flags: 0 })),
      ninep(name, 'xattrwalk', () => ({ fid: client.walk('f'), newfid: 902, name })),
    ]),
    ninep('the list', 'xattrwalk', () => ({ fid: client.walk('f'), newfid: 903, name: '' })),
  ]
  const guarded = protectedPaths.flatMap((at): Case[] => {
    const parts = at.split('/')
    const name = parts.at(-1) as string
    const above = () => deepest(parts.slice(0, -1))
    const git = name === '.git'
    return [
      ...(git ? [] : [ninep(at, 'lcreate', () => ({ fid: above(), name, flags: 2, mode: 0o644, gid: uid }))]),
      ...(git ? [] : [ninep(at, 'mknod', () => ({ fid: above(), name, mode: 0o100644, major: 0, minor: 0, gid: uid }))]),
      ninep(at, 'symlink', () => ({ fid: above(), name, target: 'f', gid: uid })),
      ninep(at, 'link', () => ({ dfid: above(), fid: client.walk('f'), name })),
      ninep(at, 'renameat', () => ({ oldDir: rootFid, oldName: 'f', newDir: above(), newName: name })),
    ]
  })
  const written: Case[] = [
    ...['repo/.git/hooks/pre-push', 'repo/.git/config'].flatMap((at): Case[] => [
      ...[1, 2, 0o1001].map((flags) => ninep(`${at}, flags ${flags}`, 'lopen', () => ({ fid: client.walk(at), flags }))),
      ninep(at, 'setattr', () => ({ fid: client.walk(at), valid: 8, mode: 0, ...dress })),
      ninep(at, 'link', () => ({ dfid: rootFid, fid: client.walk(at), name: 'alias' })),
    ]),
    ninep('a hook that is asleep', 'setattr', () => ({ fid: client.walk('repo/.git/hooks/pre-push'), valid: 1, mode: 0o755, ...dress })),
  ]
  const state: Case[] = [
    ninep('a fid nobody made', 'read', () => ({ fid: 9_999, offset: 0n, count: 10 })),
    ninep('a fid nobody made', 'clunk', () => ({ fid: 9_999 })),
    ninep('a file that is not open', 'read', () => ({ fid: client.walk('f'), offset: 0n, count: 10 })),
    ninep('a file that is not open', 'write', () => ({ fid: client.walk('f'), offset: 0n, data: Buffer.from('x') })),
    ninep('a file open for reading', 'write', () => ({ fid: client.open('f'), offset: 0n, data: Buffer.from('x') })),
    ninep('a file open for writing', 'read', () => ({ fid: client.open('d/e/f', 1), offset: 0n, count: 10 })),
    ninep('a folder as a file', 'lopen', () => ({ fid: client.walk('d'), flags: 2 })),
    ninep('all access bits', 'lopen', () => ({ fid: client.walk('f'), flags: 3 })),
    ninep('twice', 'lopen', () => ({ fid: client.open('f'), flags: 0 })),
    ninep('beyond what a file can have', 'read', () => ({ fid: client.open('f'), offset: 2n ** 63n, count: 10 })),
    ninep('beyond what a file can have', 'write', () => ({ fid: client.open('f', 1), offset: 2n ** 63n, data: Buffer.from('x') })),
    ninep('a size no file can have', 'setattr', () => ({ fid: client.walk('f'), valid: 8, mode: 0, ...dress, size: 2n ** 64n - 1n })),
    ninep('a fid in use', 'walk', () => ({ fid: rootFid, newfid: client.walk('f'), names: ['f'] })),
    ninep('the fid that is none', 'walk', () => ({ fid: rootFid, newfid: 0xffff_ffff, names: ['f'] })),
    ninep('out of a file', 'walk', () => ({ fid: client.walk('f'), newfid: 904, names: ['x'] })),
    ninep('a fid in use', 'attach', () => ({ fid: rootFid, afid: 0xffff_ffff, uname: 'root', aname: '/etc', uid: 0 })),
    ninep('as root', 'auth', () => ({ afid: 905, uname: 'root', aname: '/', uid: 0 })),
    ninep('text of a file', 'readlink', () => ({ fid: client.walk('f') })),
    ninep('entries of what is not open', 'readdir', () => ({ fid: client.walk('d'), offset: 0n, count: 4_096 })),
    ninep('no room for one entry', 'readdir', () => ({ fid: client.open('d'), offset: 0n, count: 3 })),
    ninep('times that are none', 'setattr', () => ({
      fid: client.walk('f'),
      valid: 0x20 | 0x100,
      mode: 0,
      ...dress,
      mtimeNsec: 2n ** 40n,
    })),
  ]
  const raw = (what: string, frame: () => Uint8Array): Case => ({
    what: `frame: ${what}`,
    refused: () => {
      try {
        const answer = client.raw(frame())
        return answer[4] === 7 ? `errno ${answer.readUInt32LE(7)}` : ''
      } catch (error) {
        return (error as Error).message
      }
    },
  })
  const clunk = () => Buffer.from(encodeRequest('clunk', 1, { fid: 9_999 }))
  const patched =
    (change: (frame: Buffer) => void, make: () => Buffer = clunk) =>
    () => {
      const frame = make()
      change(frame)
      return frame
    }
  const walkOf = () => Buffer.from(encodeRequest('walk', 1, { fid: rootFid, newfid: 906, names: ['ff'] }))
  const frames: Case[] = [
    raw('empty', () => new Uint8Array()),
    raw('shorter than a header', () => Uint8Array.of(5, 0, 0, 0, 120)),
    raw(
      'a size of 0',
      patched((frame) => frame.writeUInt32LE(0, 0)),
    ),
    raw(
      'a size one too large',
      patched((frame) => frame.writeUInt32LE(frame.length + 1, 0)),
    ),
    raw(
      'a size of 4 GiB',
      patched((frame) => frame.writeUInt32LE(0xffff_ffff, 0)),
    ),
    raw(
      'an unknown type',
      patched((frame) => frame.writeUInt8(255, 4)),
    ),
    raw(
      'an answer as a request',
      patched((frame) => frame.writeUInt8(121, 4)),
    ),
    raw(
      'an error as a request',
      patched((frame) => frame.writeUInt8(7, 4)),
    ),
    raw('bytes after the end', () => {
      const frame = Buffer.concat([clunk(), Buffer.alloc(4)])
      frame.writeUInt32LE(frame.length, 0)
      return frame
    }),
    raw(
      'a string longer than the frame',
      patched((frame) => frame.writeUInt16LE(0xffff, frame.length - 4), walkOf),
    ),
    raw(
      'more names than it has',
      patched((frame) => frame.writeUInt16LE(16, 15), walkOf),
    ),
    raw('17 names', () => encodeRequest('walk', 1, { fid: rootFid, newfid: 906, names: Array.from({ length: 17 }, () => 'd') })),
    raw(
      'a name that is no UTF-8',
      patched((frame) => frame.fill(0xff, frame.length - 2), walkOf),
    ),
    raw(
      'a lone surrogate',
      patched((frame) => frame.set([0xed, 0xa0], frame.length - 2), walkOf),
    ),
    raw('larger than agreed', () => Buffer.alloc(70_000)),
    raw(
      'data longer than the frame',
      patched(
        (frame) => frame.writeUInt32LE(0xffff_0000, 19),
        () => Buffer.from(encodeRequest('write', 1, { fid: rootFid, offset: 0n, data: Buffer.from('xxxx') })),
      ),
    ),
  ]
  return [...rawNames, ...throughLinks, ...newLinks, ...moves, ...special, ...rights, ...guarded, ...written, ...state, ...frames]
}

/** On a folder that is only read: all that changes. */
function onReadOnly(): Case[] {
  const readOnly = new TestClient(new NinepConnections(folder.gate), { grant: { mode: 'ro' }, conn: 'ro' }).attach()
  const asked = <K extends RequestName>(name: K, body: () => BodyOfRequest<K>): Case => ({
    what: `${name} on a folder that is only read`,
    refused: () => readOnly.error(name, body()),
  })
  return [
    asked('lopen', () => ({ fid: readOnly.walk('f'), flags: 1 })),
    asked('lopen', () => ({ fid: readOnly.walk('f'), flags: 0o1000 })),
    asked('lcreate', () => ({ fid: readOnly.walk(''), name: 'new', flags: 2, mode: 0o644, gid: uid })),
    asked('mkdir', () => ({ fid: rootFid, name: 'new', mode: 0o755, gid: uid })),
    asked('symlink', () => ({ fid: rootFid, name: 'new', target: 'f', gid: uid })),
    asked('mknod', () => ({ fid: rootFid, name: 'new', mode: 0o100644, major: 0, minor: 0, gid: uid })),
    asked('link', () => ({ dfid: rootFid, fid: readOnly.walk('f'), name: 'new' })),
    asked('unlinkat', () => ({ fid: rootFid, name: 'f', flags: 0 })),
    asked('renameat', () => ({ oldDir: rootFid, oldName: 'f', newDir: rootFid, newName: 'g' })),
    asked('rename', () => ({ fid: readOnly.walk('f'), dfid: rootFid, name: 'g' })),
    asked('remove', () => ({ fid: readOnly.walk('f') })),
    asked('setattr', () => ({ fid: readOnly.walk('f'), valid: 1, mode: 0o777, ...dress })),
    ...['write', 'edit', 'move', 'delete'].map(
      (tool): Case => ({
        what: `${tool} on a folder that is only read`,
        refused: () =>
          refusal(() => {
            const grant = { mode: 'ro' } as const
            if (tool === 'write') return writeFile(folder.gate, { path: 'f', content: 'x' }, grant, never)
            if (tool === 'edit') return editFile(folder.gate, { path: 'f', oldText: 'inside', newText: 'x' }, grant, never)
            if (tool === 'move') return movePath(folder.gate, { path: 'f', to: 'g' }, grant, never)
            return deletePath(folder.gate, { path: 'f' }, grant, never)
          }),
      }),
    ),
  ]
}

/** A fid on the folder these lead to; made from outside where it is missing, which programs of the workspace may do as well. */
function deepest(parts: readonly string[]): number {
  fs.mkdirSync(path(...parts), { recursive: true })
  return client.walk(parts.join('/'))
}

/** Names, modes and content, without what cannot be read. */
function seen(): unknown {
  const inside = fs.readdirSync(folder.root).filter((name) => !['pipe', 'socket'].includes(name))
  const trees = inside.flatMap((name) => {
    const stat = fs.lstatSync(path(name))
    return stat.isDirectory()
      ? Object.entries(treeOf(path(name))).filter(([, what]) => !what.startsWith('folder'))
      : [[name, stat.mode, stat.size]]
  })
  return [trees, treeOf(folder.outside), fs.readFileSync(path('f'), 'utf8')]
}

describe('the catalogue', () => {
  test('is refused as a whole, and the specification has the count', async () => {
    const cases = [...byTools(), ...byGuest(), ...onReadOnly()]
    const before = seen()
    const letThrough: string[] = []
    for (const { what, refused } of cases) {
      const code = await refused()
      if (code === '' || code === 'internal') letThrough.push(`${what}: ${code}`)
      expect(code, what).not.toContain(secret)
      expect(seen(), `${what} left a trace`).toEqual(before)
    }
    expect(letThrough).toEqual([])
    const told = /(\d+) of (\d+) refused/.exec(fs.readFileSync(new URL('../../docs/SPECIFICATION.md', import.meta.url), 'utf8'))
    expect(told?.slice(1)).toEqual([String(cases.length), String(cases.length)])
  })

  test('what only looks like it is let through', async () => {
    const own = testFolder()
    try {
      const guest = new TestClient(new NinepConnections(own.gate)).attach()
      const { root, outside } = own
      fs.symlinkSync(join(outside, 'secret.txt'), join(root, 'out'))
      fs.mkdirSync(join(root, 'd'))
      fs.writeFileSync(join(root, 'd/f'), 'inside')
      fs.symlinkSync('d/f', join(root, 'relative'))
      fs.symlinkSync(join(root, 'd/f'), join(root, 'absolute'))
      // A link out is seen as a link, read as one, moved and removed as one.
      expect((await statPath(own.gate, { path: 'd/f' }, noLimits)).type).toBe('file')
      expect(
        guest
          .ask('readlink', { fid: guest.walk('out') })
          .subarray(2)
          .toString(),
      ).toBe(join(outside, 'secret.txt'))
      expect(guest.attributes(guest.walk('out')).mode & 0o170000).toBe(0o120000)
      for (const name of ['relative', 'absolute']) expect((await readFile(own.gate, { path: name }, noLimits, never)).text).toBe('inside')
      guest.ask('unlinkat', { fid: rootFid, name: 'out', flags: 0 })
      expect(fs.readFileSync(join(outside, 'secret.txt'), 'utf8')).toBe(secret)
      // Ordinary names on Linux: a backslash, a drive, a reserved name of Windows, a trailing dot.
      for (const name of ['..\\x', 'C:', 'CON', 'nul.txt', 'x.', ' x', '...', '~', '-rf', '%2e%2e', '*'])
        guest.ask('clunk', { fid: guest.create('', name) })
      expect(fs.readdirSync(root)).toContain('..\\x')
      // Bits that would lend rights are left out.
      const made = guest.walk('')
      guest.ask('lcreate', { fid: made, name: 'suid', flags: 2, mode: 0o6755, gid: uid })
      guest.ask('setattr', { fid: guest.walk('suid'), valid: 1, mode: 0o7755, ...dress })
      expect(fs.statSync(join(root, 'suid')).mode & 0o7777).toBe(0o755)
    } finally {
      own.remove()
    }
  })

  test('a thousand refusals leave no descriptor open', () => {
    const before = openDescriptors(folder.gate)
    for (let i = 0; i < 1_000; i += 1) {
      const fid = client.walk('out')
      expect(client.error('lopen', { fid, flags: 2 })).not.toBe('')
      client.ask('clunk', { fid })
    }
    expect(openDescriptors(folder.gate)).toBe(before)
  })
})
