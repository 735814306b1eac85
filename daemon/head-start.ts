/**
 * One actor's process started before there is a kernel, for the kernel to take over: it loads while the daemon loads. It is started just as the
 * kernel would start it, and what it says before waits.
 */
import type { Port, PortEvents, ProcessSpec, StartActor } from '../kernel/placement.ts'

type Begin = (spec: ProcessSpec, events: PortEvents) => Promise<Port>

/** Resolves when it has begun, to what the kernel starts actors with: the first start of this one with these very parameters is the one that has begun. */
export async function startEarly(early: ProcessSpec, begin: Begin): Promise<StartActor> {
  const waiting: ((events: PortEvents) => void)[] = []
  let events: PortEvents | null = null
  const tell = (say: (events: PortEvents) => void): void => {
    if (events) say(events)
    else waiting.push(say)
  }
  let port: Port | null = await begin(early, {
    frame: (frame) => tell((to) => to.frame(frame)),
    exit: (reason, clean) => tell((to) => to.exit(reason, clean)),
    log: (line) => tell((to) => to.log(line)),
  })
  return async (spec, its) => {
    if (port === null || spec.id !== early.id || spec.params !== early.params) return begin(spec, its)
    const begun = port
    port = null
    // After the caller has its port.
    setImmediate(() => {
      events = its
      for (const say of waiting.splice(0)) say(its)
    })
    return begun
  }
}
