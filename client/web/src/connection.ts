/** The page's connection to the gateway: made with the key of its address, and made anew when it breaks off. */
import { atom } from 'nanostores'
import { type Answering, connect, type Rpc } from './json-rpc.ts'
import type { Fault } from './types.ts'

export const $connection = atom<'connecting' | 'open' | 'lost' | 'refused'>('connecting')

const tokenKey = 'bulkhead.token'
const retryMs = [500, 1000, 2000, 5000] as const

let rpc: Rpc | null = null

/** The token arrives in the fragment, which no server sees, and leaves the address bar at once. It is kept for reloads of this tab. */
function takeToken(): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1))
  const given = fragment.get('k')
  if (given) {
    sessionStorage.setItem(tokenKey, given)
    history.replaceState(null, '', location.pathname)
  }
  return sessionStorage.getItem(tokenKey)
}

/** Resolves when the gateway does not take the token. */
export async function stayConnected(party: {
  notified(method: string, params: unknown): void
  asked: Readonly<Record<string, Answering>>
  /** Each time there is a connection. */
  stands(): Promise<void>
  brokeOff(): void
}): Promise<void> {
  const { notified, asked } = party
  const token = takeToken()
  if (!token) return $connection.set('refused')
  for (let tries = 0; ; tries++) {
    try {
      rpc = await connect({ token, notified, asked })
      tries = 0
      $connection.set('open')
      await party.stands()
      await rpc.closed
    } catch {
      // A page that is served to a token that is not taken: the daemon was started anew.
      const served = await fetch('/', { method: 'HEAD' }).then(
        ({ ok }) => ok,
        () => false,
      )
      if (served && tries > 0) return $connection.set('refused')
    }
    rpc = null
    party.brokeOff()
    $connection.set('lost')
    await new Promise((resolve) => setTimeout(resolve, retryMs[Math.min(tries, retryMs.length - 1)]))
  }
}

/** Rejects with a `Fault`, also while there is no connection. */
export function call<T = unknown>(method: string, params: object = {}): Promise<T> {
  if (!rpc) {
    const fault: Fault = { code: 'daemon-down', message: 'There is no connection to Bulkhead.', remedy: 'It is tried again by itself.' }
    // A fault is the one shape of failure on both sides of the socket.
    return Promise.reject(fault)
  }
  return rpc.call<T>(`_bulkhead/${method}`, params)
}
