/**
 * The audit chain's format. Pure.
 *
 *   line   {"n":7,"at":"…","from":"consent","session":"s-1","action":"…","data":{…},"prev":HASH OF LINE 6,"hash":HASH}
 *   head   {"v":1,"first":{"n","prev"},"last":{"n","hash"},"at":"…","key":PUBLIC KEY,"sig":SIGNATURE}
 *
 * `hash` is the SHA-256 of the line's bytes before `,"hash"`; it covers `prev`, and so every line before. `sig` is an Ed25519 signature
 * of the head's bytes before `,"sig"`. The head says where the chain begins and ends, so that lines missing at either end are noticed.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { z } from 'zod'

export const genesis = '0'.repeat(64)

export type Entry = { from: string; session: string | null; action: string; data: Readonly<Record<string, unknown>> }
export type Link = { n: number; hash: string }

const hash = z.string().regex(/^[0-9a-f]{64}$/)
const lineSchema = z.strictObject({
  n: z.int().positive(),
  at: z.iso.datetime(),
  from: z.string(),
  session: z.string().nullable(),
  action: z.string(),
  data: z.record(z.string(), z.unknown()),
  prev: hash,
})
export type Line = z.infer<typeof lineSchema> & { hash: string }

const headSchema = z.strictObject({
  v: z.literal(1),
  first: z.strictObject({ n: z.int().positive(), prev: hash }),
  last: z.strictObject({ n: z.int().nonnegative(), hash }),
  at: z.iso.datetime(),
  key: z.string().regex(/^[0-9a-f]+$/),
})
export type Head = z.infer<typeof headSchema>

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The text of the line after `before`, without its newline, and its link. */
export function lineText(before: Link, at: string, { from, session, action, data }: Entry): { text: string; link: Link } {
  const n = before.n + 1
  const open = JSON.stringify({ n, at, from, session, action, data, prev: before.hash }).slice(0, -1)
  const own = sha256(open)
  return { text: `${open},"hash":"${own}"}`, link: { n, hash: own } }
}

const hashTail = /,"hash":"([0-9a-f]{64})"\}$/

/** A line's content when its bytes are exactly what was written, else what is wrong with it. */
export function readLine(bytes: Buffer): Line | { why: string } {
  const tail = hashTail.exec(bytes.subarray(-75).toString('latin1'))
  if (!tail) return { why: 'it does not end in its hash' }
  const open = bytes.subarray(0, bytes.length - tail[0].length)
  if (sha256(open) !== tail[1]) return { why: 'its content does not match its hash' }
  const parsed = lineSchema.safeParse(parseJson(`${open.toString('utf8')}}`))
  return parsed.success ? { ...parsed.data, hash: tail[1] ?? '' } : { why: 'it is not an audit line' }
}

export function headText(head: Omit<Head, 'key'>, privateKey: KeyObject): string {
  const key = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).toString('hex')
  const { v, first, last, at } = head
  const open = JSON.stringify({ v, first, last, at, key }).slice(0, -1)
  return `${open},"sig":"${sign(null, Buffer.from(open), privateKey).toString('hex')}"}`
}

/** The head when its signature is good for the key it names, else what is wrong with it. */
export function readHead(text: string): Head | { why: string } {
  const tail = /,"sig":"([0-9a-f]{128})"\}$/.exec(text)
  if (!tail) return { why: 'it does not end in its signature' }
  const open = text.slice(0, -tail[0].length)
  const parsed = headSchema.safeParse(parseJson(`${open}}`))
  if (!parsed.success) return { why: 'it is not an audit head' }
  try {
    const key = createPublicKey({ key: Buffer.from(parsed.data.key, 'hex'), type: 'spki', format: 'der' })
    if (!verify(null, Buffer.from(open), key, Buffer.from(tail[1] ?? '', 'hex'))) return { why: 'its signature does not match' }
  } catch {
    return { why: 'the key it names is none' }
  }
  return parsed.data
}

/** Short name of a public key, to be compared with one noted down elsewhere. */
export const fingerprint = (key: string): string => sha256(Buffer.from(key, 'hex')).slice(0, 32)

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
