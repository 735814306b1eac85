/**
 * Where `model` requests go (I/O), and the only place the key lives: in this object's closure, never in a machine's
 * context, a message or a log.
 */
import { type Fault, fault } from '../../kernel/index.ts'
import { realWeb, transportCause, type Way, type Web } from './dial.ts'
import { exchange } from './http-exchange.ts'
import { limits } from './limits.ts'
import { answerHeaders, type Headers, upstreamHeaders, upstreamUrl } from './model-request.ts'
import { startPracticeModel } from './practice/server.ts'
import { createScrubber, withoutSecrets } from './scrub.ts'

export type ModelRequest = { method: string; path: string; headers: Headers; body: string }
export type ModelPart = { type: 'head'; status: number; headers: Headers } | { type: 'chunk'; bytes: Uint8Array }
export type UpstreamInfo = { mode: 'api' | 'practice'; baseUrl: string }
export type Upstream = {
  info: UpstreamInfo
  /** Rejects with a fault. `emit` resolves when the caller can take more; until then nothing more is read. */
  forward(request: ModelRequest, emit: (part: ModelPart) => Promise<void>, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export type UpstreamOptions = {
  baseUrl: string | null
  /** Null: none was given. */
  readKey(): string | null
  /** For this machine's proxy. The endpoint is the member's own word, so its address is not vetted. */
  web?: Web
}

/** Rejects with a fault when the base URL is unusable or the practice model cannot listen. */
export async function openUpstream({ baseUrl, readKey, web = realWeb }: UpstreamOptions): Promise<Upstream> {
  const key = readKey()
  if (baseUrl !== null) return api(parseBase(baseUrl), key, web)
  if (key !== null) return api(new URL(limits.defaultBaseUrl), key, web)
  const practice = await startPracticeModel()
  const base = new URL(practice.baseUrl)
  return { ...upstream({ mode: 'practice', baseUrl: practice.baseUrl }, base, practice.key, realWeb), close: practice.close }
}

function api(base: URL, key: string | null, web: Web): Upstream {
  return upstream({ mode: 'api', baseUrl: base.origin + base.pathname.replace(/\/+$/, '') }, base, key, web)
}

function parseBase(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  const usable = url && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (url && usable) return url
  const cause = 'ANTHROPIC_BASE_URL must be an http or https address without user name, query or fragment.'
  throw fault('model-unreachable', 'The address of the model API cannot be used.', { cause })
}

function upstream(info: UpstreamInfo, base: URL, key: string | null, web: Web): Upstream {
  const secrets = key === null ? [] : [key]
  const unreachable = (error: unknown): Fault =>
    fault('model-unreachable', `The model API at ${base.host} could not be reached.`, {
      cause: withoutSecrets(transportCause(error), secrets),
      retryAfterMs: limits.reopenMs,
    })

  async function forward(request: ModelRequest, emit: (part: ModelPart) => Promise<void>, signal: AbortSignal): Promise<void> {
    const target = upstreamUrl(base, request.path)
    if (!target.ok) throw target.error
    const { method, body } = request
    const headers = upstreamHeaders(request.headers, key)
    const content = method === 'POST' ? { body, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) } } : { headers }
    const timing = { connectMs: limits.modelConnectMs, idleMs: limits.modelIdleMs, signal }
    const way = await wayThrough(target.url, web)
    const answer = await exchange({ url: target.url, method, ...content, ...timing, ...way }).catch((error) =>
      Promise.reject(unreachable(error)),
    )
    if (answer.status >= 300 && answer.status < 400) {
      answer.body.destroy()
      throw fault('model-refused', `The model API at ${base.host} redirects (${answer.status}); the key does not follow.`, {
        rule: 'model-no-redirect',
      })
    }
    await emit({ type: 'head', status: answer.status, headers: answerHeaders(answer.headers, key) })
    const scrubber = createScrubber(secrets)
    const send = async (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.byteLength; at += limits.partBytes) {
        await emit({ type: 'chunk', bytes: bytes.subarray(at, at + limits.partBytes) })
      }
    }
    for await (const chunk of chunks(answer.body, unreachable)) await send(scrubber.push(chunk))
    await send(scrubber.end())
  }
  return { info, forward, close: async () => undefined }
}

async function wayThrough(url: URL, web: Web): Promise<{ way?: Way }> {
  const secure = url.protocol === 'https:'
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port)
  const proxy = await web.proxyFor?.({ host: url.hostname, port, secure })
  return proxy ? { way: { via: 'proxy', proxy, web } } : {}
}

/** Only what the connection does wrong is `model-unreachable`; a failure of the consumer keeps its own name. */
async function* chunks(body: AsyncIterable<Uint8Array>, unreachable: (error: unknown) => Fault): AsyncGenerator<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await iterator.next().catch((error) => Promise.reject(unreachable(error)))
      if (next.done) return
      yield next.value
    }
  } finally {
    await iterator.return?.()
  }
}
