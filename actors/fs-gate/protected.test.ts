import * as fs from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { editFile, writeFile } from './change-tools.ts'
import { isHarmlessGitConfig, isHarmlessGitdir } from './git-config.ts'
import { NinepConnections } from './ninep-connections.ts'
import { protection } from './protected-paths.ts'
import { rootFid, TestClient, uid } from './test-client.ts'
import { never, refusal, type TestFolder, testFolder } from './test-folder.ts'

const protectedPaths = [
  '.git/hooks/pre-commit',
  'a/b/c/d/e/f/.git/hooks/post-checkout',
  '.git/modules/sub/hooks/pre-push',
  '.git/config',
  '.git/config.worktree',
  '.git/worktrees/w/config.worktree',
  '.git/modules/sub/config',
  'nested/repo/.git',
  '.GIT/hooks/pre-commit',
  '.Git/Config',
  '.g\u200cit/hooks/x',
  '.git\ufeff/config',
  '.git /hooks/x',
  '.git./config',
  '.git::$INDEX_ALLOCATION/hooks/x',
  'GIT~1/config',
  '．git/config',
  '.bashrc',
  'home/.zshrc',
  '.BashRC',
  '.envrc',
  '.mcp.json',
  '.npmrc',
  '.gitconfig',
  '.vscode/tasks.json',
  'x/.VSCode/Settings.json',
  '.idea/workspace.xml',
  '.husky/pre-commit',
  '.bulkhead/instructions.md',
  '.ssh/authorized_keys',
  '.claude/settings.json',
  '.claude/settings.local.json',
  '.claude/hooks/x.sh',
  '.cursor/mcp.json',
  'lib/sitecustomize.py',
  'Desktop/x.desktop',
  'x.lnk',
]
const free = [
  'src/index.ts',
  '.gitignore',
  '.git/HEAD',
  '.git/index',
  '.git/refs/heads/config',
  '.git/refs/heads/hooks/x',
  '.git/logs/refs/heads/hooks/x',
  '.git/hooks/pre-commit.sample',
  '.git/config.lock',
  '.git/objects/ab/cdef',
  'config',
  'hooks/x',
  '.vscode/extensions.json',
  'node_modules/x/.vscode/settings.json',
  'node_modules/x/.npmrc',
  'package.json',
  'profile',
]

test.each(protectedPaths)('%j is protected', (path) => expect(protection(path.split('/'))).not.toBe(null))
test.each(free)('%j is not', (path) => expect(protection(path.split('/'))).toBe(null))
test('a hook stays one below node_modules', () => expect(protection('node_modules/x/.git/hooks/a'.split('/'))).not.toBe(null))

const bytes = (text: string) => new TextEncoder().encode(text)
const usual =
  '[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n[remote "origin"]\n\turl = https://example.com/x.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch "main"]\n\tremote = origin\n\tmerge = refs/heads/main\n'
test('settings that git writes by itself are harmless; those that run something are not', () => {
  expect(isHarmlessGitConfig(bytes(usual))).toBe(true)
  for (const evil of [
    '[core]\n\thooksPath = /tmp/x\n',
    '[core]\n\tfsmonitor = touch x\n',
    '[core]\n\tsshCommand = x\n',
    '[core] fsmonitor = x\n',
    '[CORE]\nFSMonitor=x\n',
    '[filter "x"]\n\tsmudge = x\n',
    '[alias]\n\tst = !x\n',
    '[include]\n\tpath = ../evil\n',
    '[includeIf "gitdir:~/"]\n\tpath = x\n',
    '[diff]\n\texternal = x\n',
    '[url "ext::x"]\n\tinsteadOf = https://\n',
    '[remote "o"]\n\turl = ext::sh -c x\n',
    '[remote "o"]\n\tuploadpack = x\n',
    '[remote "o"]\n\turl = -uevil\n',
    '[credential]\n\thelper = !x\n',
    '[core]\n\tbare = true\\\n\n',
    '[core "\\"]\n\tfsmonitor = x\n',
    '[core]\r\n\tbare = true\r\n',
    'fsmonitor = x\n',
    '[core',
  ])
    expect(isHarmlessGitConfig(bytes(usual + evil)), evil).toBe(false)
  const own = `${usual}[alias]\n\tst = !status\n`
  expect(isHarmlessGitConfig(bytes(`${own}[branch "x"]\n\tremote = origin\n`), bytes(own)), 'what was there may stay').toBe(true)
  expect(isHarmlessGitConfig(bytes('[alias]\n\tst = !other\n'), bytes(own))).toBe(false)
  expect(isHarmlessGitConfig(Uint8Array.of(0xff, 0xfe))).toBe(false)
  expect(isHarmlessGitdir(bytes('gitdir: /sessions/s/mnt/w/repo/.git/worktrees/x\n'))).toBe(true)
  expect(isHarmlessGitdir(bytes('gitdir: ../.git/modules/x\n'))).toBe(true)
  for (const evil of ['gitdir: evil\n', 'gitdir: ../.git/worktrees/../../evil', 'gitdir: x/.git/worktrees/y\ngitdir: evil'])
    expect(isHarmlessGitdir(bytes(evil)), evil).toBe(false)
})

let folder: TestFolder
let client: TestClient
beforeEach(() => {
  folder = testFolder()
  client = new TestClient(new NinepConnections(folder.gate)).attach()
})
afterEach(() => folder.remove())
const path = (...parts: string[]) => join(folder.root, ...parts)
const noTimes = { size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }

describe('from the workspace', () => {
  const rename = (oldDir: string, oldName: string, newDir: string, newName: string) =>
    client.error('renameat', { oldDir: client.walk(oldDir), oldName, newDir: client.walk(newDir), newName })
  const put = (dir: string, name: string, text: string) => {
    const fid = client.create(dir, name)
    client.write(fid, text)
    client.ask('clunk', { fid })
  }

  test('N of N refused: every way to write a protected path', () => {
    const refused: [string, string][] = []
    for (const protectedPath of protectedPaths.filter((item) => !item.endsWith('/.git'))) {
      const parts = protectedPath.split('/')
      const name = parts.pop() as string
      const dir = parts.join('/')
      fs.mkdirSync(path(dir), { recursive: true })
      put('', 'evil', 'evil')
      const at = client.walk(dir)
      const named = (what: string, error: string) => refused.push([`${what} ${protectedPath}`, error])
      named('create', client.error('lcreate', { fid: client.walk(dir), name, flags: 2, mode: 0o755, gid: uid }))
      named('mknod', client.error('mknod', { fid: at, name, mode: 0o100644, major: 0, minor: 0, gid: uid }))
      named('symlink', client.error('symlink', { fid: at, name, target: 'x', gid: uid }))
      named('link', client.error('link', { dfid: at, fid: client.walk('evil'), name }))
      named('rename onto', rename('', 'evil', dir, name))
      fs.writeFileSync(path(protectedPath), 'mine')
      named('open for writing', client.error('lopen', { fid: client.walk(protectedPath), flags: 1 }))
      named('open to truncate', client.error('lopen', { fid: client.walk(protectedPath), flags: 0o1000 }))
      named('truncate', client.error('setattr', { fid: client.walk(protectedPath), valid: 8, mode: 0, uid: 0, gid: 0, ...noTimes }))
      named('link from', client.error('link', { dfid: rootFid, fid: client.walk(protectedPath), name: 'alias' }))
      named('rename over', rename('', 'evil', dir, name))
      expect(fs.readFileSync(path(protectedPath), 'utf8')).toBe('mine')
      fs.rmSync(path(protectedPath))
      fs.rmSync(path('evil'))
    }
    const passed = refused.filter(([, error]) => error !== 'EACCES')
    expect(passed, `${refused.length - passed.length} of ${refused.length} refused`).toEqual([])
  })

  test('around it: a folder renamed into place, an ancestor moved away and back, a link to another folder, a handle kept open', () => {
    fs.mkdirSync(path('x/hooks'), { recursive: true })
    fs.mkdirSync(path('y'))
    put('x/hooks', 'pre-commit', 'evil')
    put('y', 'tasks.json', 'evil')
    expect(rename('', 'x', '', '.git')).toBe('EACCES')
    expect(rename('', 'y', '', '.vscode')).toBe('EACCES')
    expect(client.error('symlink', { fid: rootFid, name: '.vscode', target: 'y', gid: uid })).toBe('EACCES')
    expect(client.error('symlink', { fid: rootFid, name: 'ln', target: 'y', gid: uid })).toBe('')
    expect(rename('', 'ln', '', '.vscode')).toBe('EACCES')
    fs.mkdirSync(path('.git/hooks'), { recursive: true })
    expect(rename('', '.git', '', 'away')).toBe('')
    put('away/hooks', 'post-merge', 'evil')
    expect(rename('', 'away', '', '.git')).toBe('EACCES')
    fs.rmSync(path('away/hooks/post-merge'))
    expect(rename('', 'away', '', '.git')).toBe('')
    const kept = client.create('.git', 'config.lock')
    client.write(kept, usual)
    expect(rename('.git', 'config.lock', '.git', 'config')).toBe('')
    expect(client.error('write', { fid: kept, offset: 0n, data: Buffer.from('[core]\n\tfsmonitor = x\n') })).toBe('EACCES')
    put('.git', 'config.lock', '[core]\n\tfsmonitor = x\n')
    expect(rename('.git', 'config.lock', '.git', 'config')).toBe('EACCES')
    expect(fs.readFileSync(path('.git/config'), 'utf8')).toBe(usual)
  })

  test('a bare repository under any name, whichever part comes last', () => {
    for (const last of ['HEAD', 'objects', 'refs', 'config']) {
      fs.mkdirSync(path(`bare-${last}`))
      const parts = ['HEAD', 'objects', 'refs', 'config'].filter((part) => part !== last)
      for (const part of [...parts, last]) {
        const fid = client.walk(`bare-${last}`)
        const folderPart = part === 'objects' || part === 'refs'
        const error = folderPart
          ? client.error('mkdir', { fid, name: part, mode: 0o755, gid: uid })
          : client.error('lcreate', { fid, name: part, flags: 2, mode: 0o644, gid: uid })
        if (!folderPart && error === '') client.write(fid, part === 'config' ? '[core]\n\tfsmonitor = x\n' : 'ref: refs/heads/main\n')
        expect([part, error]).toEqual([part, part === last ? 'EACCES' : ''])
      }
    }
  })

  test('what git does is possible', () => {
    fs.mkdirSync(path('repo/.git/hooks'), { recursive: true })
    put('repo/.git/hooks', 'pre-commit.sample', 'sample')
    put('repo/.git', 'config.lock', usual)
    expect(rename('repo/.git', 'config.lock', 'repo/.git', 'config')).toBe('')
    expect(client.error('setattr', { fid: client.walk('repo/.git/config'), valid: 1, mode: 0o744, uid: 0, gid: 0, ...noTimes })).toBe('')
    fs.mkdirSync(path('tree'))
    const fid = client.create('tree', '.git')
    expect(client.error('write', { fid, offset: 0n, data: Buffer.from('gitdir: evil\n') })).toBe('EACCES')
    expect(client.error('write', { fid, offset: 0n, data: Buffer.from('gitdir: /sessions/s/mnt/work/repo/.git/worktrees/tree\n') })).toBe(
      '',
    )
    expect(client.error('unlinkat', { fid: client.walk('repo/.git'), name: 'config', flags: 0 })).toBe('')
    expect(client.error('renameat', { oldDir: rootFid, oldName: 'repo', newDir: rootFid, newName: 'other' })).toBe('')
  })
})

describe('from tools', () => {
  test('refused with the rule, unless the grant is for that', async () => {
    fs.mkdirSync(path('.git'))
    fs.writeFileSync(path('.git/config'), usual)
    fs.symlinkSync('.git', path('g'))
    const write = (name: string, tools?: string[]) => writeFile(folder.gate, { path: name, content: 'x' }, tools ? { tools } : {}, never)
    const edit = () => editFile(folder.gate, { path: 'g/config', oldText: 'bare', newText: 'x' }, {}, never)
    expect([await refusal(() => write('.git/hooks/pre-commit')), await refusal(() => write('new/.envrc')), await refusal(edit)]).toEqual([
      'protected-path',
      'protected-path',
      'protected-path',
    ])
    expect(fs.existsSync(path('new'))).toBe(false)
    await write('.git/hooks/pre-commit', ['protected'])
    expect(fs.readFileSync(path('.git/hooks/pre-commit'), 'utf8')).toBe('x')
  })
})
