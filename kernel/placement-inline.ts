/** Inline placement: the host runs in the kernel's own thread. For tests, the checker, and small trusted actors that do no I/O. */
import { frameOf } from './delivery.ts'
import { createHost } from './host.ts'
import type { Port, PortEvents, StartSpec } from './placement.ts'
import { soon } from './soon.ts'
import { sharedBoard } from './withdrawal.ts'

export async function startInline(spec: StartSpec, events: PortEvents): Promise<Port> {
  const actor = await spec.entry.load()
  let alive = true
  const exit = (reason: string, clean: boolean) => {
    if (!alive) return
    alive = false
    events.exit(reason, clean)
  }
  const board = sharedBoard()
  const toKernel = inTurns(events.frame, () => alive)
  const host = createHost(
    actor,
    { send: toKernel, stopped: () => exit('stopped', true) },
    { freeze: process.env['NODE_ENV'] !== 'production', withdrawn: board.withdrawn },
  )
  // After the caller has its port.
  setImmediate(() => alive && events.frame({ t: 'ready', facts: {} }))
  return {
    pid: null,
    fds: spec.fds,
    // At once: the host does not call back from within, and the kernel hands over in a turn of its own.
    send(frame) {
      if (alive) host.receive(frame)
    },
    deliver(delivery) {
      if (!alive) return false
      if (delivery.extra === null) return host.deliver(delivery.n, delivery.event)
      host.receive(frameOf(delivery))
      return false
    },
    withdraw: board.withdraw,
    sendHandle: (conn, socket) => queueMicrotask(() => alive && host.handle(conn, socket)),
    kill: () => exit('killed', false),
  }
}

/** Frames reach the kernel through the microtask queue, all that came meanwhile at once, so that a step never runs the kernel from within. */
function inTurns<Frame>(take: (frame: Frame) => void, alive: () => boolean): (frame: Frame) => void {
  let waiting: Frame[] = []
  const turn = (): void => {
    const frames = waiting
    waiting = []
    for (const frame of frames) if (alive()) take(frame)
  }
  return (frame) => {
    if (waiting.length === 0) soon(turn)
    waiting.push(frame)
  }
}
