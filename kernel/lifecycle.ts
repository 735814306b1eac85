/** Actors as the kernel sees them alive: started, watched, restarted, stopped. Groups decide (supervisor.ts); this file carries it out. */
import { z } from 'zod'
import type { ActorId, Holder } from './capabilities.ts'
import { type Delivery, Unacknowledged } from './delivery.ts'
import { fromActor, type FromActor, type Note, type Out } from './frames.ts'
import { createGroup, type Group } from './group.ts'
import { defaultIntensity, defaultPeriodMs, stopMs } from './limits.ts'
import type { ActorEntry, Port, StartActor } from './placement.ts'
import { Receiver } from './receiver.ts'
import type { Strategy } from './supervisor.ts'
import type { Permissions, Placement } from './types.ts'

/** What is asked of it with every message comes first: it lies together. */
export type Live = {
  state: 'starting' | 'running' | 'down' | 'stopping' | 'stopped'
  port: Port | null
  outstanding: Unacknowledged
  nextDelivery: number
  /** As the router sees it, with what waits for it. */
  receiver: Receiver
  id: ActorId
  /** It as a sender. */
  holder: Holder
  entry: ActorEntry
  params: Record<string, unknown>
  permissions: Permissions
  degraded: boolean
  /** Counts starts, so that answers to an earlier life are not delivered to a later one. */
  incarnation: number
  /** The actor's own request refs, of this incarnation, to kernel request ids. */
  refs: Map<number, number>
  slots(): Record<string, number>
  /** Until it is killed, while it stops. */
  deadline: NodeJS.Timeout | null
  firstStart: PromiseWithResolvers<void>
  lastExit: string | null
  retryAfterMs: number
  /** What the process itself says it may do, after lock-down. */
  facts: Record<string, boolean>
  startedAt: number
}

const checked = z.compile(fromActor)

export type ChildSpec = Pick<Live, 'id' | 'entry' | 'params' | 'slots'>

function dormant({ entry, id, params, slots }: ChildSpec, holder: Holder): Live {
  const live: Omit<Live, 'receiver'> & { receiver: Receiver | null } = {
    state: 'starting',
    port: null,
    outstanding: new Unacknowledged(),
    nextDelivery: 1,
    receiver: null,
    id,
    holder,
    entry,
    params,
    permissions: entry.manifest.permissions(params),
    degraded: false,
    incarnation: 0,
    refs: new Map(),
    slots,
    deadline: null,
    firstStart: Promise.withResolvers<void>(),
    lastExit: null,
    retryAfterMs: 0,
    facts: {},
    startedAt: 0,
  }
  live.receiver = Receiver.ofActor(live as Live)
  return live as Live
}

export type SupervisorOptions = {
  holderOf(id: ActorId): Holder
  placements: Readonly<Record<Placement, StartActor>>
  fds?: Readonly<Record<string, number>>
  log(level: string, source: string, message: string, data?: Record<string, unknown>): void
  /** The actor can take messages. */
  deliver(live: Live): void
  /** The actor runs; `live.incarnation` above 1: again. Told before anything is delivered to it. */
  started(live: Live): void
  /** The actor ended; `live` says whether it will be back. */
  ended(live: Live): void
  outgoing(live: Live, out: Out): void
  /** It gave a delivery back unhandled. */
  untaken(live: Live, delivery: Delivery): void
  /** The salt with which actors are to say what their steps are made of; `noted` gets it, and `whenDurable` calls back once it is safe. */
  transcript: string | null
  noted(live: Live, note: Note, delivery: Delivery | undefined): void
  whenDurable(tell: () => void): void
}

export function createSupervisor(options: SupervisorOptions) {
  const actors = new Map<ActorId, Live>()
  const groupOf = new Map<ActorId, Group>()
  let groups: Group[] = []

  /**
   * Each child is there from now on, and mail waits for it. Returns how to start them, which resolves when each is running or has failed its
   * first start; from then on the group looks after them.
   */
  function addGroup(strategy: Strategy, children: readonly ChildSpec[]): () => Promise<void> {
    const lives = children.map((child) => {
      const live = dormant(child, options.holderOf(child.id))
      actors.set(child.id, live)
      return live
    })
    const { intensity = defaultIntensity, periodMs = defaultPeriodMs } = children[0]?.entry.manifest.restart ?? {}
    const group = createGroup(
      { strategy, intensity, periodMs, children: lives.map(({ id, entry }) => ({ id, restart: entry.manifest.restart.strategy })) },
      {
        launch: (id) => launch(actors.get(id) as Live, group),
        terminate: (id) => terminate(actors.get(id)),
        report(degraded, delayMs) {
          for (const live of lives) {
            live.degraded = degraded
            live.retryAfterMs = delayMs
          }
        },
      },
    )
    groups.push(group)
    for (const { id } of lives) groupOf.set(id, group)
    const settled = Promise.all(lives.map((live) => live.firstStart.promise))
    return async () => {
      // It may have been stopped before its turn came.
      if (groups.includes(group)) group.perform(group.decide({ type: 'start' }))
      await settled
    }
  }

  /** One actor, looked after by itself. */
  const start = (entry: ActorEntry, id: ActorId, params: Record<string, unknown>, slots: () => Record<string, number>): Promise<void> =>
    addGroup('one-for-one', [{ entry, id, params, slots }])()

  function launch(live: Live, group: Group): void {
    const { id, entry } = live
    live.incarnation++
    live.state = 'starting'
    live.refs = new Map()
    live.outstanding = new Unacknowledged()
    const wanted = Object.fromEntries(
      (entry.manifest.fds ?? [])
        .map((name) => [name, options.fds?.[name]] as const)
        .filter((pair): pair is [string, number] => pair[1] !== undefined),
    )
    const { incarnation } = live
    const isInline = entry.manifest.placement === 'inline'
    const current = () => actors.get(id) === live && live.incarnation === incarnation
    const exit = (reason: string, clean: boolean) => {
      if (current()) onExit(live, reason, clean, group)
    }
    const frame = (raw: unknown) => {
      if (!current()) return
      // Inline actors are code of ours in this very process: what could lie in a frame could do as it likes anyway.
      const parsed = isInline ? null : checked.safeParse(raw)
      if (parsed?.success === false) {
        options.log('error', id, `malformed frame: ${parsed.error.issues[0]?.message ?? 'unknown'}`)
        live.port?.kill()
        return
      }
      const data = parsed ? (parsed.data as FromActor) : (raw as FromActor)
      if (data.t === 'ready') {
        // Told to stop while it was loading: it has that message already and needs no other.
        if (live.state === 'stopping') return
        if (live.state !== 'starting') return live.port?.kill()
        live.facts = data.facts
        live.state = 'running'
        live.startedAt = Date.now()
        const fds = live.port?.fds ?? {}
        live.port?.send({
          t: 'start',
          id,
          params: Object.keys(fds).length > 0 ? { ...live.params, fds } : live.params,
          slots: live.slots(),
          transcript: options.transcript,
        })
        options.started(live)
        options.deliver(live)
        group.perform(group.decide({ type: 'launched', id }))
        live.firstStart.resolve()
      } else {
        const { ack, out: outgoing, note, hold, untaken } = data
        const delivery = ack === undefined ? undefined : live.outstanding.take(ack)
        if (untaken && delivery) options.untaken(live, delivery)
        if (note) options.noted(live, note, delivery)
        if (hold !== undefined) options.whenDurable(() => current() && live.port?.send({ t: 'durable', hold }))
        for (const out of outgoing) options.outgoing(live, out)
        options.deliver(live)
      }
    }
    const events = { frame, exit, log: (line: string) => options.log('warn', id, line) }
    options.placements[entry.manifest.placement](
      { id, entry, permissions: live.permissions, params: live.params, fds: wanted },
      events,
    ).then(
      (port) => {
        if (current()) live.port = port
        // Stopped before it had a port to be told through.
        else port.kill()
      },
      (error: unknown) => exit(`could not start: ${error instanceof Error ? error.message : String(error)}`, false),
    )
  }

  function onExit(live: Live, reason: string, clean: boolean, group: Group): void {
    live.port = null
    live.lastExit = reason
    const asked = live.state === 'stopping'
    clearTimeout(live.deadline ?? undefined)
    const commands = group.decide({ type: 'exited', id: live.id, clean: clean || asked, at: Date.now(), jitter: Math.random() })
    const back = group.stateOf(live.id) !== 'gone'
    live.state = back ? 'down' : 'stopped'
    if (!asked) options.log('error', live.id, `ended: ${reason}${back ? `, restart in ${live.retryAfterMs} ms` : ''}`)
    if (!back) forget(live.id)
    options.ended(live)
    group.perform(commands)
    // Those behind it wait for it to come up; whoever waits for the first start does not.
    for (const id of group.ids) actors.get(id)?.firstStart.resolve()
    live.firstStart.resolve()
    // One of them may have been started anew by now, in a group of its own.
    if (group.ids.every((id) => groupOf.get(id) !== group)) groups = groups.filter((other) => other !== group)
  }

  function forget(id: ActorId): void {
    actors.delete(id)
    groupOf.delete(id)
  }

  /** Asks it to stop; after its deadline it is killed. */
  function terminate(live: Live | undefined): void {
    if (!live || live.state === 'stopping') return
    const { port } = live
    live.state = 'stopping'
    if (!port) {
      // Its code is still being loaded: whatever comes of that is of an earlier life, and is killed.
      live.incarnation++
      const group = groupOf.get(live.id)
      // Not from within the decision that asked for it.
      if (group) queueMicrotask(() => onExit(live, 'stopped before it had started', true, group))
      return
    }
    live.deadline = setTimeout(() => port.kill(), live.entry.manifest.stopMs ?? stopMs)
    port.send({ t: 'stop' })
  }

  async function stopGroup(group: Group): Promise<void> {
    const commands = group.decide({ type: 'stop' })
    for (const id of group.ids) {
      const live = actors.get(id)
      if (!live || group.stateOf(id) !== 'gone') continue
      // Nothing of it runs: it was waiting for its turn or its next try.
      live.state = 'stopped'
      live.firstStart.resolve()
      forget(id)
      options.ended(live)
    }
    group.perform(commands)
    await group.stopped
    groups = groups.filter((other) => other !== group)
  }

  async function stop(id: ActorId): Promise<void> {
    const group = groupOf.get(id)
    if (group) await stopGroup(group)
  }

  return {
    actors: actors as ReadonlyMap<ActorId, Live>,
    start,
    addGroup,
    stop,
    async stopAll(): Promise<void> {
      for (const group of groups.toReversed()) await stopGroup(group)
    },
  }
}
