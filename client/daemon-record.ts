/**
 * What clients know of the running daemon without asking it: who it is, and whether it was started with the settings a client has.
 * The settings are kept as a salted hash, because the key is among them.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type NetworkSettings, networkSettings } from './network-settings.ts'
import type { Places } from './places.ts'

export type DaemonRecord = {
  pid: number
  /** Tells it apart from a later process of that pid. */
  started: string
  socket: string
  salt: string
  fingerprint: string
}

/** What a daemon is started with and keeps for life. */
export type DaemonSettings = {
  key: string | null
  baseUrl: string | null
  vm: 'auto' | 'off'
  imageDir: string
  network: NetworkSettings
  /** Of the vault, base64; null when the daemon needs none, or finds it itself. */
  vaultKey: string | null
  code: string
}

export function settingsOf(env: NodeJS.ProcessEnv, places: Places, vaultKey: string | null, code: string): DaemonSettings {
  return {
    key: env['ANTHROPIC_API_KEY'] || null,
    baseUrl: env['ANTHROPIC_BASE_URL'] || null,
    vm: env['BULKHEAD_VM'] === 'off' ? 'off' : 'auto',
    imageDir: places.imageDir,
    network: networkSettings(env),
    vaultKey,
    code,
  }
}

export function fingerprint(
  settings: DaemonSettings,
  salt: string = randomBytes(16).toString('hex'),
): { salt: string; fingerprint: string } {
  const { key, baseUrl, vm, imageDir, network, vaultKey, code } = settings
  return {
    salt,
    fingerprint: createHmac('sha256', salt)
      .update(JSON.stringify([key, baseUrl, vm, imageDir, network, vaultKey, code]))
      .digest('hex'),
  }
}

export function sameSettings(known: DaemonRecord, settings: DaemonSettings): boolean {
  const mine = Buffer.from(fingerprint(settings, known.salt).fingerprint)
  const its = Buffer.from(known.fingerprint)
  return mine.length === its.length && timingSafeEqual(mine, its)
}

const fileIn = (places: Places): string => join(places.runtimeDir, 'daemon.json')

/** Null when there is none, or none that can be read. */
export function readRecord(places: Places): DaemonRecord | null {
  try {
    const found: unknown = JSON.parse(readFileSync(fileIn(places), 'utf8'))
    return isRecord(found) ? found : null
  } catch {
    return null
  }
}

/** By hand: for five fields of our own, zod would be what each command, and each start of the daemon, waits for longest. */
function isRecord(value: unknown): value is DaemonRecord {
  if (typeof value !== 'object' || value === null) return false
  const { pid, started, socket, salt, fingerprint: its } = value as Record<string, unknown>
  return Number.isSafeInteger(pid) && Number(pid) > 0 && [started, socket, salt, its].every((text) => typeof text === 'string')
}

export function writeRecord(places: Places, value: DaemonRecord): void {
  const file = fileIn(places)
  writeFileSync(`${file}.new`, JSON.stringify(value), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

export function removeRecord(places: Places): void {
  rmSync(fileIn(places), { force: true })
}
