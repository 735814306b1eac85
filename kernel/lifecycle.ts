/** Actors as the kernel sees them alive: started, watched, restarted, stopped. Decisions are in supervision.ts; this file carries them out. */
import type { ActorId } from './capabilities.ts'
import { fromActor, type Note, type Out } from './frames.ts'
import { stopMs } from './limits.ts'
import type { ActorEntry, Port, StartActor } from './placement.ts'
import { decideRestart } from './supervision.ts'
import type { Badge, Permissions, Placement } from './types.ts'

/** A message as its receiver's machine sees it. */
export type Delivery = { type: string; body: unknown; from: { request: number | null; badge: Badge; caps: number[] } }

export type Live<Item> = {
  id: ActorId
  entry: ActorEntry
  params: Record<string, unknown>
  permissions: Permissions
  state: 'starting' | 'running' | 'down' | 'stopping' | 'stopped'
  degraded: boolean
  port: Port | null
  /** Counts starts, so that answers to an earlier life are not delivered to a later one. */
  incarnation: number
  queue: Item[]
  /** Delivered and not acknowledged, by delivery number, with what the message log needs of it. */
  outstanding: Map<number, Delivery>
  nextDelivery: number
  /** The actor's own request refs, of this incarnation, to kernel request ids. */
  refs: Map<number, number>
  crashes: number[]
  lastExit: string | null
  retryAfterMs: number
  /** What the process itself says it may do, after lock-down. */
  facts: Record<string, boolean>
  startedAt: number
}

export type SupervisorOptions<Item> = {
  placements: Readonly<Record<Placement, StartActor>>
  fds?: Readonly<Record<string, number>>
  log(level: string, source: string, message: string, data?: Record<string, unknown>): void
  /** The actor can take messages. */
  deliver(live: Live<Item>): void
  /** The actor runs; `live.incarnation` above 1: again. Told before anything is delivered to it. */
  started(live: Live<Item>): void
  /** The actor ended; `live` says whether it will be back. */
  ended(live: Live<Item>): void
  outgoing(live: Live<Item>, out: Out): void
  /** The salt with which actors are to say what their steps are made of; `noted` gets it, and `whenDurable` calls back once it is safe. */
  transcript: string | null
  noted(live: Live<Item>, note: Note, delivery: Delivery | undefined): void
  whenDurable(tell: () => void): void
}

export function createSupervisor<Item>(options: SupervisorOptions<Item>) {
  const actors = new Map<ActorId, Live<Item>>()
  const exits = new Map<ActorId, () => void>()

  /** Resolves when the actor is running, or has failed its first start (it is then restarted like after a crash). */
  function start(entry: ActorEntry, id: ActorId, params: Record<string, unknown>, slots: () => Record<string, number>): Promise<void> {
    const live: Live<Item> = {
      id,
      entry,
      params,
      permissions: entry.manifest.permissions(params),
      state: 'starting',
      degraded: false,
      port: null,
      incarnation: 0,
      queue: [],
      outstanding: new Map(),
      nextDelivery: 1,
      refs: new Map(),
      crashes: [],
      lastExit: null,
      retryAfterMs: 0,
      facts: {},
      startedAt: 0,
    }
    actors.set(id, live)
    return launch(live, slots)
  }

  async function launch(live: Live<Item>, slots: () => Record<string, number>): Promise<void> {
    const { id, entry } = live
    live.incarnation++
    live.state = 'starting'
    live.refs = new Map()
    live.outstanding = new Map()
    const wanted = Object.fromEntries(
      (entry.manifest.fds ?? [])
        .map((name) => [name, options.fds?.[name]] as const)
        .filter((pair): pair is [string, number] => pair[1] !== undefined),
    )
    const { incarnation } = live
    const current = () => actors.get(id) === live && live.incarnation === incarnation
    await new Promise<void>((settled) => {
      const exit = (reason: string, clean: boolean) => {
        settled()
        if (current()) onExit(live, reason, clean, slots)
      }
      const frame = (raw: unknown) => {
        if (!current()) return
        const parsed = fromActor.safeParse(raw)
        if (!parsed.success) {
          options.log('error', id, `malformed frame: ${parsed.error.issues[0]?.message ?? 'unknown'}`)
          live.port?.kill()
        } else if (parsed.data.t === 'ready') {
          settled()
          live.facts = parsed.data.facts
          // Told to stop while it was loading: it has that message already and needs no other.
          if (live.state === 'stopping') return
          live.state = 'running'
          live.startedAt = Date.now()
          const fds = live.port?.fds ?? {}
          live.port?.send({
            t: 'start',
            id,
            params: Object.keys(fds).length > 0 ? { ...live.params, fds } : live.params,
            slots: slots(),
            transcript: options.transcript,
          })
          options.started(live)
          options.deliver(live)
        } else {
          const { ack, out: outgoing, note, hold } = parsed.data
          const delivery = ack === undefined ? undefined : live.outstanding.get(ack)
          if (ack !== undefined) live.outstanding.delete(ack)
          if (note) options.noted(live, note, delivery)
          if (hold !== undefined) options.whenDurable(() => current() && live.port?.send({ t: 'durable', hold }))
          for (const out of outgoing) options.outgoing(live, out)
          options.deliver(live)
        }
      }
      const events = { frame, exit, log: (line: string) => options.log('warn', id, line) }
      options.placements[entry.manifest.placement]({ id, entry, permissions: live.permissions, fds: wanted }, events).then(
        (port) => {
          if (current()) live.port = port
          // Stopped before it had a port to be told through.
          else port.kill()
        },
        (error: unknown) => exit(`could not start: ${error instanceof Error ? error.message : String(error)}`, false),
      )
    })
  }

  function onExit(live: Live<Item>, reason: string, clean: boolean, slots: () => Record<string, number>): void {
    live.port = null
    live.lastExit = reason
    if (live.state === 'stopping') {
      live.state = 'stopped'
      actors.delete(live.id)
      options.ended(live)
      exits.get(live.id)?.()
      return
    }
    live.crashes = [...live.crashes.slice(-19), Date.now()]
    const decision = decideRestart(live.entry.manifest, live.crashes, clean, Math.random())
    live.state = decision.restart ? 'down' : 'stopped'
    live.degraded = decision.restart && decision.degraded
    live.retryAfterMs = decision.restart ? decision.delayMs : 0
    options.log('error', live.id, `ended: ${reason}${decision.restart ? `, restart in ${decision.delayMs} ms` : ''}`)
    options.ended(live)
    if (!decision.restart) return void actors.delete(live.id)
    setTimeout(() => {
      if (live.state === 'down') void launch(live, slots)
    }, decision.delayMs)
  }

  async function stop(id: ActorId): Promise<void> {
    const live = actors.get(id)
    if (!live) return
    const { port } = live
    if (!port) {
      live.state = 'stopped'
      actors.delete(id)
      options.ended(live)
      return
    }
    live.state = 'stopping'
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => port.kill(), live.entry.manifest.stopMs ?? stopMs)
      exits.set(id, () => {
        clearTimeout(deadline)
        exits.delete(id)
        resolve()
      })
      port.send({ t: 'stop' })
    })
  }

  return {
    actors: actors as ReadonlyMap<ActorId, Live<Item>>,
    start,
    stop,
    async stopAll(): Promise<void> {
      for (const id of [...actors.keys()].toReversed()) await stop(id)
    },
  }
}
