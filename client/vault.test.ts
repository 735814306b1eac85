/** What a member keeps, on disk and in a keyring: what each holds, and that egress opens what the command wrote. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type SecretOwner, seal, unseal } from '../actors/egress/vault-format.ts'
import { readVault } from '../actors/egress/vault.ts'
import { makePlaces, type Places } from './places.ts'
import { parseCommand } from './args.ts'
import { secret } from './secret.ts'
import type { SecretCommand } from './secret-args.ts'
import { dropSecret, keepSecret, keptSecrets, vaultKeyFor } from './vault.ts'

const value = 'tok-made-up-0123456789'
const owner: SecretOwner = {
  name: 'api',
  host: 'api.example',
  port: 443,
  place: { in: 'header', name: 'authorization', prefix: 'Bearer ' },
}
const target = { host: 'api.example', port: 443 }
let dir: string
let places: Places
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'vault-'))
  places = { home: join(dir, 'home'), runtimeDir: join(dir, 'run'), imageDir: dir, socket: join(dir, 'run', 's') }
  makePlaces(places)
})
const ending: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ending.splice(0)) await end()
  rmSync(dir, { recursive: true, force: true })
})

const off = { BULKHEAD_KEYRING: 'off' }
const egressDir = () => join(places.home, 'egress')
const opened = async (key: string | null = null) => (await readVault(egressDir(), key)).keyring.of(target)[0]?.value

/** A `secret-tool` that keeps to its manual page: entries by attributes, the secret on standard input and output. */
function withKeyring(broken = ''): NodeJS.ProcessEnv {
  const bin = join(dir, 'bin')
  mkdirSync(bin, { recursive: true })
  const tool = join(bin, 'secret-tool')
  const lines = [
    '#!/bin/sh',
    `echo "$@" >>${dir}/argv`,
    broken,
    'act=$1; shift; case "$1" in --label=*) shift;; esac',
    `file=${dir}/ring-$(echo "$@" | tr ' /' '__')`,
    'if [ $act = store ]; then cat >"$file"; else [ -f "$file" ] || exit 1; cat "$file"; fi',
  ]
  writeFileSync(tool, lines.join('\n'))
  chmodSync(tool, 0o755)
  return { PATH: `${bin}:${process.env['PATH']}`, DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nowhere' }
}

test('without a keyring: sealed, private, labelled, and the key beside it', async () => {
  expect(await keepSecret(places, off, owner, value)).toContain('no keyring')
  const text = readFileSync(join(egressDir(), 'vault.json'), 'utf8')
  expect(text).not.toContain(value)
  expect(JSON.parse(text)).toMatchObject({ key: 'file', label: expect.stringContaining('not from anyone who can read both') })
  for (const name of readdirSync(egressDir())) expect(statSync(join(egressDir(), name)).mode & 0o777).toBe(0o600)
  expect(readdirSync(egressDir()).toSorted()).toEqual(['vault.json', 'vault.key'])
  expect(await vaultKeyFor(places, off)).toBeNull()
  expect(await opened()).toBe(value)
})

test.runIf(process.platform === 'linux')('with one: the key is there, the daemon is given it, and it was on no command line', async () => {
  const env = withKeyring()
  expect(await keepSecret(places, env, owner, value)).toContain('libsecret')
  expect(readdirSync(egressDir())).toEqual(['vault.json'])
  const key = await vaultKeyFor(places, env)
  expect(key).toHaveLength(44)
  const argv = readFileSync(join(dir, 'argv'), 'utf8')
  expect(argv).toMatch(/^store --label=\S+/)
  expect(argv).not.toContain(key)
  expect(argv).not.toContain(value)
  expect(await opened(key)).toBe(value)
  // Another secret under the same key.
  await keepSecret(places, env, { ...owner, name: 'second', port: 8443 }, `${value}2`)
  expect(await vaultKeyFor(places, env)).toBe(key)
  // Without its key the host is closed, not open.
  const locked = await readVault(egressDir(), null)
  expect(locked.problem).toContain('api.example')
  expect(locked.keyring.obstacle(target, { seen: true, secure: true })).toMatchObject({ rule: 'secret-locked' })
})

/** The keyring of GNOME on a bus of its own, unlocked, in a home that is thrown away. It ends with its standard input. */
async function desktop(): Promise<NodeJS.ProcessEnv> {
  const [home, runtime] = ['desktop', 'desktop-run'].map((name) => join(dir, name)) as [string, string]
  for (const path of [home, runtime]) mkdirSync(path, { mode: 0o700 })
  const env = { PATH: process.env['PATH'], HOME: home, XDG_RUNTIME_DIR: runtime }
  const serve = 'printf made-up | gnome-keyring-daemon --unlock --components=secrets >&2; echo "$DBUS_SESSION_BUS_ADDRESS"; exec cat'
  const session = spawn(programs.bus, ['--', 'sh', '-c', serve], { env, stdio: ['pipe', 'pipe', 'ignore'] })
  ending.push(async () => {
    session.stdin.end()
    if (session.exitCode === null) await once(session, 'exit')
  })
  const [line] = (await once(session.stdout, 'data')) as [Buffer]
  return { ...env, DBUS_SESSION_BUS_ADDRESS: String(line).trim() }
}
const programs = { bus: '/usr/bin/dbus-run-session', keyring: '/usr/bin/gnome-keyring-daemon', client: '/usr/bin/secret-tool' }

test('with the keyring of a GNOME desktop: the key is there, under its home, and found again', async ({ skip }) => {
  // Tests do not install it: it would become the keyring of whoever's machine this is.
  const missing = Object.values(programs).filter((path) => !existsSync(path))
  skip(missing.length > 0, `needs ${missing.join(', ')}`)
  const env = await desktop()
  expect(await keepSecret(places, env, owner, value)).toContain('libsecret')
  expect(readdirSync(egressDir())).toEqual(['vault.json'])
  const key = await vaultKeyFor(places, env)
  expect(key).toHaveLength(44)
  expect(await opened(key)).toBe(value)
  await keepSecret(places, env, { ...owner, name: 'second', port: 8443 }, `${value}2`)
  expect(await vaultKeyFor(places, env)).toBe(key)
  // Another home has a key of its own.
  const other = { ...places, home: join(dir, 'other'), runtimeDir: join(dir, 'other-run') }
  makePlaces(other)
  await keepSecret(other, env, owner, value)
  expect(await vaultKeyFor(other, env)).not.toBe(key)
})

test.runIf(process.platform === 'linux')('a keyring that does not answer is done without', async () => {
  const env = withKeyring('echo "Cannot autolaunch D-Bus" >&2; exit 1')
  expect(await keepSecret(places, env, owner, value)).toContain('no keyring')
  expect(await opened()).toBe(value)
})

test('an entry that was pointed at another host opens nothing, and closes that host', async () => {
  await keepSecret(places, off, owner, value)
  const file = join(egressDir(), 'vault.json')
  writeFileSync(file, readFileSync(file, 'utf8').replace('api.example', 'evil.example'))
  const { keyring, problem } = await readVault(egressDir(), null)
  expect(keyring.of({ host: 'evil.example', port: 443 })).toEqual([])
  expect(problem).toContain('evil.example')
  expect(keyring.obstacle({ host: 'evil.example', port: 443 }, { seen: true, secure: true })).toMatchObject({ rule: 'secret-locked' })
})

test.each([
  ['no JSON', '{'],
  ['another shape', '{"version":2}'],
  ['a host that is none', JSON.stringify({ version: 1, label: '', key: 'file', secrets: [{ ...owner, host: 'A.example', sealed: '' }] })],
  [
    'a field that frames',
    JSON.stringify({
      version: 1,
      label: '',
      key: 'file',
      secrets: [{ ...owner, place: { in: 'header', name: 'Host', prefix: '' }, sealed: '' }],
    }),
  ],
])('a vault with %s lets nothing out', async (_what, text) => {
  mkdirSync(egressDir(), { recursive: true })
  writeFileSync(join(egressDir(), 'vault.json'), text)
  const { keyring, problem } = await readVault(egressDir(), null)
  expect(problem).toContain('vault.json')
  expect(keyring.obstacle({ host: 'any.example', port: 443 }, { seen: true, secure: true })).toMatchObject({ rule: 'secret-locked' })
})

test('sealing: another key, another owner or a changed byte opens nothing', () => {
  const key = Buffer.alloc(32, 1)
  const kept = seal(value, owner, key)
  expect(unseal(kept, key)).toBe(value)
  expect(unseal(kept, Buffer.alloc(32, 2))).toBeNull()
  expect(unseal(kept, Buffer.alloc(16))).toBeNull()
  for (const other of [{ name: 'b' }, { host: 'b.example' }, { port: 1 }, { place: { in: 'query', name: 'q' } as const }])
    expect(unseal({ ...kept, ...other }, key)).toBeNull()
  const bytes = Buffer.from(kept.sealed, 'base64')
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(unseal({ ...kept, sealed: changed.toString('base64') }, key)).toBeNull()
  }
})

test('a secret that is dropped is gone, and so is one set again', async () => {
  await keepSecret(places, off, owner, value)
  await keepSecret(places, off, owner, `${value}-new`)
  expect(keptSecrets(places)?.secrets).toHaveLength(1)
  expect(await opened()).toBe(`${value}-new`)
  expect(dropSecret(places, 'other')).toBe(false)
  expect(dropSecret(places, 'api')).toBe(true)
  expect(await opened()).toBeUndefined()
})

test('the command: the value by standard input, never shown; a daemon that runs is told', async () => {
  let shown = ''
  const told: string[] = []
  const daemon = { call: async (method: string) => (told.push(method), { problem: null }), close: () => undefined }
  const io = (input: string) => ({
    places,
    env: off,
    input: Readable.from([input]),
    out: (text: string) => void (shown += text),
    tell: (text: string) => void (shown += text),
    running: async () => daemon as never,
  })
  const words = (...args: string[]) => parseCommand(['secret', ...args]) as SecretCommand
  expect(await secret(words('set', 'api', '--host', 'API.example'), io(`${value}\n`))).toBe(0)
  expect(await secret(words('list'), io(''))).toBe(0)
  expect(shown).toContain('api  api.example:443  in the field authorization')
  expect(shown).not.toContain(value)
  expect(await opened()).toBe(value)
  expect(await secret(words('remove', 'api', '--json'), io(''))).toBe(0)
  expect(told).toEqual(['egress/reload-secrets', 'egress/reload-secrets'])
  await expect(secret(words('remove', 'api'), io(''))).rejects.toMatchObject({ code: 'not-found' })
  await expect(secret(words('set', 'x', '--host', 'a.example'), io('short'))).rejects.toMatchObject({ code: 'bad-settings' })
  await expect(secret(words('set', 'x', '--host', 'a.example'), io('has blanks in it\nand more'))).rejects.toMatchObject({
    code: 'bad-settings',
  })
})

test.each([
  [['set', 'x', 'tok', '--host', 'a.example'], /not an argument/],
  [['set', 'x'], /--host/],
  [['set', 'x', '--host', '*.example.com'], /--host/],
  [['set', 'x', '--host', 'a.example', '--basic', 'u', '--query', 'q'], /one place/],
  [['set', 'x', '--host', 'a.example', '--header', 'a b'], /--header/],
  [['set', '9', '--host', 'a.example'], /NAME/],
  [['forget', 'x'], /set, list, remove/],
])('secret %j', (args, message) => {
  expect(() => parseCommand(['secret', ...args])).toThrow(message)
})
