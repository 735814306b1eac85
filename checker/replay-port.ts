/**
 * Where an actor of a replay runs: the host of production, in this thread. It gets nothing before it is due: messages stay in the kernel's
 * mailbox, because to the kernel the actor is still starting until it is to take one, and what else the kernel tells it waits here.
 */
import { type Delivery, frameOf } from '../kernel/delivery.ts'
import type { FromActor, ToActor } from '../kernel/frames.ts'
import { createHost, type Host } from '../kernel/host.ts'
import type { Live } from '../kernel/lifecycle.ts'
import type { Port, PortEvents } from '../kernel/placement.ts'
import { soon } from '../kernel/soon.ts'
import type { Actor } from '../kernel/types.ts'
import { sharedBoard } from '../kernel/withdrawal.ts'

export type Told = Extract<ToActor, { t: 'reply' | 'refuse' | 'part' | 'cancel' }>
type Said = Extract<FromActor, { t: 'step' }>

export class HeldPort implements Port {
  readonly pid = null
  readonly fds: Port['fds'] = {}
  readonly host: Host
  /** What the kernel told the actor and it has not heard yet, oldest first. */
  readonly held: Told[] = []
  /** The message that it was handed last. */
  delivered: Delivery | null = null
  /** What the kernel started it with, as its machine gets it. */
  input: unknown = undefined
  readonly #live: () => Live
  readonly #events: PortEvents
  readonly #board = sharedBoard()
  #alive = true

  /** @param heard told of each frame of the actor before the kernel is */
  constructor(actor: Actor, live: () => Live, events: PortEvents, heard: (frame: Said) => void) {
    this.#live = live
    this.#events = events
    this.host = createHost(
      actor,
      {
        send: (frame) =>
          soon(() => {
            if (!this.#alive) return
            if (frame.t === 'step') heard(frame)
            events.frame(frame)
          }),
        stopped: () => this.#exit('stopped', true),
      },
      { freeze: true, withdrawn: this.#board.withdrawn },
    )
    // After the caller has its port.
    setImmediate(() => this.#alive && events.frame({ t: 'ready', facts: {} }))
  }

  send(frame: ToActor): void {
    if (!this.#alive) return
    if (frame.t === 'reply' || frame.t === 'refuse' || frame.t === 'part' || frame.t === 'cancel') this.held.push(frame)
    else this.host.receive(frame)
    if (frame.t !== 'start') return
    this.input = { params: frame.params, slots: Object.keys(frame.slots) }
    this.close()
  }

  deliver(delivery: Delivery): boolean {
    this.close()
    this.delivered = delivery
    this.host.receive(frameOf(delivery))
    return false
  }

  /** The kernel may hand over one message: the oldest that waits, or the next that comes. */
  open(): void {
    this.delivered = null
    this.#live().state = 'running'
    this.#events.frame({ t: 'step', out: [] })
  }

  close(): void {
    const live = this.#live()
    if (live.state === 'running') live.state = 'starting'
  }

  /** The actor hears what it was told. */
  release(told: Told): void {
    this.held.splice(this.held.indexOf(told), 1)
    this.host.receive(told)
  }

  withdraw(n: number): void {
    this.#board.withdraw(n)
  }

  /** No model has sockets. */
  sendHandle(): void {}

  kill(): void {
    this.#exit('killed', false)
  }

  #exit(reason: string, clean: boolean): void {
    if (!this.#alive) return
    this.#alive = false
    this.#events.exit(reason, clean)
  }
}
