/** Searches the web (I/O), by the model API where this device has one: decide, ask, take out what policy does not allow. */
import { fault } from '../../kernel/index.ts'
import type { Access } from './access.ts'
import { parseTarget } from './decide.ts'
import { limits } from './limits.ts'
import { readAnswer, readSearch, type Searched, searchRequest } from './search-answer.ts'
import { searchDomains, type SearchWish } from './search-domains.ts'
import type { Upstream } from './upstream.ts'

export type SearchRequest = { query: string; model: string } & SearchWish

/** Rejects with a fault. Aborting `signal` ends it at any point. */
export async function searchWeb(
  { query, model, ...wish }: SearchRequest,
  upstream: Upstream,
  access: Access,
  signal: AbortSignal,
): Promise<Searched> {
  const scope = access.scope()
  if (scope.verdict === 'deny') throw fault('egress-denied', scope.reason, { rule: scope.rule })
  const domains = searchDomains(scope, wish)
  if (domains === null) throw fault('egress-denied', 'None of the hosts that may be reached has pages to search.', { rule: 'hosts: none' })
  const until = AbortSignal.any([signal, AbortSignal.timeout(limits.searchMs)])
  const content: unknown[] = []
  for (let asked = 0; ; asked += 1) {
    const answer = await ask(searchRequest(query, model, domains, content), upstream, until)
    content.push(...answer.content)
    if (!answer.paused || asked >= limits.searchContinuations) break
  }
  // Policy may have changed while the provider searched.
  const now = access.scope()
  if (now.verdict === 'deny') throw fault('egress-denied', now.reason, { rule: now.rule })
  return readSearch(content, (url) => {
    const target = parseTarget(url)
    return target.ok && access.decide(target.target).verdict !== 'deny'
  })
}

async function ask(body: string, upstream: Upstream, signal: AbortSignal): Promise<{ content: unknown[]; paused: boolean }> {
  let status = 0
  let size = 0
  const chunks: Uint8Array[] = []
  const headers = { 'content-type': 'application/json', accept: 'application/json', 'anthropic-version': '2023-06-01' }
  try {
    await upstream.forward(
      { method: 'POST', path: '/v1/messages', headers, body },
      async (part) => {
        if (part.type === 'head') {
          status = part.status
          return
        }
        size += part.bytes.byteLength
        if (size > limits.searchBytes) throw fault('too-large', 'The answer to the search is too large.')
        chunks.push(part.bytes)
      },
      signal,
    )
  } catch (error) {
    const late = signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError'
    throw late ? fault('model-unreachable', 'The search took too long.', { remedy: 'Search for less at once.' }) : error
  }
  return readAnswer(status, Buffer.concat(chunks).toString('utf8'))
}
