/**
 * The jail of each product actor by itself: a program in it that has none of Node's permissions against it, as if that wall had fallen, tries
 * the member's files, the other actors' state, the network and the processes outside, and what its actor is there for.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findJail, jailOf } from '../kernel/jail.ts'
import { entries } from './actors.ts'
import { paramsOf } from './test-params.ts'

const canRun = 'bwrap' in (await findJail())
/** In the home of whoever runs this, where members keep theirs. */
const at = realpathSync(mkdtempSync('/var/tmp/bulkhead-jail-'))
const secret = join(at, 'member', '.ssh')
const jailed = entries.filter(({ manifest: { jail = {}, placement } }) => placement === 'process' && !('none' in jail))
let server: Server

const program = fileURLToPath(new URL('../kernel/testing/attempt-in-jail.js', import.meta.url))

beforeAll(async () => {
  server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  mkdirSync(secret, { recursive: true })
})
afterAll(() => {
  server.close()
  rmSync(at, { recursive: true, force: true })
})

type Attempts = { read?: readonly string[]; write?: readonly string[]; list?: readonly string[] }

async function possible(kind: string, params: Record<string, unknown>, attempts: Attempts): Promise<string[]> {
  const { manifest } = entries.find((entry) => entry.manifest.kind === kind) ?? {}
  if (!manifest) throw new Error(`there is no actor ${kind}`)
  const jail = await jailOf(manifest, params, { permissions: manifest.permissions(params), code: [program] })
  if ('why' in jail) throw new Error(jail.why)
  const { port } = server.address() as AddressInfo
  const words = [...jail.args, process.execPath, program, JSON.stringify({ ...attempts, port, pid: process.pid })]
  const { stdout, stderr } = spawnSync(jail.command, words, { env: {}, encoding: 'utf8' })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as string[]
}

/** A home as the daemon leaves it, and a member's folder beside it. */
function freshHome(kind: string, as = kind): { params: Record<string, unknown>; own: (name: string) => string } {
  const home = join(at, as)
  mkdirSync(home)
  const params = paramsOf(kind, home)
  for (const name of ['journal.sqlite', 'settings.json', 'audit/log', 'egress/rules.json', 'vm/state', 'folder/a.txt', 'extensions/one'])
    writeFileSync(join(home, name), 'something')
  writeFileSync(join(secret, 'id'), 'something')
  return { params, own: (name) => join(home, name) }
}

const everything = ['journal.sqlite', 'settings.json', 'audit/log', 'egress/rules.json', 'vm/state', 'folder/a.txt', 'extensions/one']
/** What each is there for, of all that is tried. */
const meant: Readonly<Record<string, { read: string[]; write: string[]; net?: true }>> = {
  telemetry: { read: ['audit/log'], write: ['audit/log'], net: true },
  egress: { read: ['egress/rules.json'], write: ['egress/rules.json'], net: true },
  'mcp-host': { read: ['settings.json', 'extensions/one'], write: ['settings.json', 'extensions/one'] },
  gateway: { read: [], write: [] },
  'fs-gate': { read: ['folder/a.txt'], write: [] },
  conversation: { read: [], write: [] },
}

describe.skipIf(!canRun)('with no other wall left', () => {
  test.each(jailed.map(({ manifest: { kind } }) => kind))('%s finds what it is there for, and nothing else', async (kind) => {
    const { params, own } = freshHome(kind)
    const { read, write, net = false } = meant[kind] ?? { read: [], write: [] }
    const files = [...everything.map(own), join(secret, 'id')]
    const found = await possible(kind, params, {
      read: files,
      write: [...files, join(dirname(process.execPath), 'node'), '/usr/bin/escape', '/etc/escape'],
      list: [secret, '/root', '/home', '/var/log', '/sys', '/run', '/srv'],
    })
    // The practice model and a collector on this machine are reached over loopback.
    expect(found.toSorted()).toEqual(
      [...read.map((name) => `read ${own(name)}`), ...write.map((name) => `write ${own(name)}`), ...(net ? ['connect'] : [])].toSorted(),
    )
    for (const name of everything) if (!write.includes(name)) expect(readFileSync(own(name), 'utf8')).toBe('something')
    expect(existsSync('/usr/bin/escape') || existsSync('/etc/escape')).toBe(false)
  })

  test('a gate of a folder to write in has that folder and its store, which need not be there yet', async () => {
    const { params, own } = freshHome('fs-gate', 'written')
    const changes = own('changes')
    const found = await possible(
      'fs-gate',
      { ...params, mode: 'rw', changes },
      { write: [own('folder/a.txt'), own('folder/new.txt'), own('journal.sqlite')], read: [join(secret, 'id')], list: [changes] },
    )
    expect(found).toEqual([`write ${own('folder/a.txt')}`, `write ${own('folder/new.txt')}`, `list ${changes}`])
  })

  test('settings that are replaced while it runs are seen, whatever else lies beside them is not', async () => {
    const { params, own } = freshHome('mcp-host', 'replaced')
    writeFileSync(own('later.sqlite'), 'something')
    const found = await possible('mcp-host', params, {
      write: [own('settings.json.new')],
      read: [own('later.sqlite'), own('settings.json')],
    })
    expect(found).toEqual([`read ${own('settings.json')}`, `write ${own('settings.json.new')}`])
  })

  test.each(entries.flatMap(({ manifest: { kind, jail } }) => (jail && 'none' in jail ? [[kind, jail.none] as const] : [])))(
    '%s is in none, and says why',
    async (kind, why) => {
      const { manifest } = entries.find((entry) => entry.manifest.kind === kind) ?? {}
      if (!manifest) throw new Error(kind)
      expect(await jailOf(manifest, {}, { permissions: {}, code: [] })).toEqual({ why })
      expect(why).toMatch(/\w{5}/)
    },
  )
})
