/**
 * The file that keeps secrets: who each belongs to in plain text, its value sealed (AES-256-GCM) with a key that is kept elsewhere. Whose it
 * is and where it goes is sealed with it, so that nobody without the key can point a secret at another host. The client writes the file,
 * egress reads it; a value never travels in a message.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { canonicalHost } from './host-grammar.ts'
import { limits } from './limits.ts'
import { placePatterns } from './place-patterns.ts'

/** Beside the vault, where the machine has no keyring. */
export const vaultKeyName = 'vault.key'
export const vaultKeyBytes = 32

/** Where in a request it goes. Whatever the sender put there itself does not travel: on this host, this secret is the only one. */
const secretPlace = z.discriminatedUnion('in', [
  z.strictObject({ in: z.literal('header'), name: z.string().regex(placePatterns.header), prefix: z.string().regex(placePatterns.prefix) }),
  z.strictObject({ in: z.literal('basic'), user: z.string().regex(placePatterns.user) }),
  z.strictObject({ in: z.literal('query'), name: z.string().regex(placePatterns.query) }),
])
export type SecretPlace = z.infer<typeof secretPlace>

/** Fields a secret may not be put into: they frame the message or say who it is for. */
const reserved = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'accept-encoding',
])

const keptSecret = z.strictObject({
  name: z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/),
  host: z.string().refine((host) => {
    const read = canonicalHost(host)
    return read.ok && read.value === host
  }, 'not a host in its canonical form'),
  port: z.int().min(1).max(65_535),
  place: secretPlace.refine((place) => place.in !== 'header' || !reserved.has(place.name.toLowerCase()), 'a field a secret cannot be in'),
  sealed: z.string().max(2 * limits.secretMaxChars + 200),
})
export type KeptSecret = z.infer<typeof keptSecret>
export type SecretOwner = Omit<KeptSecret, 'sealed'>

export const vaultFile = z.strictObject({
  version: z.literal(1),
  /** For whoever opens the file. */
  label: z.string().max(1000),
  key: z.enum(['keyring', 'file']),
  secrets: z.array(keptSecret).max(limits.secrets),
})
export type VaultFile = z.infer<typeof vaultFile>

export const vaultLabels: Readonly<Record<VaultFile['key'], string>> = {
  keyring: 'Secrets of Bulkhead. Values are encrypted; the key is in the keyring of this operating system.',
  file: 'Secrets of Bulkhead. Values are encrypted with the key in vault.key beside this file, because this machine has no keyring: that keeps them out of sight and out of copies of one of the two files, not from anyone who can read both.',
}

/** Why a value cannot be kept, or null. */
export function badValue(value: string): string | null {
  if (/[^\x21-\x7e]/.test(value)) return 'it has blanks, line ends or characters beyond ASCII'
  if (value.length < limits.secretChars) return `it is shorter than ${limits.secretChars} characters, too short to be cut out of answers`
  return value.length > limits.secretMaxChars ? `it is longer than ${limits.secretMaxChars} characters` : null
}

export function seal(value: string, owner: SecretOwner, key: Uint8Array): KeptSecret {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(about(owner))
  const sealed = Buffer.concat([nonce, cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64')
  return { ...owner, sealed }
}

/** Null when the key is another one, or the entry was changed. */
export function unseal({ sealed, ...owner }: KeptSecret, key: Uint8Array): string | null {
  const bytes = Buffer.from(sealed, 'base64')
  if (bytes.length < 28 || key.length !== vaultKeyBytes) return null
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAAD(about(owner)).setAuthTag(bytes.subarray(-16))
    return decipher.update(bytes.subarray(12, -16), undefined, 'utf8') + decipher.final('utf8')
  } catch {
    return null
  }
}

function about({ name, host, port, place }: SecretOwner): Buffer {
  return Buffer.from(JSON.stringify([name, host, port, Object.entries(place).toSorted(([a], [b]) => (a < b ? -1 : 1))]))
}
