/** Inline placement: the host runs in the kernel's own thread. For tests, the checker, and small trusted actors that do no I/O. */
import type { Socket } from 'node:net'
import { type Delivery, frameOf } from './delivery.ts'
import type { FromActor, ToActor } from './frames.ts'
import { createHost, type Host } from './host.ts'
import type { Port, PortEvents, StartSpec } from './placement.ts'
import { soon } from './soon.ts'
import type { Steps } from './steps.ts'
import type { Actor } from './types.ts'
import { sharedBoard } from './withdrawal.ts'

export async function startInline(spec: StartSpec, events: PortEvents): Promise<Port> {
  const port = new InlinePort(await spec.entry.load(), spec, events)
  // After the caller has its port.
  setImmediate(() => port.begin())
  return port
}

class InlinePort implements Port {
  private readonly steps: Steps
  private alive = true
  private readonly host: Host
  private readonly events: PortEvents
  private readonly board = sharedBoard()
  /** What the actor said since the kernel last listened. */
  private said: FromActor[] = []
  readonly pid = null
  readonly fds: Port['fds']

  constructor(actor: Actor, { fds }: StartSpec, events: PortEvents) {
    this.fds = fds
    this.events = events
    this.host = createHost(
      actor,
      { send: (frame) => this.say(frame), stopped: () => this.exit('stopped', true) },
      { freeze: process.env['NODE_ENV'] !== 'production', withdrawn: this.board.withdrawn },
    )
    this.steps = this.host.steps
  }

  begin(): void {
    if (this.alive) this.events.frame({ t: 'ready', facts: {} })
  }

  // At once: the host does not call back from within, and the kernel hands over in a turn of its own.
  send(frame: ToActor): void {
    if (this.alive) this.host.receive(frame)
  }

  deliver(delivery: Delivery): boolean {
    if (delivery.request === null && delivery.extra === null && this.alive && !this.steps.blocked)
      return this.steps.take(delivery.event, null, delivery.n)
    return this.alive && this.deliverElse(delivery)
  }

  private deliverElse(delivery: Delivery): boolean {
    if (delivery.extra === null) return this.host.deliver(delivery.n, delivery.event, delivery.request)
    this.host.receive(frameOf(delivery))
    return false
  }

  withdraw(n: number): void {
    this.board.withdraw(n)
  }

  sendHandle(conn: number, socket: Socket): void {
    queueMicrotask(() => this.alive && this.host.handle(conn, socket))
  }

  kill(): void {
    this.exit('killed', false)
  }

  private exit(reason: string, clean: boolean): void {
    if (!this.alive) return
    this.alive = false
    this.events.exit(reason, clean)
  }

  /** Frames reach the kernel through the microtask queue, all that came meanwhile at once, so that a step never runs the kernel from within. */
  private say(frame: FromActor): void {
    if (this.said.length === 0) soon(() => this.tell())
    this.said.push(frame)
  }

  private tell(): void {
    const frames = this.said
    this.said = []
    for (const frame of frames) if (this.alive) this.events.frame(frame)
  }
}
