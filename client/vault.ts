/**
 * The vault as the member's command keeps it: a file of sealed secrets in the egress folder, its key in the keyring of the operating system
 * where there is one, else in a file beside it. Values are here only while they are being kept; the daemon's egress opens them.
 */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import {
  seal,
  type SecretOwner,
  unseal,
  type VaultFile,
  vaultFile,
  vaultKeyBytes,
  vaultKeyName,
  vaultLabels,
} from '../actors/egress/vault-format.ts'
import { vaultName } from '../actors/egress/vault-name.ts'
import { fault, isFault } from '../kernel/index.ts'
import { findKeyring, type Keyring } from './keyring.ts'
import type { Places } from './places.ts'

const folderOf = ({ home }: Places): string => join(home, 'egress')

/** What is kept, without values. Throws a fault when the file cannot be used. */
export function keptSecrets(places: Places): VaultFile | null {
  try {
    return vaultFile.parse(JSON.parse(readFileSync(join(folderOf(places), vaultName), 'utf8')))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw fault('bad-settings', `${join(folderOf(places), vaultName)} cannot be used.`, {
      cause: String(error instanceof Error ? error.message : error).slice(0, 300),
      remedy: 'Correct or remove the file; then set the secrets again.',
    })
  }
}

/** The key the daemon has to be given: null when there is no vault, or its key lies where egress reads it. */
export async function vaultKeyFor(places: Places, env: NodeJS.ProcessEnv): Promise<string | null> {
  let vault: VaultFile | null = null
  try {
    vault = keptSecrets(places)
  } catch {
    // Egress says so where it matters; the rest of the daemon goes on.
  }
  if (vault?.key !== 'keyring') return null
  // Without its key the hosts of its secrets are closed; the rest goes on.
  return await keyringOf(places, env)
    .then((keyring) => keyring?.read() ?? null)
    .catch(() => null)
}

/** @returns where the key is, in words */
export async function keepSecret(places: Places, env: NodeJS.ProcessEnv, owner: SecretOwner, value: string): Promise<string> {
  mkdirSync(folderOf(places), { recursive: true, mode: 0o700 })
  const before = keptSecrets(places)
  const { key, kept, where } = before === null ? await newKey(places, env) : await keyOf(places, env, before)
  // A key that opens nothing there would lock the others out.
  const first = before?.secrets[0]
  if (first && unseal(first, key) === null)
    throw fault('bad-settings', 'The key of the vault is not the one its secrets were sealed with.', {
      remedy: `Remove ${join(folderOf(places), vaultName)} and set the secrets again.`,
    })
  const others = (before?.secrets ?? []).filter(({ name }) => name !== owner.name)
  write(places, { version: 1, label: vaultLabels[kept], key: kept, secrets: [...others, seal(value, owner, key)] })
  return where
}

/** False when there is none of that name. */
export function dropSecret(places: Places, name: string): boolean {
  const before = keptSecrets(places)
  const secrets = before?.secrets.filter((secret) => secret.name !== name) ?? []
  if (before === null || secrets.length === before.secrets.length) return false
  write(places, { ...before, secrets })
  return true
}

type Found = { key: Buffer; kept: VaultFile['key']; where: string }

async function newKey(places: Places, env: NodeJS.ProcessEnv): Promise<Found> {
  const key = randomBytes(vaultKeyBytes)
  const text = key.toString('base64')
  const keyring = await keyringOf(places, env)
  if (keyring) {
    try {
      await keyring.write(text)
      // Some keyrings are there and keep nothing.
      if ((await keyring.read()) === text) return { key, kept: 'keyring', where: keyring.name }
    } catch {
      // Falls through to the file.
    }
  }
  const file = join(folderOf(places), vaultKeyName)
  writeDurably(file, `${text}\n`)
  return { key, kept: 'file', where: `a file beside it, because this machine has no keyring (${file})` }
}

async function keyOf(places: Places, env: NodeJS.ProcessEnv, { key: kept }: VaultFile): Promise<Found> {
  const missing = (cause: string) =>
    fault('bad-settings', 'The key of the vault cannot be read.', {
      cause,
      remedy: `Unlock the keyring, or remove ${join(folderOf(places), vaultName)} and set the secrets again.`,
    })
  try {
    const keyring = kept === 'keyring' ? await keyringOf(places, env) : null
    const file = join(folderOf(places), vaultKeyName)
    const text = keyring ? await keyring.read() : kept === 'file' ? readFileSync(file, 'utf8').trim() : null
    const key = Buffer.from(text ?? '', 'base64')
    if (key.length !== vaultKeyBytes) throw missing('It is not there.')
    return { key, kept, where: keyring?.name ?? `a file beside it (${file})` }
  } catch (error) {
    throw isFault(error) ? error : missing(error instanceof Error ? error.message : String(error))
  }
}

async function keyringOf(places: Places, env: NodeJS.ProcessEnv): Promise<Keyring | null> {
  const account = createHash('sha256').update(places.home).digest('hex').slice(0, 16)
  return findKeyring(env, account, join(folderOf(places), 'vault.dpapi'))
}

function write(places: Places, vault: VaultFile): void {
  writeDurably(join(folderOf(places), vaultName), `${JSON.stringify(vault, null, 2)}\n`)
}

function writeDurably(file: string, text: string): void {
  const draft = `${file}.new`
  const fd = openSync(draft, 'w', 0o600)
  try {
    writeSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(draft, file)
}
