/** The gate in a process of its own, with Node's permissions as its manifest asks for them and its code out of reach. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { codePaths, permissionArgs } from '../../kernel/placement-process.ts'
import { manifest } from './manifest.ts'
import { secret, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

const entry = new URL('./index.ts', import.meta.url).href

/** Runs statements in a gate process; what they put into `said` is returned. `meanwhile`: a shell's command, run once they say that they are ready. */
function inGate(mode: 'ro' | 'rw', statements: string, wasi = true, meanwhile = ''): Record<string, unknown> {
  const permissions = manifest.permissions({ root: folder.root, name: 'work', mode })
  const code = codePaths(entry)
  const args = permissionArgs(permissions, code).filter((arg) => wasi || arg !== '--allow-wasi')
  const script = `
    import * as fs from 'node:fs'
    import * as Effect from ${JSON.stringify(import.meta.resolve('effect/Effect'))}
    import { actor } from ${JSON.stringify(entry)}
    import { NinepConnections } from ${JSON.stringify(new URL('./ninep-connections.ts', import.meta.url).href)}
    import { encodeRequest } from ${JSON.stringify(new URL('./ninep-codec.ts', import.meta.url).href)}
    import { TestClient } from ${JSON.stringify(new URL('./test-client.ts', import.meta.url).href)}
    import { openGate } from ${JSON.stringify(new URL('./gate.ts', import.meta.url).href)}
    for (const path of ${JSON.stringify(code)}) process.permission.drop('fs.read', path)
    const root = ${JSON.stringify(folder.root)}
    const said = {}
    const attempt = (name, work) => { try { said[name] = work() } catch (error) { said[name] = error.code ?? error.message } }
    const opened = await Effect.runPromise(actor.effects.openFolder.run({ root, name: 'work', mode: '${mode}' }))
    const ask = async (effect, body, grant = {}) => {
      const outcome = await Effect.runPromise(actor.effects[effect].run({ request: 1, gate: opened.gate, grant, body, from: 'x' }))
      return outcome.type === 'done' ? outcome.reply : outcome.error.code
    }
    ${statements}
    console.log(JSON.stringify(said))`
  const run = [process.execPath, ...args, '--disallow-code-generation-from-strings', '--no-warnings', '--input-type=module', '-e', script]
  // The shell passes on what is said, and acts at the first word on standard error.
  const shell = meanwhile === '' ? 'exec "$@"' : `{ "$@" 2>&1 >&3 | { read -r _ && ${meanwhile}; cat >&2; }; } 3>&1`
  const output = execFileSync('/bin/sh', ['-c', shell, 'sh', ...run], { cwd: '/', env: { PATH: '/bin:/usr/bin' }, encoding: 'utf8' })
  return JSON.parse(output) as Record<string, unknown>
}

const tools = `
  said.write = await ask('writeFile', { path: 'd/a.txt', content: 'one\\n' })
  said.again = await ask('writeFile', { path: 'd/a.txt', content: 'two\\n' })
  said.edit = await ask('editFile', { path: 'd/a.txt', oldText: 'two', newText: 'three' })
  said.read = await ask('readFile', { path: 'f.txt' })
  said.grep = await ask('grepFiles', { pattern: 'hello' })
  said.glob = await ask('globFiles', { pattern: '*' })
  said.list = await ask('listFolder', { path: '' })
  said.out = await ask('readFile', { path: 'out/secret.txt' })
  said.outside = await ask('readFile', { path: '/etc/passwd' })
  attempt('passwd', () => fs.readFileSync('/etc/passwd', 'utf8'))
  attempt('code', () => fs.readFileSync(${JSON.stringify(new URL('./index.ts', import.meta.url).pathname)}, 'utf8'))
  said.wasi = process.permission.has('wasi')
  said.net = process.permission.has('net')`

beforeEach(() => {
  fs.writeFileSync(join(folder.root, 'f.txt'), 'hello\n')
  fs.symlinkSync(folder.outside, join(folder.root, 'out'))
})

test('everything a writable folder needs works', () => {
  const said = inGate('rw', tools)
  expect(said).toMatchObject({
    write: { created: true },
    again: { created: false },
    edit: { replacements: 1 },
    read: { text: 'hello\n' },
    grep: { matches: [{ path: 'f.txt' }] },
    glob: { truncated: false },
    list: { truncated: false },
    out: 'symlink-escape',
    outside: 'outside-folder',
    passwd: 'ERR_ACCESS_DENIED',
    code: 'ERR_ACCESS_DENIED',
    wasi: false,
    net: false,
  })
  expect(fs.readFileSync(join(folder.root, 'd/a.txt'), 'utf8')).toBe('three\n')
  expect(JSON.stringify(said)).not.toContain(secret)
})

const ninep = `
  const gate = openGate(root, 'work', 'rw')
  const client = new TestClient(new NinepConnections(gate)).attach()
  const noTimes = { size: 3n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 5n, mtimeNsec: 0n }
  said.by = gate.syscalls.by
  said.link = client.error('symlink', { fid: 0, name: 'link', target: 'f.txt', gid: 0 })
  attempt('text', () => client.ask('readlink', { fid: client.walk('link') }).subarray(2).toString())
  said.taken = client.error('symlink', { fid: 0, name: 'link', target: 'f.txt', gid: 0 })
  said.escape = client.error('symlink', { fid: 0, name: 'evil', target: '../outside', gid: 0 })
  attempt('read', () => client.read(client.open('f.txt')))
  const fid = client.create('', 'new')
  client.write(fid, 'content')
  said.sync = client.error('fsync', { fid })
  said.syncFolder = client.error('fsync', { fid: client.open('') })
  said.set = client.error('setattr', { fid, valid: 1 | 8 | 0x20 | 0x100, mode: 0o600, uid: 0, gid: 0, ...noTimes })
  said.hard = client.error('link', { dfid: 0, fid, name: 'hard' })
  said.move = client.error('renameat', { oldDir: 0, oldName: 'new', newDir: 0, newName: 'moved' })`

const works = {
  link: '',
  text: 'f.txt',
  taken: 'EEXIST',
  escape: 'EPERM',
  read: 'hello\n',
  sync: '',
  syncFolder: '',
  set: '',
  hard: '',
  move: '',
  by: 'wasi',
}

test('so does the file server, links and sync included', () => {
  expect(inGate('rw', ninep)).toEqual(works)
  const { mode, size, mtimeMs, nlink } = fs.statSync(join(folder.root, 'moved'))
  expect({ mode: mode & 0o777, size, mtimeMs, nlink }).toEqual({ mode: 0o600, size: 3, mtimeMs: 5_000, nlink: 2 })
})

test('links lead upwards within the folder, as every installed package has them, and not out of it', () => {
  const said = inGate(
    'rw',
    `const gate = openGate(root, 'work', 'rw')
    const client = new TestClient(new NinepConnections(gate)).attach()
    client.ask('mkdir', { dfid: 0, name: 'bin', mode: 0o755, gid: 0 })
    const fid = client.walk('bin')
    for (const target of ['../f.txt', './../f.txt', 'x/../../f.txt', '../../outside'])
      said[target] = client.error('symlink', { fid, name: 'link' + Object.keys(said).length, target, gid: 0 })
    attempt('text', () => client.ask('readlink', { fid: client.walk('bin/link0') }).subarray(2).toString())`,
  )
  expect(said).toEqual({
    '../f.txt': '',
    './../f.txt': '',
    'x/../../f.txt': expect.any(String),
    '../../outside': 'EPERM',
    text: '../f.txt',
  })
  expect(fs.readFileSync(join(folder.root, 'bin/link0'), 'utf8')).toBe('hello\n')
})

test('a folder that may be gone through and not be listed has its files opened all the same', () => {
  const shut = join(folder.root, 'shut')
  fs.mkdirSync(shut)
  for (const name of ['a', 'b', 'c']) fs.writeFileSync(join(shut, name), name)
  fs.chmodSync(shut, 0o311)
  const said = inGate(
    'rw',
    `const gate = openGate(root, 'work', 'rw')
    const connections = new NinepConnections(gate)
    new TestClient(connections).attach()
    if (process.geteuid() === 0) process.seteuid(65_534)
    attempt('list', () => fs.readdirSync(root + '/shut').length)
    const ahead = (fid, newfid, ...names) => {
      const frame = encodeRequest('walk', 1, { fid, newfid, names })
      return connections.answer({ conn: 'test#1', uid: 4_711, frame, ahead: true }, {}, 'vm-supervisor')[4]
    }
    said.walked = [ahead(0, 1, 'shut'), ahead(1, 2, 'a'), ahead(1, 3, 'b'), ahead(1, 4, 'c')]`,
  )
  expect(said).toEqual({ list: 'EACCES', walked: [111, 111, 111, 111] })
})

test.each(['rw', 'ro'] as const)('it hears of what others change in a folder connected %s', (mode) => {
  const said = inGate(
    mode,
    `await ask('tellOthers', {})
    const { promise, resolve } = Promise.withResolvers()
    const other = fs.watch(root, { persistent: true }, resolve)
    console.error('watching')
    await promise
    other.close()
    do said.others = await ask('tellOthers', {})
    while (said.others.changes.length === 0 && !said.others.partial)`,
    true,
    `touch ${JSON.stringify(join(folder.root, 'theirs'))}`,
  )
  expect(said).toEqual({ others: { changes: [{ path: 'theirs', what: 'changed' }], more: 0, partial: false } })
})

test('without WASI only links are missing', () => {
  expect(inGate('rw', ninep, false)).toEqual({ ...works, by: 'none', link: 'EPERM', text: 'ENOENT', taken: 'EPERM' })
  expect(inGate('rw', tools, false)).toMatchObject({ write: { created: true }, edit: { replacements: 1 } })
})

test('a read-only folder cannot be written whatever the code tries', () => {
  const said = inGate(
    'ro',
    `${tools}
    attempt('raw', () => fs.writeFileSync(root + '/f.txt', 'overwritten'))
    attempt('handle', () => fs.writeFileSync('/proc/self/fd/' + fs.openSync(root, 'r') + '/f.txt', 'overwritten'))`,
  )
  expect(said).toMatchObject({
    write: 'read-only',
    edit: 'read-only',
    read: { text: 'hello\n' },
    raw: 'ERR_ACCESS_DENIED',
    handle: 'ERR_ACCESS_DENIED',
  })
  expect(fs.readFileSync(join(folder.root, 'f.txt'), 'utf8')).toBe('hello\n')
})
