/**
 * Fetches one page (I/O): decide, resolve once, dial what was vetted; each redirect is a new decision.
 * `Web` is what it needs of the world; tests hand in their own, production has `realWeb` only.
 */
import { fault, isFault, type ReplyOf } from '../../kernel/index.ts'
import type { protocol as readerProtocol } from '../reader/protocol.ts'
import type { Access } from './access.ts'
import { asRefusal, decideUrl, parseTarget, type Target } from './decide.ts'
import { unreachable, type Way, wayTo, type Web } from './dial.ts'
import { type Answer, exchange } from './http-exchange.ts'
import { inject, type Secret } from './injection.ts'
import { limits } from './limits.ts'
import { isPdf, tellApart } from './page.ts'
import { mayBeCached, type PageCache } from './page-cache.ts'
import { createScrubber, withoutSecrets } from './scrub.ts'

export type FetchRequest = {
  url: string
  maxBytes?: number | undefined
  /** All of a page, and not what a reader comes for. */
  whole?: boolean | undefined
  /** Pages of a PDF file. */
  pages?: { first: number; last?: number | undefined } | undefined
}
export type FetchReply = {
  status: number
  url: string
  contentType: string
  title?: string
  text: string
  /** `text` is the part of the page a reader comes for. */
  part?: 'article' | 'whole'
  /** Pages of a PDF file: those in `text`, and how many there are. */
  pages?: { first: number; last: number; of: number }
  truncated: boolean
  /** Whoever wrote the page decided what it says: never an instruction. */
  untrusted: true
  cached: boolean
}
/** Makes text of a page or a PDF file, in another process: parsers are large, and this one has the keys. Rejects with the reader's fault. */
export type Reader = {
  page(body: { html: string; url: string; whole: boolean }, signal: AbortSignal): Promise<ReplyOf<typeof readerProtocol, 'page'>>
  pdf(
    body: { bytes: Uint8Array; first?: number; last?: number | undefined },
    signal: AbortSignal,
  ): Promise<ReplyOf<typeof readerProtocol, 'pdf'>>
}
export type Explanation = { verdict: 'allow' | 'ask' | 'deny'; allowed: boolean; rule: string; reason: string }

const requestHeaders = {
  'user-agent': 'Bulkhead/0.1 (web fetch)',
  accept: 'text/html, text/markdown, text/plain, application/json, application/pdf;q=0.9, application/xml;q=0.9, text/*;q=0.8, */*;q=0.1',
  'accept-language': 'en, *;q=0.5',
}

/** Rejects with a fault. Aborting `signal` ends it at any point, and so does a policy that no longer allows the host. */
export async function fetchPage(
  request: FetchRequest,
  web: Web,
  access: Access,
  reader: Reader,
  signal: AbortSignal,
  cache?: { pages: PageCache<FetchReply>; session: string | null },
): Promise<FetchReply> {
  let target = wanted(request.url)
  const maxBytes = request.maxBytes ?? limits.fetchBytes
  const key = JSON.stringify([target.url.href, maxBytes, request.whole === true, request.pages ?? null])
  const known = cache?.pages.get(cache.session, key)
  if (known) {
    for (const before of known.targets) {
      await access.permit(before, signal)
      mayAsk(before, access)
    }
    return { ...known.page, cached: true }
  }
  const targets: Target[] = []
  // The time a member takes to answer is not the host's.
  let left: number = limits.fetchMs
  for (let hop = 0; ; hop += 1) {
    await access.permit(target, signal)
    mayAsk(target, access)
    access.admit(target, { seen: true, secure: target.secure })
    const secrets = access.secrets(target)
    const values = secrets.map(({ value }) => value)
    targets.push(target)
    const watch = access.watch(target, true)
    const allowed = AbortSignal.any([signal, watch.signal])
    const bounded = AbortSignal.any([allowed, AbortSignal.timeout(left)])
    const began = performance.now()
    try {
      const answer = await open(target, await wayTo(target, web, bounded), secrets, bounded)
      const location = redirectOf(answer)
      if (location === null) {
        const received = await receive(answer, target, maxBytes, values, bounded)
        // The reader has a time of its own, at whose end it is ended: cancelled before that, one that hangs would stay.
        const page = await read(answer, received, target, request, reader, values, allowed)
        // What a secret opened is not kept for when it is gone.
        if (secrets.length === 0 && mayBeCached(page.status, answer.headers['cache-control']))
          cache?.pages.put(cache.session, key, { page, targets })
        return page
      }
      answer.body.destroy()
      if (hop >= limits.redirects)
        throw fault('fetch-failed', `${target.host} redirects more than ${limits.redirects} times.`, { rule: 'redirect-limit' })
      target = redirectTarget(withoutSecrets(location, values), target)
    } finally {
      watch.release()
    }
    left = Math.max(1, left - Math.round(performance.now() - began))
  }
}

/** Never rejects: an address that cannot be judged is not allowed, with the reason. */
export async function explainFetch(
  url: string,
  web: Web,
  access: Pick<Access, 'decide' | 'judge'>,
  signal: AbortSignal,
): Promise<Explanation> {
  const decision = decideUrl(url, access)
  const { verdict, rule, reason } =
    decision.verdict === 'deny' ? decision : access.judge(decision.target, { method: 'GET', path: pathOf(decision.target) })
  // The name of a host that is not allowed (yet) is not told to a resolver.
  if (verdict !== 'allow' || decision.verdict === 'deny') return { verdict, allowed: false, rule, reason }
  try {
    await wayTo(decision.target, web, AbortSignal.any([signal, AbortSignal.timeout(limits.fetchMs)]))
    return { verdict, allowed: true, rule, reason }
  } catch (error) {
    const why = isFault(error) ? error : unreachable(decision.target.host, error)
    return { verdict: 'deny', allowed: false, rule: why.rule ?? 'resolution', reason: [why.message, why.cause].filter(Boolean).join(' ') }
  }
}

function wanted(url: string): Target {
  const form = parseTarget(url)
  if (form.ok) return form.target
  throw asRefusal(form.refusal)
}

async function open(target: Target, way: Way, secrets: readonly Secret[], signal: AbortSignal): Promise<Answer> {
  const { path, headers } = inject({ path: pathOf(target), headers: Object.entries(requestHeaders) }, secrets)
  try {
    return await exchange({
      url: new URL(path, target.url),
      method: 'GET',
      headers: Object.fromEntries(headers),
      way,
      connectMs: limits.fetchConnectMs,
      idleMs: limits.fetchMs,
      signal,
    })
  } catch (error) {
    throw unreachable(target.host, error)
  }
}

function mayAsk(target: Target, access: Access): void {
  const { verdict, rule, reason } = access.pass(target, { method: 'GET', path: pathOf(target) })
  if (verdict === 'deny') throw fault('egress-denied', reason, { rule })
}

function pathOf({ url }: Target): string {
  return url.pathname + url.search
}

function redirectOf({ status, headers }: Answer): string | null {
  return [301, 302, 303, 307, 308].includes(status) && headers.location ? headers.location : null
}

function redirectTarget(location: string, from: Target): Target {
  const resolved = URL.canParse(location, from.url) ? new URL(location, from.url) : null
  if (!resolved) throw fault('fetch-failed', `${from.host} redirects to something that is not an address.`, { rule: 'redirect-form' })
  resolved.hash = ''
  const hostChanged = resolved.hostname !== from.host
  if (hostChanged && /^https?:$/.test(resolved.protocol)) {
    throw fault('cross-host-redirect', `${from.host} redirects to another host, ${resolved.hostname}.`, {
      cause: resolved.href,
      rule: 'redirect-same-host',
    })
  }
  if (from.secure && resolved.protocol === 'http:') {
    throw fault('fetch-failed', `${from.host} redirects from https to http.`, { cause: resolved.href, rule: 'redirect-no-downgrade' })
  }
  return wanted(resolved.href)
}

async function read(
  answer: Answer,
  { bytes, cut }: Received,
  target: Target,
  request: FetchRequest,
  reader: Reader,
  secrets: readonly string[],
  signal: AbortSignal,
): Promise<FetchReply> {
  const header = withoutSecrets(answer.headers['content-type'] ?? '', secrets) || undefined
  const arrived = tellApart(bytes, header, cut)
  const base = { status: answer.status, url: target.url.href, untrusted: true, cached: false } as const
  const { whole = false, pages } = request
  if (arrived === null) {
    const cause = `The server calls it ${header ?? 'nothing in particular'}.`
    throw fault('unsupported-content', `${target.host} sent something that is not text.`, { cause, rule: 'content-type' })
  }
  const { contentType } = arrived
  switch (arrived.kind) {
    case 'text':
      return { ...base, contentType, text: arrived.text, truncated: arrived.truncated }
    case 'html': {
      const { title, text, part, truncated } = await reader.page({ html: arrived.html, url: target.url.href, whole }, signal)
      return { ...base, contentType, ...titled(title), text, part, truncated: truncated || arrived.truncated }
    }
    case 'pdf': {
      if (cut) {
        const cause = `It has more than ${limits.pdfBytes} bytes.`
        throw fault('unsupported-content', `${target.host} sent a PDF file that is too large.`, { cause, rule: 'pdf-size' })
      }
      const { title, text, truncated, ...has } = await reader.pdf({ bytes: arrived.bytes, ...pages }, signal)
      const range = { first: has.first, last: has.last, of: has.pages }
      return { ...base, contentType, ...titled(title), text, pages: range, truncated }
    }
    default:
      return arrived satisfies never
  }
}

function titled(title: string | null): { title?: string } {
  return title === null ? {} : { title }
}

/** `cut`: there was more. */
type Received = { bytes: Uint8Array; cut: boolean }

/** The body without secrets, up to `maxBytes`; a PDF file may be longer. */
async function receive(
  answer: Answer,
  target: Target,
  maxBytes: number,
  secrets: readonly string[],
  signal: AbortSignal,
): Promise<Received> {
  const chunks: Uint8Array[] = []
  const scrubber = createScrubber(secrets)
  let size = 0
  let most = maxBytes
  try {
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      if (size === 0 && isPdf(chunk)) most = limits.pdfBytes
      chunks.push(scrubber.push(chunk))
      size += chunk.byteLength
      if (size > most) break
    }
    chunks.push(scrubber.end())
  } catch (error) {
    throw unreachable(target.host, signal.aborted ? signal.reason : error)
  }
  return { bytes: Buffer.concat(chunks).subarray(0, most), cut: size > most }
}
