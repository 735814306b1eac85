/** An actor, one that is started on demand, or a target inside the kernel process, as the router sees it. One for each life. */
import type { Native } from './kernel.ts'
import type { Live } from './lifecycle.ts'
import { defaultMailbox } from './limits.ts'
import { Mailbox } from './mailbox.ts'
import type { ActorEntry } from './placement.ts'
import type { Target } from './router.ts'
import type { Protocol } from './types.ts'

export class Receiver<Item> implements Target {
  readonly live: Live<Item> | null
  readonly native: Native | null
  readonly dormant: ActorEntry | null
  readonly queue: Mailbox<Item>
  readonly protocol: Protocol
  readonly mailbox: number
  gone: boolean

  private constructor(live: Live<Item> | null, native: Native | null, dormant: ActorEntry | null, protocol: Protocol, mailbox = 1) {
    this.live = live
    this.queue = live?.queue ?? new Mailbox()
    this.native = native
    this.dormant = dormant
    this.protocol = protocol
    this.mailbox = mailbox
    // Whoever sends to it wakes it, and the next message goes to that life.
    this.gone = dormant !== null
  }

  static ofActor<Item>(live: Live<Item>): Receiver<Item> {
    const { protocol, manifest } = live.entry
    return new Receiver<Item>(live, null, null, protocol, manifest.mailbox ?? defaultMailbox)
  }

  /** Answers at once, so that nothing ever waits for it. */
  static ofNative<Item>(native: Native): Receiver<Item> {
    return new Receiver<Item>(null, native, null, native.protocol)
  }

  /** Starts when something is sent to it. */
  static ofDormant<Item>(entry: ActorEntry): Receiver<Item> {
    return new Receiver<Item>(null, null, entry, entry.protocol)
  }

  get failing(): Target['failing'] {
    if (this.live === null || this.live.state !== 'down' || !this.live.degraded) return null
    return { cause: this.live.lastExit ?? 'unknown', retryAfterMs: this.live.retryAfterMs }
  }
}
