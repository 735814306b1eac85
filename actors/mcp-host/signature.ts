/**
 * The signature of a bundle: `MCPB_SIG_V1`, length, PKCS#7 detached over everything before it, `MCPB_SIG_END`, at the very end of the file.
 * What is unpacked is exactly what was verified.
 */
import { createHash, verify, X509Certificate } from 'node:crypto'
import type { SignatureState } from './definition.ts'
import { childAt, childrenOf, type Der, readDer } from './der.ts'
import { maxSignatureBytes } from './limits.ts'

const header = Buffer.from('MCPB_SIG_V1')
const footer = Buffer.from('MCPB_SIG_END')
const codeSigning = '1.3.6.1.5.5.7.3.3'
const oid = {
  signedData: '2a864886f70d010702',
  messageDigest: '2a864886f70d010904',
  sha256: '608648016503040201',
} as const

export type Split = { content: Buffer; block: Buffer | null; broken: string | null }

/** @returns `content`: the zip alone, fit for a reader that takes nothing behind it */
export function splitBundle(bytes: Buffer): Split {
  if (!bytes.subarray(-footer.length).equals(footer)) {
    const inside = bytes.indexOf(header, Math.max(0, bytes.length - maxSignatureBytes))
    return { content: bytes, block: null, broken: inside < 0 ? null : 'it has a signature block that is not whole' }
  }
  const start = bytes.lastIndexOf(header)
  const from = start + header.length + 4
  const length = start < 0 || from > bytes.length ? -1 : bytes.readUInt32LE(start + header.length)
  if (length < 1 || length > maxSignatureBytes || from + length + footer.length !== bytes.length)
    return { content: bytes, block: null, broken: 'its signature block has a wrong length' }
  return { content: bytes.subarray(0, start), block: bytes.subarray(from, from + length), broken: null }
}

/** The zip as its reader wants it: signers that count the block as the zip's comment leave a length behind that is no longer true. */
export function withoutComment(content: Buffer): Buffer {
  const end = content.length - 22
  if (end < 0 || content.readUInt32LE(end) !== 0x06054b50 || content.readUInt16LE(end + 20) === 0) return content
  const copy = Buffer.from(content)
  copy.writeUInt16LE(0, end + 20)
  return copy
}

/** @param trusted certificates of publishers, or of those who certify them, that the administrator trusts */
export function verifySignature({ content, block, broken }: Split, trusted: readonly X509Certificate[], now: Date): SignatureState {
  if (broken !== null) return { state: 'broken', publisher: null, detail: broken }
  if (block === null) return { state: 'none', publisher: null, detail: 'it has no signature' }
  try {
    const { signer, certificates, attributes, signature } = parse(block)
    const publisher = nameOf(signer)
    // Signed before or after the comment's length was written: both are in use.
    const digests = [content, withoutComment(content)].map((bytes) => createHash('sha256').update(bytes).digest())
    const claimed = digestIn(attributes)
    if (!digests.some((digest) => digest.equals(claimed)))
      return { state: 'broken', publisher, detail: 'the bundle was changed after it was signed' }
    // Signed as a SET, stored under a context tag.
    const signed = Buffer.concat([Buffer.from([0x31]), attributes.raw.subarray(1)])
    if (!verify('sha256', signed, signer.publicKey, signature))
      return { state: 'broken', publisher, detail: 'the signature does not fit its certificate' }
    const objection = whyUntrusted(signer, certificates, trusted, now)
    return objection === null
      ? { state: 'trusted', publisher, detail: `signed by ${publisher}` }
      : { state: 'untrusted', publisher, detail: objection }
  } catch (error) {
    return {
      state: 'broken',
      publisher: null,
      detail: `the signature block cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    }
  }
}

function parse(block: Buffer): { signer: X509Certificate; certificates: X509Certificate[]; attributes: Der; signature: Buffer } {
  const info = readDer(block)
  if (childAt(info, 0, 0x06).content.toString('hex') !== oid.signedData) throw new Error('it is no signed data')
  const data = childAt(childAt(info, 1, 0xa0), 0, 0x30)
  const parts = childrenOf(data)
  const certificates = childrenOf(parts.find(({ tag }) => tag === 0xa0) ?? { tag: 0, raw: Buffer.alloc(0), content: Buffer.alloc(0) })
    .filter(({ tag }) => tag === 0x30)
    .slice(0, 10)
    .map(({ raw }) => new X509Certificate(raw))
  const infos = childrenOf(childAt(data, parts.length - 1, 0x31))
  const [one, ...more] = infos
  if (!one || more.length > 0) throw new Error('it has not exactly one signer')
  const sid = childAt(one, 1, 0x30)
  const serial = childAt(sid, 1, 0x02)
    .content.toString('hex')
    .replace(/^(?:00)+/, '')
  const signer = certificates.find(({ serialNumber }) => serialNumber.toLowerCase().replace(/^(?:00)+/, '') === serial)
  if (!signer) throw new Error('its certificate is not in it')
  if (childAt(childAt(one, 2, 0x30), 0, 0x06).content.toString('hex') !== oid.sha256) throw new Error('its digest is not SHA-256')
  return { signer, certificates, attributes: childAt(one, 3, 0xa0), signature: childAt(one, 5, 0x04).content }
}

function digestIn(attributes: Der): Buffer {
  const found = childrenOf(attributes).find((attribute) => childAt(attribute, 0, 0x06).content.toString('hex') === oid.messageDigest)
  if (!found) throw new Error('it signs no digest')
  return childAt(childAt(found, 1, 0x31), 0, 0x04).content
}

/** Null when the chain ends at one that is trusted. */
function whyUntrusted(
  signer: X509Certificate,
  others: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  now: Date,
): string | null {
  if (!(signer.keyUsage as string[] | undefined)?.includes(codeSigning)) return 'its certificate is not for signing code'
  let at = signer
  for (let depth = 0; depth < 8; depth++) {
    if (now < new Date(at.validFrom) || now > new Date(at.validTo)) return `the certificate of ${nameOf(at)} is not valid now`
    if (trusted.some(({ fingerprint256 }) => fingerprint256 === at.fingerprint256)) return null
    const issues = (other: X509Certificate): boolean =>
      other.fingerprint256 !== at.fingerprint256 && at.checkIssued(other) && at.verify(other.publicKey)
    const issuer = trusted.find(issues) ?? others.find((other) => other.ca && issues(other))
    if (!issuer) break
    at = issuer
  }
  return `nobody here trusts ${nameOf(signer)}`
}

function nameOf({ subject, fingerprint256 }: X509Certificate): string {
  const [, name] = /^CN=(.+)$/m.exec(subject ?? '') ?? []
  return (name ?? fingerprint256).replace(/[^\p{L}\p{N} .,&()-]/gu, '').slice(0, 100)
}
