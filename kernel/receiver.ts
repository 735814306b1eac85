/** An actor, one that is started on demand, or a target inside the kernel process, as the router sees it, with what waits for it. One for each life. */
import type { Delivery } from './delivery.ts'
import type { Native } from './kernel.ts'
import type { Live } from './lifecycle.ts'
import { defaultMailbox } from './limits.ts'
import { Mailbox } from './mailbox.ts'
import type { ActorEntry } from './placement.ts'
import type { Target } from './router.ts'
import type { Protocol } from './types.ts'

export class Receiver extends Mailbox<Delivery> implements Target {
  readonly mailbox: number
  gone: boolean
  /** It waits for its turn to be handed what is in its mailbox. */
  ready = false
  readonly live: Live | null
  readonly native: Native | null
  readonly dormant: ActorEntry | null
  readonly protocol: Protocol

  private constructor(live: Live | null, native: Native | null, dormant: ActorEntry | null, protocol: Protocol, mailbox = 1) {
    super()
    this.live = live
    this.native = native
    this.dormant = dormant
    this.protocol = protocol
    this.mailbox = mailbox
    // Whoever sends to it wakes it, and the next message goes to that life.
    this.gone = dormant !== null
  }

  static ofActor(live: Live): Receiver {
    const { protocol, manifest } = live.entry
    return new Receiver(live, null, null, protocol, manifest.mailbox ?? defaultMailbox)
  }

  /** Answers at once, so that nothing ever waits for it. */
  static ofNative(native: Native): Receiver {
    return new Receiver(null, native, null, native.protocol)
  }

  /** Starts when something is sent to it. */
  static ofDormant(entry: ActorEntry): Receiver {
    return new Receiver(null, null, entry, entry.protocol)
  }

  get failing(): Target['failing'] {
    if (this.live === null || this.live.state !== 'down' || !this.live.degraded) return null
    return { cause: this.live.lastExit ?? 'unknown', retryAfterMs: this.live.retryAfterMs }
  }
}
