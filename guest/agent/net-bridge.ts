/**
 * Connections of sessions: whatever a program connects to is taken, the host is told where it was meant to go, and bytes are carried
 * (`net-pump.pl`). What may go where is the host's decision alone; a refusal arrives as the end of the connection.
 */
import type { Holder } from './holder.ts'
import { Names } from './net-names.ts'
import type { NetPump } from './net-pump.ts'
import { proxyPort, routeToOneListener } from './net-sockets.ts'

/** Told of what sessions try, as far as the host does not see it. */
export type NetHeard = { name(session: string, name: string): void; refused(session: string, address: string, port: number): void }

/** A namespace whose connections come here. Before it has an owner nothing in it runs. */
export type Net = { owner: string | null; close(): void }

export class NetBridge {
  readonly #pump: NetPump
  readonly #heard: NetHeard

  constructor(pump: NetPump, heard: NetHeard) {
    this.#pump = pump
    this.#heard = heard
  }

  /** Makes the namespace of this holder one whose connections are carried. Rejects with why not. */
  async open(holder: Holder): Promise<Net> {
    await routeToOneListener(holder)
    const names = new Names()
    const net: Net = { owner: null, close: () => {} }
    net.close = await this.#pump.open(holder.pid, {
      accepted: (n, address, port) => this.#accept(n, address, port, net, names),
      // What can be answered without asking anyone; to anything else there is no answer.
      asked: (query, answer) => answer(names.answer(query, (name) => net.owner !== null && this.#heard.name(net.owner, name))),
    })
    void holder.gone.then(() => net.close())
    return net
  }

  #accept(n: number, address: string, port: number, net: Net, names: Names): void {
    const own = port === proxyPort && (address === '127.0.0.1' || address === '[::1]')
    const host = own ? null : names.targetOf(address)
    if (net.owner !== null && !own && host === null) this.#heard.refused(net.owner, address, port)
    if (net.owner === null || (!own && host === null)) return this.#pump.refuse(n)
    this.#pump.carry(n, { n, net: 'open', session: net.owner, to: host === null ? null : { host, port } })
  }
}
