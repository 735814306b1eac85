import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { daemonEnvironment } from './daemon-control.ts'
import { type DaemonSettings, fingerprint, readRecord, removeRecord, sameSettings, writeRecord } from './daemon-record.ts'
import type { Places } from './places.ts'
import { withStartLock } from './start-lock.ts'

let dir: string
let places: Places
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'daemon-'))
  places = { home: dir, runtimeDir: dir, imageDir: dir, socket: join(dir, 's') }
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const settings: DaemonSettings = {
  key: 'sk-made-up',
  baseUrl: null,
  vm: 'auto',
  imageDir: '/i',
  network: { proxy: {}, ca: null },
  vaultKey: null,
  code: 'v',
}

test('the daemon gets no secret by its environment', () => {
  const env = {
    PATH: '/bin',
    HOME: '/h',
    LC_ALL: 'C',
    BULKHEAD_HOME: '/b',
    XDG_STATE_HOME: '/x',
    ANTHROPIC_API_KEY: 'k',
    ANTHROPIC_AUTH_TOKEN: 't',
    AWS_SECRET_ACCESS_KEY: 's',
    NODE_OPTIONS: '--x',
    https_proxy: 'http://user:secret@proxy:3128',
  }
  expect(Object.keys(daemonEnvironment(env))).toEqual(['PATH', 'HOME', 'LC_ALL', 'BULKHEAD_HOME', 'XDG_STATE_HOME'])
})

test('the record tells whether settings are the same, without containing them', () => {
  const known = { pid: 1, started: 'x', socket: 's', ...fingerprint(settings) }
  writeRecord(places, known)
  expect(readRecord(places)).toEqual(known)
  expect(JSON.stringify(known)).not.toContain('sk-made-up')
  expect(sameSettings(known, { ...settings })).toBe(true)
  const network = { proxy: { https: 'http://proxy:3128' }, ca: null }
  for (const other of [
    { network },
    { vaultKey: 'k' },
    { key: null },
    { key: 'k2' },
    { baseUrl: 'http://x' },
    { vm: 'off' as const },
    { imageDir: '/j' },
    { code: 'w' },
  ])
    expect(sameSettings(known, { ...settings, ...other })).toBe(false)
  expect(fingerprint(settings).fingerprint).not.toBe(fingerprint(settings).fingerprint)
  removeRecord(places)
  expect(readRecord(places)).toBeNull()
})

test('one at a time holds the start lock, and a failure gives it back', async () => {
  const order: string[] = []
  const work = (name: string) => async () => {
    order.push(`${name} in`)
    for (let turns = 0; turns < 20; turns++) await turn()
    order.push(`${name} out`)
  }
  await expect(withStartLock(dir, () => Promise.reject(new Error('x')))).rejects.toThrow('x')
  await Promise.all([withStartLock(dir, work('a')), withStartLock(dir, work('b'))])
  expect([order[0]?.slice(2), order[1]?.slice(2), order[2]?.slice(2)]).toEqual(['in', 'out', 'in'])
})
