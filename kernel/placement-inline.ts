/** Inline placement: the host runs in the kernel's own thread. For tests, the checker, and small trusted actors that do no I/O. */
import type { FromActor, ToActor } from './frames.ts'
import { createHost } from './host.ts'
import type { Port, PortEvents, StartSpec } from './placement.ts'

export async function startInline(spec: StartSpec, events: PortEvents): Promise<Port> {
  const actor = await spec.entry.load()
  let alive = true
  const exit = (reason: string, clean: boolean) => {
    if (!alive) return
    alive = false
    events.exit(reason, clean)
  }
  // Frames change threads of control through the microtask queue, so that neither side re-enters the other.
  const later = (work: () => void) => queueMicrotask(() => alive && work())
  const host = createHost(
    actor,
    { send: (frame: FromActor) => later(() => events.frame(frame)), stopped: () => exit('stopped', true) },
    { freeze: process.env['NODE_ENV'] !== 'production' },
  )
  // After the caller has its port.
  setImmediate(() => alive && events.frame({ t: 'ready', facts: {} }))
  return {
    pid: null,
    fds: spec.fds,
    send: (frame: ToActor) => later(() => host.receive(frame)),
    sendHandle: (conn, socket) => later(() => host.handle(conn, socket)),
    kill: () => exit('killed', false),
  }
}
