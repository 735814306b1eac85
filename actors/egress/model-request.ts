/** A caller's request to the model API, made safe to forward: path, headers, key. Pure. */
import { type Fault, fault } from '../../kernel/index.ts'
import { withoutSecrets } from './scrub.ts'

export type Headers = Record<string, string>

/**
 * Only these travel to the API. Callers hold no key, and whatever they put in place of one (or in place of a proxy
 * instruction, a host, a hop-by-hop header) must not travel, so the list names what may pass.
 */
const forwarded = /^(accept|content-type|user-agent|anthropic-[a-z-]+|x-stainless-[a-z-]+|idempotency-key)$/
/** Of the answer, what describes the connection or sets state stays behind. */
const heldBack =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-encoding|content-length|set-cookie|alt-svc|strict-transport-security)$/

/** The address to forward to, or why not. The base may have a path of its own; the rest must stay under its `/v1/`. */
export function upstreamUrl(base: URL, path: string): { ok: true; url: URL } | { ok: false; error: Fault } {
  const prefix = base.pathname.replace(/\/+$/, '')
  const refuse = (cause: string) =>
    ({ ok: false, error: fault('model-refused', 'The request does not go to the model API.', { cause, rule: 'model-path' }) }) as const
  const [pathname = '', ...rest] = path.split('?')
  if (!/^\/v1\/[A-Za-z0-9_./-]*$/.test(pathname)) return refuse('The path must begin with /v1/ and consist of plain characters.')
  if (pathname.split('/').some((segment, at) => segment === '.' || segment === '..' || (segment === '' && at > 0)))
    return refuse('The path is not normalised.')
  const query = rest.length > 0 ? `?${rest.join('?')}` : ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
  if (/[\u0000-\u0020#\\\u007f-\uffff]/.test(query)) return refuse('The query has characters that must be encoded.')
  const url = new URL(`${base.origin}${prefix}${pathname}${query}`)
  if (!url.pathname.startsWith(`${prefix}/v1/`)) return refuse('The path leaves /v1/.')
  return { ok: true, url }
}

/**
 * The key goes where the caller's SDK put its placeholder, so that the API sees what it would see from that SDK: as a bearer
 * token when there was an `authorization` header, else as `x-api-key`.
 */
export function upstreamHeaders(headers: Headers, key: string | null): Headers {
  const given = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const)
  const kept = given.filter(([name, value]) => forwarded.test(name) && !/[\r\n\0]/.test(value))
  const bearer = given.some(([name]) => name === 'authorization')
  return { ...Object.fromEntries(kept), ...(key === null ? {} : bearer ? { authorization: `Bearer ${key}` } : { 'x-api-key': key }) }
}

/** Headers of the answer for the caller; the key, should the other side echo it, is cut out. */
export function answerHeaders(headers: Readonly<Record<string, string | string[] | undefined>>, key: string | null): Headers {
  const out: Headers = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || heldBack.test(name)) continue
    out[name] = withoutSecrets(Array.isArray(value) ? value.join(', ') : value, key === null ? [] : [key])
  }
  return out
}
