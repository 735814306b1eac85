/**
 * The certificate authority of this daemon's life (I/O): made at first need, kept in memory only, trusted in the workspace and nowhere else.
 * Its certificates let egress read TLS to hosts whose requests it has to judge or put a secret into.
 */
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'
import { limits } from './limits.ts'

export type Authority = {
  /** PEM. */
  certificate(): Promise<string>
  /** For a server of this (canonical) host. */
  contextFor(host: string): Promise<tls.SecureContext>
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const day = 24 * 60 * 60_000

export function createAuthority(now: () => number = Date.now): Authority {
  let made: Promise<Issuer> | null = null
  const kept = new Map<string, { context: tls.SecureContext; until: number }>()
  const issuer = (): Promise<Issuer> => (made ??= makeIssuer(now()))
  return {
    certificate: async () => (await issuer()).pem,
    async contextFor(host) {
      const found = kept.get(host)
      kept.delete(host)
      const usable = found && found.until > now() ? found : { context: await (await issuer()).issue(host, now()), until: now() + day }
      // Used again, so dropped later: a map keeps the order of insertion.
      kept.set(host, usable)
      for (const oldest of kept.keys()) {
        if (kept.size <= limits.certificates) break
        kept.delete(oldest)
      }
      return usable.context
    },
  }
}

type Issuer = { pem: string; issue(host: string, at: number): Promise<tls.SecureContext> }

async function makeIssuer(at: number): Promise<Issuer> {
  // The library finds its parts through it.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const { subtle } = globalThis.crypto
  // The authority's key cannot leave this process even by mistake.
  const keys = await subtle.generateKey(algorithm, false, ['sign', 'verify'])
  const serverKeys = await subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const serverKey = pem('PRIVATE KEY', await subtle.exportKey('pkcs8', serverKeys.privateKey))
  const validity = (from: number, days: number) => ({ notBefore: new Date(from - day), notAfter: new Date(from + days * day) })
  const name = `CN=Bulkhead of this session ${randomBytes(4).toString('hex')}, O=Bulkhead (this machine only)`
  const { keyCertSign, cRLSign, digitalSignature } = x509.KeyUsageFlags
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name,
    ...validity(at, 365),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const rootPem = root.toString('pem')
  return {
    pem: `${rootPem}\n`,
    async issue(host, issuedAt) {
      const bare = host.replace(/^\[(.*)\]$/, '$1')
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serial(),
        // Names longer than a common name may be stand in the extension, where clients look.
        subject: 'O=Bulkhead (this machine only)',
        issuer: root.subject,
        ...validity(issuedAt, 7),
        signingAlgorithm: algorithm,
        publicKey: serverKeys.publicKey,
        signingKey: keys.privateKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
          new x509.SubjectAlternativeNameExtension([{ type: net.isIP(bare) ? 'ip' : 'dns', value: bare }]),
          await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
        ],
      })
      return tls.createSecureContext({ key: serverKey, cert: `${certificate.toString('pem')}\n${rootPem}\n`, minVersion: 'TLSv1.2' })
    },
  }
}

/** Positive, and of the length the standard allows. */
function serial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01
  return bytes.toString('hex')
}

function pem(kind: string, bytes: ArrayBuffer): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${kind}-----\n${lines.join('\n')}\n-----END ${kind}-----\n`
}
