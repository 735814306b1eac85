/** Hops of traces on their way from the kernel to telemetry: gathered, bounded, and only while traces are wanted. */
import type { Endpoint } from '../kernel/kernel.ts'
import type { Grant } from '../kernel/types.ts'
import type { Hop } from '../kernel/trace.ts'

/** Hops of about a quarter of a second travel together; a turn of many parallel reads makes some hundred. */
const everyMs = 250
const most = 1_024
/** Pause before telemetry is asked again whether it wants traces, ms. */
const retryMs = 500

export const hopGrant: Grant = {
  name: 'telemetry',
  target: 'telemetry',
  limits: { kinds: ['hops', 'tracing'] },
  reason: 'hands over how long requests between actors took, while traces are wanted',
}

export function createHops() {
  let wanted = false
  let hops: Hop[] = []
  let dropped = 0
  let to: Endpoint | null = null
  /** Only while there is something to hand over: a daemon at rest is not woken for it. */
  let timer: NodeJS.Timeout | null = null

  function handOver(): void {
    timer = null
    to?.send('telemetry', 'hops', { hops, dropped })
    hops = []
    dropped = 0
  }

  return {
    add(hop: Hop): void {
      if (!wanted || !to) return
      if (hops.length >= most) dropped++
      else hops.push(hop)
      timer ??= setTimeout(handOver, everyMs).unref()
    },
    /** @param daemon holds `hopGrant` */
    connect(daemon: Endpoint): void {
      to = daemon
      const watch = (): void => {
        const onPart = (part: unknown): void => {
          wanted = (part as { on: boolean }).on
        }
        const again = (): void => {
          if (to) setTimeout(watch, retryMs).unref()
        }
        daemon.request('telemetry', 'tracing', {}, { deadlineMs: null, onPart }).then(again, again)
      }
      watch()
    },
    close(): void {
      clearTimeout(timer ?? undefined)
      to = null
    },
  }
}
