/** Which way out this machine is configured for (I/O): proxy variables, a PAC script, certificates to trust besides. Settled at first use. */
import tls from 'node:tls'
import { fault, isFault } from '../../kernel/index.ts'
import { exchange } from './http-exchange.ts'
import { limits } from './limits.ts'
import { loadPac, type Pac } from './pac.ts'
import {
  type ManagedProxy,
  managedVariables,
  type ProxyChoice,
  proxyFor,
  type ProxyServer,
  type ProxyTarget,
  type ProxyVariables,
  readPacAnswer,
} from './proxy-settings.ts'

export type ProxyFor = (target: ProxyTarget) => Promise<ProxyServer | null>

const ownRemedy = 'Correct HTTPS_PROXY, HTTP_PROXY, NO_PROXY or BULKHEAD_PROXY_PAC where `bulkhead` is started.'

/** Rejects with a fault where the settings cannot be used; `remedy` says who can do what about that. */
export function createProxyFor(variables: ProxyVariables, remedy = ownRemedy, now: () => number = () => performance.now()): ProxyFor {
  const script = variables.pac ? keptPac(variables.pac, now) : null
  return async (target) => {
    // The proxy is for what leaves the machine; the practice model and a local model server do not.
    if (isLoopback(target.host)) return null
    const choice = script === null ? proxyFor(variables, target) : ask(await script(), target)
    if (!choice.ok)
      throw fault('fetch-failed', 'The proxy settings of this machine cannot be used.', {
        cause: `${choice.why}.`,
        rule: 'proxy-settings',
        remedy,
      })
    return choice.proxy
  }
}

/** Which proxy a policy that cannot be read requires is not known, and straight out may be past it. */
const noWay: ProxyFor = () => {
  const cause = 'Managed policy is there but cannot be read, so whether it requires a proxy is not known.'
  const remedy = 'Whoever manages this device can mend it; `bulkhead policy show` says what is wrong.'
  return Promise.reject(fault('egress-denied', 'Nothing leaves this machine.', { cause, rule: 'policy-unreadable', remedy }))
}

/**
 * This machine's own settings where policy says nothing; what is not loopback waits for its first word. Managed by null: by a policy that cannot be
 * read.
 */
export function createManagedWay(): {
  proxyFor: ProxyFor
  own(variables: ProxyVariables): void
  manage(managed: ManagedProxy | null): boolean
} {
  let own = createProxyFor({})
  let managed: { text: string; proxyFor: ProxyFor | null } | null = null
  let told: () => void = () => {}
  const spoken = new Promise<void>((resolve) => (told = resolve))
  return {
    async proxyFor(target) {
      if (isLoopback(target.host)) return null
      await spoken
      return (managed?.proxyFor ?? own)(target)
    },
    own: (variables) => void (own = createProxyFor(variables)),
    /** Whether that is another way than before. */
    manage(next) {
      const variables = next && managedVariables(next)
      const text = next === null ? 'unreadable' : JSON.stringify(variables)
      if (managed?.text === text) return false
      const first = managed === null
      const remedy = `Whoever manages this device decided it (${next?.decidedBy}).`
      managed = { text, proxyFor: next === null ? noWay : variables && createProxyFor(variables, remedy) }
      told()
      return !first
    },
  }
}

/** Trusted from here on in this process, beside what is trusted anyway. A certificate that is none changes nothing: it throws. */
export function trustBesides(pem: string): void {
  const more = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (more.length === 0) throw fault('bad-settings', 'The file of NODE_EXTRA_CA_CERTS holds no certificate.')
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), ...more])
}

function ask(pac: Pac, { host, port, secure }: ProxyTarget): ProxyChoice {
  const usual = secure ? 443 : 80
  // Without a path: what is asked for is not the script's business.
  return readPacAnswer(pac.find(`${secure ? 'https' : 'http'}://${host}${port === usual ? '' : `:${port}`}/`, host))
}

/** A script as text is loaded once; one at an address is fetched, and fetched anew from time to time. */
function keptPac(source: string, now: () => number): () => Promise<Pac> {
  if (!/^https?:\/\/\S+$/.test(source)) {
    let loaded: Promise<Pac> | null = null
    return () => (loaded ??= loadPac(source))
  }
  let kept: { pac: Promise<Pac>; until: number } | null = null
  return () => {
    if (kept && now() < kept.until) return kept.pac
    const before = kept?.pac
    const mine = { pac: fetchPac(source).then(loadPac), until: now() + limits.pacKeptMs }
    kept = mine
    mine.pac.catch(() => {
      mine.until = now() + limits.pacRetryMs
      // What it said last is better than nothing.
      if (before) mine.pac = before
    })
    return mine.pac.catch((error) => before ?? Promise.reject(error))
  }
}

async function fetchPac(address: string): Promise<string> {
  const fail = (cause: string) =>
    fault('fetch-failed', 'The proxy configuration script could not be fetched.', { cause, rule: 'proxy-script' })
  try {
    const signal = AbortSignal.timeout(limits.fetchMs)
    // Named by the member, so it may be inside; that is how such scripts are kept.
    const answer = await exchange({
      url: new URL(address),
      method: 'GET',
      headers: {},
      connectMs: limits.fetchConnectMs,
      idleMs: limits.fetchMs,
      signal,
    })
    if (answer.status !== 200) throw fail(`The server answered ${answer.status}.`)
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      size += chunk.length
      if (size > limits.pacBytes) throw fail(`It is larger than ${limits.pacBytes} bytes.`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } catch (error) {
    throw isFault(error) ? error : fail(error instanceof Error ? error.message : 'the connection failed')
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.startsWith('127.') || host === '[::1]' || host === '::1'
}
