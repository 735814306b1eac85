/**
 * The agent's hold on the process at the connections port (`net-pump.pl`): it makes sessions' sockets, and carries what goes through them. Without
 * it there is no network: its end is the agent's.
 */
import { connectionsPort } from '../wire.ts'
import { type Carrier, startCarrier } from './carrier.ts'
import { networkMs } from './limits.ts'
import { addressOf } from './net-names.ts'
import { creditStep, maxConnections, type NetMessage, netPiece, netWindow } from './net-wire.ts'
import { proxyPort, resolver } from './net-sockets.ts'

/** What happens in one session's network. */
export type NetworkEvents = {
  /** A program connected; it hears nothing before `carry` or `refuse`. */
  accepted(n: number, address: string, port: number): void
  /** A program asked the resolver. Each has to be answered, if with null. */
  asked(query: Uint8Array, answer: (bytes: Uint8Array | null) => void): void
}

export class NetPump {
  readonly #carrier: Carrier
  readonly #networks = new Map<number, NetworkEvents>()
  readonly #made = new Map<number, (problem: string | null) => void>()
  #next = 1

  constructor(onEnd: (why: string) => void) {
    const limits = [netWindow, creditStep, netPiece, maxConnections].map(String)
    this.#carrier = startCarrier({
      script: 'net-pump.pl',
      args: [`/dev/virtio-ports/${connectionsPort}`, process.arch, String(proxyPort), resolver, ...limits],
      streams: [],
      what: 'the connections’ carrier',
      hear: (words) => this.#hear(words),
      end: onEnd,
    })
  }

  /** Makes the sockets of a namespace, by a process in it. Rejects with why not. Returns what closes them. */
  async open(pid: number, events: NetworkEvents): Promise<() => void> {
    const id = this.#next++
    this.#networks.set(id, events)
    const close = (): void => {
      if (this.#networks.delete(id)) this.#carrier.order('close', id)
    }
    const problem = await new Promise<string | null>((resolve) => {
      const late = setTimeout(() => resolve('it took too long.'), networkMs)
      this.#made.set(id, (said) => {
        clearTimeout(late)
        resolve(said)
      })
      this.#carrier.order('net', id, pid)
    })
    this.#made.delete(id)
    if (problem === null) return close
    close()
    throw new Error(`the session's network could not be made: ${problem}`)
  }

  /** `open`: what the host is told of it. */
  carry(n: number, open: NetMessage): void {
    this.#carrier.order('carry', n, Buffer.from(JSON.stringify(open)).toString('hex'))
  }

  refuse(n: number): void {
    this.#carrier.order('refuse', n)
  }

  #hear([what, id = '', ...rest]: readonly (string | undefined)[]): void {
    const [first = '', second = '', third = ''] = rest
    if (what === 'made') this.#made.get(Number(id))?.(null)
    else if (what === 'failed') this.#made.get(Number(id))?.(rest.join(' '))
    else if (what === 'accepted') {
      const network = this.#networks.get(Number(first))
      if (network === undefined) this.refuse(Number(id))
      else network.accepted(Number(id), addressOf(Buffer.from(second, 'hex')), Number(third))
    } else if (what === 'asked') {
      this.#networks.get(Number(id))?.asked(Buffer.from(second, 'hex'), (bytes) => {
        this.#carrier.order('answer', id, first, bytes === null ? '-' : Buffer.from(bytes).toString('hex'))
      })
    }
  }
}
