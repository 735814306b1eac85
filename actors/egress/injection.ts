/**
 * Which secret goes into which request, and what comes of it. Pure. A secret has one host and one port; there it takes the place of whatever
 * the sender put in its field, so that an allowed host is no licence to use another's key.
 */
import type { SecretPlace } from './vault-format.ts'
import type { HostTarget } from './rule-set.ts'

export type Secret = { name: string; host: string; port: number; place: SecretPlace; value: string }

export type Keyring = {
  /** The secrets of this very host and port. */
  of(target: HostTarget): readonly Secret[]
  /**
   * Why a flow to it must not go as it is, or null: it has a secret and nobody can put it in (`seen` false: the flow is not read), it is plain
   * HTTP to a host with one, or its secret cannot be opened.
   */
  obstacle(target: HostTarget, how: { seen: boolean; secure: boolean }): { rule: string; reason: string } | null
}

/** `locked`: hosts whose secret is there and cannot be opened, with why. */
export function createKeyring(secrets: readonly Secret[], locked: readonly { host: string; port: number; why: string }[] = []): Keyring {
  const at = ({ host, port }: HostTarget): string => `${host}:${port}`
  const byTarget = Map.groupBy(secrets, at)
  const hosts = new Set([...secrets, ...locked].map(({ host }) => host))
  const closed = new Map(locked.map((one) => [at(one), one.why]))
  return {
    of: (target) => byTarget.get(at(target)) ?? [],
    obstacle(target, { seen, secure }) {
      if (!hosts.has(target.host)) return null
      const why = closed.get(at(target))
      if (why !== undefined) return { rule: 'secret-locked', reason: `The secret of ${target.host} cannot be used: ${why}.` }
      const owned = byTarget.has(at(target))
      if (!secure && (owned || target.port === 80))
        return { rule: 'secret-needs-tls', reason: `${target.host} has a secret, so it is reached by TLS only.` }
      if (owned && !seen)
        return {
          rule: 'secret-not-intercepted',
          reason: `${target.host} has a secret, and nobody could put it into this connection.`,
        }
      return null
    },
  }
}

export const noSecrets: Keyring = createKeyring([])

/** Which hosts have a secret cannot be known: nothing goes. */
export function closedKeyring(why: string): Keyring {
  return { of: () => [], obstacle: () => ({ rule: 'secret-locked', reason: `The secrets cannot be read: ${why}.` }) }
}

export type Outgoing = { path: string; headers: readonly (readonly [name: string, value: string])[] }

/** `path` with its query; names of fields in small letters. */
export function inject(request: Outgoing, secrets: readonly Secret[]): Outgoing {
  return secrets.reduce(put, request)
}

function put({ path, headers }: Outgoing, { place, value }: Secret): Outgoing {
  switch (place.in) {
    case 'header':
      return { path, headers: replaced(headers, place.name.toLowerCase(), `${place.prefix}${value}`) }
    case 'basic':
      return { path, headers: replaced(headers, 'authorization', `Basic ${Buffer.from(`${place.user}:${value}`).toString('base64')}`) }
    case 'query': {
      const [before, query] = split(path)
      const others = query.split('&').filter((pair) => pair !== '' && nameOf(pair) !== place.name)
      return { path: `${before}?${[...others, `${place.name}=${encodeURIComponent(value)}`].join('&')}`, headers }
    }
    default:
      return place satisfies never
  }
}

function replaced(headers: Outgoing['headers'], name: string, value: string): Outgoing['headers'] {
  return [...headers.filter(([other]) => other !== name), [name, value]]
}

function split(path: string): [string, string] {
  const at = path.indexOf('?')
  return at === -1 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)]
}

/** As a server reads it: `a%62c` is `abc`. */
function nameOf(pair: string): string {
  const name = pair.split('=')[0]?.replaceAll('+', ' ') ?? ''
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
