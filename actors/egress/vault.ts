/** Reads the secrets that are kept (I/O). What cannot be opened closes its hosts, and a file that cannot be read all of them. */
import fs from 'node:fs/promises'
import path from 'node:path'
import { closedKeyring, createKeyring, type Keyring, noSecrets, type Secret } from './injection.ts'
import { limits } from './limits.ts'
import { unseal, vaultFile, vaultKeyBytes, vaultKeyName } from './vault-format.ts'
import { vaultName } from './vault-name.ts'

/** `problem`: why some or all of it cannot be used; holds no value. Never rejects. */
export async function readVault(
  dir: string,
  givenKey: string | null,
): Promise<{ keyring: Keyring; names: string[]; problem: string | null }> {
  const file = path.join(dir, vaultName)
  let vault: ReturnType<typeof vaultFile.parse>
  try {
    if ((await fs.stat(file)).size > limits.vaultBytes) throw new Error(`it is larger than ${limits.vaultBytes} bytes`)
    vault = vaultFile.parse(JSON.parse(await fs.readFile(file, 'utf8')))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { keyring: noSecrets, names: [], problem: null }
    const [why] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { keyring: closedKeyring(`${file} cannot be used`), names: [], problem: `${file} cannot be used, so nothing goes out: ${why}` }
  }
  const key = vault.key === 'file' ? await keyBeside(dir) : givenKey === null ? null : Buffer.from(givenKey, 'base64')
  const secrets: Secret[] = []
  const locked: { host: string; port: number; why: string }[] = []
  for (const entry of vault.secrets) {
    const { name, host, port, place } = entry
    const value = key === null ? null : unseal(entry, key)
    if (value !== null) secrets.push({ name, host, port, place, value })
    else locked.push({ host, port, why: key === null ? 'the key of the vault is not there' : 'the vault has another key, or was changed' })
  }
  const problem = locked.length === 0 ? null : `Secrets of ${[...new Set(locked.map(({ host }) => host))].join(', ')} cannot be opened.`
  return { keyring: createKeyring(secrets, locked), names: vault.secrets.map(({ name }) => name), problem }
}

async function keyBeside(dir: string): Promise<Buffer | null> {
  try {
    const key = Buffer.from((await fs.readFile(path.join(dir, vaultKeyName), 'utf8')).trim(), 'base64')
    return key.length === vaultKeyBytes ? key : null
  } catch {
    return null
  }
}
