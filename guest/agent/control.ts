/** Acts on the host's control messages. Each is checked whole before anything is done; what is not understood is logged. */
import { protocolVersion, parseHostMessage, type GuestMessage, type HostMessage } from '../wire.ts'
import { sessionsBusy } from './cgroups.ts'
import type { Commands } from './commands.ts'
import type { Events } from './events.ts'
import type { Machine } from './machine.ts'
import type { Sessions } from './sessions.ts'

export type ControlParts = {
  sessions: Sessions
  commands: Commands
  events: Events
  machine: Machine
  /** What could not be made ready, or ''. */
  warm(): Promise<string>
  send(message: GuestMessage, payload?: Uint8Array): void
}

export class Control {
  readonly #parts: ControlParts
  #epoch = ''

  constructor(parts: ControlParts) {
    this.#parts = parts
  }

  /** Tells a host that may be there that the agent is new and waits for a `hello`. */
  announce(): void {
    this.#epoch = ''
    this.#ready('none')
  }

  fromHost(header: unknown, payload: Uint8Array): void {
    const message = parseHostMessage(header)
    if (message === null) {
      const { t, id } = (header ?? {}) as { t?: unknown; id?: unknown }
      // Whoever waits for a command is told; it would wait for ever.
      if (t === 'exec' && typeof id === 'number' && Number.isSafeInteger(id) && id >= 0)
        this.#parts.send({ t: 'failed', re: 'exec', id, code: 'bad-message', message: 'not understood' })
      return this.#log('warn', `control message not understood: ${JSON.stringify(header).slice(0, 200)}`)
    }
    this.#act(message, payload).catch((error: unknown) => this.#log('error', `${message.t}: ${String(error)}`))
  }

  async #act(message: HostMessage, payload: Uint8Array): Promise<void> {
    const { sessions, commands, machine, send } = this.#parts
    switch (message.t) {
      case 'hello': {
        const fresh = message.epoch !== this.#epoch
        this.#epoch = message.epoch
        if (fresh) await sessions.removeAll()
        return this.#ready(message.epoch)
      }
      case 'wake':
        await machine.wake(message.ms, message.seed)
        return send({ t: 'awake' })
      case 'warm':
        return send({ t: 'warmed', problem: await this.#parts.warm() })
      case 'session':
        try {
          await sessions.set(message.session, message.uid, message.folders)
          return send({ t: 'sessioned', session: message.session })
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error)
          return send({
            t: 'failed',
            re: 'session',
            session: message.session,
            code: why.startsWith('folder') ? 'mount-failed' : 'failed',
            message: why,
          })
        }
      case 'trust':
        return sessions.trust(message.session, payload)
      case 'unsession':
        await sessions.remove(message.session)
        return send({ t: 'unsessioned', session: message.session })
      case 'exec':
        await commands.exec(message, payload)
        return this.#tidy()
      case 'stdin':
        return commands.stdin(message.id, payload, message.end === true)
      case 'resize':
        return commands.resize(message.id, message)
      case 'signal':
        return commands.signal(message.id, message.signal)
      case 'credit':
        return commands.credit(message.id, message.bytes)
      case 'ping':
        await machine.wake(message.ms, undefined)
        send({ t: 'pong', n: message.n, busy: await sessionsBusy() })
        return this.#tidy()
      case 'shutdown':
        await sessions.removeAll()
        return machine.powerOff()
    }
  }

  /** What need not be done before an answer. */
  async #tidy(): Promise<void> {
    const { sessions, events } = this.#parts
    for (const [session, count] of await sessions.newDatagrams()) if (count > 0) events.tell(session, 'datagrams_refused', { count })
    const removed = await sessions.tidy()
    if (removed > 0) this.#log('warn', `the disk was nearly full: ${removed} kept outputs were removed`)
  }

  #ready(epoch: string): void {
    this.#parts.send({ t: 'ready', protocol: protocolVersion, epoch, ...this.#parts.machine.facts() })
  }

  #log(level: 'warn' | 'error', message: string): void {
    this.#parts.send({ t: 'log', level, message: message.slice(0, 2000) })
  }
}
