/**
 * The kernel: actors, their mailboxes and requests, and the one path a message takes.
 *
 *   send(from, slot, kind, body)
 *     decide (capability, kind, expiry, quotas -> schema -> what it hands over -> mailbox bound) -> paid, derived, queued
 *   pump(to)
 *     check again (revoked while queued?) -> capabilities installed -> frame to the actor
 *
 * Requests: exactly one answer reaches the requester. Whoever closes the entry in `requests` answers; nobody can close it twice.
 */
import { type ActorId, type Capability, createTables, derive, discard, Holder, install, mint, removeActor, revoke } from './capabilities.ts'
import { createDeadLetters } from './dead-letters.ts'
import type { Delivery } from './delivery.ts'
import { type Answer, Endpoint, type SendOptions, type Wires } from './endpoint.ts'
import { asFault, fault } from './errors.ts'
import { deliveryWindow, partWindow } from './limits.ts'
import { type Live, createSupervisor } from './lifecycle.ts'
import type { ActorEntry, StartActor } from './placement.ts'
import type { MessageLog } from './message-log.ts'
import { pay } from './metering.ts'
import { createOnDemand } from './on-demand.ts'
import { createOutgoing } from './outgoing.ts'
import { Receiver } from './receiver.ts'
import { recording } from './recording.ts'
import { createRequests, type Timer } from './requests.ts'
import { check, decide, type Decision, type Handover, type Way, type World } from './router.ts'
import { soon } from './soon.ts'
import { byFate, startInTurns } from './start-order.ts'
import { type Hop, type OpenHop, spanUnder } from './trace.ts'
import type { Badge, Delegation, Fault, Grant, Limits, Placement, Protocol } from './types.ts'
import type { Strategy } from './supervisor.ts'
import { sizeOf, unsendable } from './wire.ts'

/** A target inside the kernel process: `kernel` and `journal`, and peers in tests. */
export type Native = {
  id: ActorId
  protocol: Protocol
  handle(kind: string, body: never, from: NativeFrom): Promise<{ body: unknown; caps?: readonly Capability[] }>
}
export type NativeFrom = { id: ActorId; badge: Badge; caps: readonly Capability[]; part(body: unknown): void; signal: AbortSignal }

export type KernelOptions = {
  entries: readonly ActorEntry[]
  natives?: readonly Native[]
  placements: Readonly<Record<Placement, StartActor>>
  /** Inherited descriptors by name, handed to actors whose manifest asks for them. */
  fds?: Readonly<Record<string, number>>
  /** Parameters of singletons by kind. */
  params?: Readonly<Record<string, Record<string, unknown>>>
  /** Singletons that share a fate; every other actor is looked after by itself. Limits are those of the first child. */
  supervision?: readonly { strategy: Strategy; children: readonly string[] }[]
  /** Where every step of every actor is kept. Absent: nowhere, and what actors do outside waits for nothing. */
  messageLog?: MessageLog
  /** What measures how long requests may take. Default: the clock; a replay says itself when time is over. */
  deadlines?: Timer
  log(level: string, source: string, message: string, data?: Record<string, unknown>): void
  /** Told of each request that was part of a trace, when it is answered. Must not throw. */
  onHop?: (hop: Hop) => void
}

const noCaps: readonly Capability[] = Object.freeze([])
const noSlots: readonly number[] = Object.freeze([])
const noDelegations: readonly Delegation[] = Object.freeze([])

export type { Endpoint } from './endpoint.ts'
export type Kernel = ReturnType<typeof createKernel>

export function createKernel(options: KernelOptions) {
  const tables = createTables()
  const requests = createRequests(tables, giveUp, options.deadlines)
  const natives = new Map(options.natives?.map((native) => [native.id, Receiver.ofNative(native)]))
  const world: World<Receiver> = { tables, targetOf, sizeOf, clock: Date.now }
  /** Actors with messages that may be handed over, in the order they became so. */
  let ready: Receiver[] = []
  const entries = [...options.entries]
  const aborts = new Map<number, AbortController>()
  const deadLetters = createDeadLetters()
  const watchers = new Set<(id: ActorId) => void>()
  const supervisor = createSupervisor({
    ...options,
    holderOf: (id) => new Holder(tables, id),
    deliver: schedule,
    started: (live) => live.incarnation > 1 && announce(live.id),
    ended(live) {
      if (actors.get(live.id) !== live) live.receiver.gone = true
      const left = onDemand.leftBy(live)
      abandon(live, left)
      if (left.length === 0) return
      const next = onDemand.wake(live.entry)
      for (const item of left) put(next.receiver, item)
    },
    outgoing: (live, out) => perform(live, out),
    untaken: (_, item) => refuseUntaken(item),
    ...recording(options.messageLog ?? null),
  })
  const { actors } = supervisor
  const onDemand = createOnDemand({
    supervisor,
    params: (kind) => options.params?.[kind] ?? {},
    slots: namedSlots,
    asked: (id) => [...requests.all()].some(({ to }) => to === id),
  })
  const perform = createOutgoing({
    tables,
    requests,
    deadLetters,
    send,
    handOver,
    giveUp,
    returnCredit,
    protocolOf,
    log: options.log,
  })

  /** What endpoints need of the kernel. */
  const wires: Wires = {
    send,
    post,
    install: (holder, cap, name) => void install(tables, holder, cap, name),
    cancel: (request) => giveUp(request, fault('cancelled', 'The requester cancelled.')),
    consumed: (request) => returnCredit(request, 1),
  }

  /** Takes a message on its way that expects no answer and has nothing with it. */
  function post(from: Holder, slot: number | string, kind: string, body: unknown): void {
    const way = decide(world, from, slot, kind, body, false, noDelegations)
    if (way.ok && !way.cap.metered) take(way, { type: kind, body, from: way.plain }, null, null)
    else postElse(way, from, slot, kind, body)
  }

  function postElse(way: Decision<Receiver>, from: Holder, slot: number | string, kind: string, body: unknown): void {
    if (!way.ok) return turnDown(from.id, slot, kind, way.error)
    pay(tables, way.cap, way.bytes, Date.now())
    take(way, { type: kind, body, from: way.plain }, null, null)
  }

  /** Takes a message on its way. `answer` is called once if it is a request, never otherwise. */
  function send(from: Holder, slot: number | string, kind: string, body: unknown, more: SendOptions): number | null {
    const { answer, delegations = noDelegations } = more
    const way = decide(world, from, slot, kind, body, answer !== undefined, delegations)
    if (!way.ok) {
      turnDown(from.id, slot, kind, way.error)
      more.handle?.socket.destroy()
      answer?.({ error: way.error })
      return null
    }
    const { cap, handovers } = way
    if (cap.metered) pay(tables, cap, way.bytes, Date.now())
    const caps = handovers.length === 0 ? noCaps : handOver(from.id, handovers)
    if (answer) return ask(way, kind, body, caps, more, answer)
    take(way, { type: kind, body, from: way.plain }, null, extraOf(caps, more.handle, more.trace))
    return null
  }

  function turnDown(from: ActorId, slot: number | string, kind: string, error: Fault): void {
    deadLetters.add({ from, slot, kind, error })
  }

  function ask(way: Way<Receiver>, kind: string, body: unknown, caps: readonly Capability[], more: SendOptions, answer: Answer): number {
    const { cap, badge, schema } = way
    const from = badge.from
    const to = cap.target
    const span = more.trace ? spanUnder(more.trace) : null
    const request = requests.open({
      from,
      to,
      kind,
      cap,
      answer: span ? timed({ ...span, kind, from, to, startMs: Date.now() }, answer) : answer,
      part: more.part,
      deadlineMs: more.deadlineMs === undefined ? schema.deadlineMs : more.deadlineMs,
    })
    take(way, { type: kind, body, from: { request, badge, caps: noSlots } }, request, extraOf(caps, more.handle, span?.trace))
    return request
  }

  function take(way: Way<Receiver>, event: Delivery['event'], request: number | null, extra: Delivery['extra']): void {
    const { target } = way
    const item: Delivery = { way, cap: way.cap, event, request, n: 0, extra, next: null }
    if (target.live !== null) put(target, item)
    else takeElsewhere(target, item)
  }

  function takeElsewhere({ native, dormant }: Receiver, item: Delivery): void {
    if (native !== null) runNative(native, item)
    else put(onDemand.wake(dormant as ActorEntry).receiver, item)
  }

  /** Whether the actor can take it is asked when its turn comes: until then only what the router asked about is touched. */
  function put(receiver: Receiver, item: Delivery): void {
    receiver.push(item)
    if (!receiver.ready) getReady(receiver)
  }

  /** Messages are handed over after what runs now, and all that its promises led to before: one turn for all that was sent meanwhile. */
  function getReady(receiver: Receiver): void {
    receiver.ready = true
    if (ready.length === 0) soon(handOverReady)
    ready.push(receiver)
  }

  function schedule({ receiver, state, outstanding }: Live): void {
    if (receiver.ready || receiver.length === 0 || state !== 'running' || outstanding.size >= deliveryWindow) return
    getReady(receiver)
  }

  function handOverReady(): void {
    const receivers = ready
    ready = []
    for (const receiver of receivers) {
      receiver.ready = false
      pump(receiver, receiver.live as Live)
    }
  }

  /** Tells of the hop when it is answered. */
  function timed({ traceId, spanId, parentId, kind, from, to, startMs }: OpenHop, answer: Answer): Answer {
    return (result) => {
      const error = 'error' in result ? result.error.code : null
      options.onHop?.({ traceId, spanId, parentId, kind, from, to, startMs, endMs: Date.now(), error })
      answer(result)
    }
  }

  function targetOf(id: ActorId): Receiver | null {
    const live = actors.get(id)
    if (live) return live.receiver
    const dormant = onDemand.of(entryOf(id))
    return natives.get(id) ?? (dormant && Receiver.ofDormant(dormant))
  }

  function handOver(from: ActorId, handovers: readonly Handover[]): Capability[] {
    return handovers.map(({ parent, limits, reason }) => derive(tables, parent, limits, reason, from) as Capability)
  }

  /**
   * Messages that wait under a dead capability become refusals now, and those in the actor's hands that it has not begun; all it led to leads to one
   * actor, because deriving keeps the target.
   */
  function revokeNow(cap: Capability): number {
    // Actors elsewhere look for what was taken back only under what was derived (delivery.ts): of nothing else would it be true.
    if (cap.parent === null)
      throw fault('malformed', `"${cap.reason}" is granted for good.`, { remedy: 'End the actor, or revoke what was derived from it.' })
    const count = revoke(tables, cap)
    const live = actors.get(cap.target)
    if (!live) return count
    for (const item of live.receiver.take(({ cap: queued }) => queued.revoked))
      refuseQueued(item, check(item.way.cap, item.event.type, Date.now()) as Fault)
    for (const { way, n } of live.outstanding) if (way.cap.revoked) live.port?.withdraw(n)
    return count
  }

  /** Only what was taken back can be given back: of anything else, not answering is the actor's own doing. */
  function refuseUntaken(item: Delivery): void {
    if (item.way.cap.revoked) refuseOnItsWay(item, check(item.way.cap, item.event.type, Date.now()) as Fault)
  }

  /** What was handed over with it ends. */
  function refuseOnItsWay(item: Delivery, error: Fault): void {
    for (const cap of item.extra?.caps ?? []) revoke(tables, cap)
    refuseQueued(item, error)
  }

  function refuseQueued(item: Delivery, error: Fault): void {
    const { request } = item.event.from
    bury(item, error)
    if (request !== null) requests.close(request)?.answer({ error })
  }

  /** Nobody takes it any more, nor what came with it. */
  function bury({ way, event, extra }: Delivery, error: Fault): void {
    deadLetters.add({ from: way.badge.from, slot: '(queued)', kind: event.type, error })
    if (extra) discard(tables, extra.caps)
    extra?.handle?.socket.destroy()
  }

  /** The kernel answers for the target, and tells the target to stop caring. */
  function giveUp(id: number, error: Fault): void {
    const request = requests.close(id)
    if (!request) return
    aborts.get(id)?.abort()
    const live = actors.get(request.to)
    const waited = live?.receiver.take(({ request: waiting }) => waiting === id) ?? []
    if (live && waited.length === 0) {
      live.port?.send({ t: 'cancel', request: id })
      if (error.code === 'deadline' && onDemand.of(live.entry)) live.port?.kill()
      else onDemand.givenUp(live)
    }
    request.answer({ error })
  }

  function pump(receiver: Receiver, live: Live): void {
    const { outstanding } = live
    // Others get their turn after as many as may be on their way to an actor elsewhere.
    for (let left = deliveryWindow; left > 0 && live.state === 'running' && outstanding.size < deliveryWindow; left--) {
      const item = receiver.shift()
      if (item === undefined) return
      const { cap } = item
      const error = cap.revoked || cap.changes ? check(cap, item.event.type, Date.now()) : null
      if (error !== null) {
        refuseQueued(item, error)
        continue
      }
      item.n = live.nextDelivery++
      if (item.extra !== null) handOverWith(live, item, item.extra)
      try {
        if (!live.port?.deliver(item)) outstanding.add(item)
      } catch (thrown) {
        refuseUnsendable(live, item, thrown)
      }
    }
    if (receiver.length > 0) schedule(live)
  }

  /** Larger with what the kernel adds to it than a frame may be. */
  function refuseUnsendable(live: Live, item: Delivery, thrown: unknown): void {
    const error = unsendable(() => {
      throw thrown
    })
    // Nothing of that number left: those in an actor's hands have no gap.
    live.nextDelivery--
    if (error) refuseOnItsWay(item, error)
  }

  /** What travels with a message goes before it. */
  function handOverWith({ id, port }: Live, { event }: Delivery, { caps, handle }: NonNullable<Delivery['extra']>): void {
    if (caps.length > 0) event.from = { ...event.from, caps: caps.map((cap) => install(tables, id, cap, null)) }
    if (handle) port?.sendHandle(handle.conn, handle.socket)
  }

  function runNative(native: Native, item: Delivery): void {
    const { event, way, extra } = item
    const { request } = event.from
    const abort = new AbortController()
    if (request !== null) aborts.set(request, abort)
    const part = (body: unknown) => requests.get(request ?? -1)?.part(body)
    void native
      .handle(event.type, event.body as never, {
        id: way.badge.from,
        badge: way.badge,
        caps: extra?.caps ?? noCaps,
        part,
        signal: abort.signal,
      })
      .then(
        ({ body, caps = [] }) => request !== null && requests.close(request)?.answer({ body, caps }),
        (error: unknown) => {
          if (request !== null) requests.close(request)?.answer({ error: asFault(error) })
          else options.log('error', native.id, `"${event.type}" failed: ${String(error)}`)
        },
      )
      .finally(() => request !== null && aborts.delete(request))
  }

  /** The requester consumed `n` parts: their sender may send as many more. */
  function returnCredit(id: number, n: number): void {
    const request = requests.get(id)
    if (!request) return
    request.credit = Math.min(request.credit + n, partWindow)
    actors.get(request.to)?.port?.send({ t: 'credit', request: id, n })
  }

  /** An actor ended: the kernel answers for it, and cancels what it had asked of others. `left` waits for its next life. */
  function abandon(live: Live, left: readonly Delivery[]): void {
    const { id, state, degraded, receiver, retryAfterMs } = live
    const cause = live.lastExit ?? 'stopped'
    const comesBack = state === 'down' && !degraded
    for (const item of comesBack ? [] : receiver.take(() => true)) bury(item, fault('actor-down', `${id} ended.`, { cause }))
    const waiting = new Set([...left, ...receiver].map(({ request }) => request))
    for (const request of requests.all()) {
      if (request.to === id && !waiting.has(request.id))
        requests.close(request.id)?.answer({
          error: fault('actor-down', `${id} stopped before it answered.`, { cause, retryAfterMs }),
        })
      else if (request.from === id) giveUp(request.id, fault('cancelled', 'The requester ended.'))
    }
  }

  function forgetNative(id: ActorId): void {
    const known = natives.get(id)
    if (known) known.gone = true
    natives.delete(id)
  }

  function announce(id: ActorId): void {
    for (const watcher of watchers) watcher(id)
  }

  function protocolOf(id: ActorId): Protocol | null {
    return natives.get(id)?.protocol ?? actors.get(id)?.entry.protocol ?? null
  }

  function grant(holder: ActorId, name: string, target: ActorId, limits: Limits, reason: string): void {
    install(tables, holder, mint(tables, target, limits, reason), name)
  }

  function grantAll({ kind, grants }: ActorEntry['manifest']): void {
    for (const { name, target, limits, reason } of grants) grant(kind, name, target, limits, reason)
  }

  return {
    tables,
    actors,
    deadLetters,
    supervisor,
    addNative(native: Native): void {
      forgetNative(native.id)
      natives.set(native.id, Receiver.ofNative(native))
    },
    /** Ends a target that was added, and all that led to it. */
    removeNative(id: ActorId): void {
      forgetNative(id)
      removeActor(tables, id)
    },
    /** Gives an endpoint of the daemon or a test the capabilities named, and a way to use them. */
    endpoint(id: ActorId, grants: readonly Grant[]): Endpoint {
      for (const { name, target, limits, reason } of grants) grant(id, name, target, limits, reason)
      return new Endpoint(wires, new Holder(tables, id))
    },
    /**
     * Starts singletons in manifest order, after all their grants stand: all, or first those that are named. Resolves, when each runs or has failed
     * its first start, to how to start the others. From now on mail waits for them too.
     */
    async start(first?: readonly string[]): Promise<() => Promise<void>> {
      const singletons = entries.filter(({ manifest }) => manifest.cardinality === 'singleton')
      for (const { manifest } of singletons) grantAll(manifest)
      const child = (entry: ActorEntry) => {
        const { kind } = entry.manifest
        return { entry, id: kind, params: options.params?.[kind] ?? {}, slots: () => namedSlots(kind) }
      }
      const started = singletons.filter((entry) => !onDemand.of(entry))
      const groups = byFate(started, options.supervision ?? []).map(({ strategy, of }) => ({
        start: supervisor.addGroup(strategy, of.map(child)),
        first: !first || of.some(({ manifest }) => first.includes(manifest.kind)),
      }))
      const startThose = (ofFirst: boolean) => startInTurns(groups.filter((group) => group.first === ofFirst).map(({ start }) => start))
      await startThose(true)
      return () => startThose(false)
    },
    /** Revokes a capability and all derived from it before anything else is delivered; returns how many died. */
    revoke: revokeNow,
    /** One more singleton, with the grants of its manifest. Resolves when it runs, or has failed its first start. */
    async addSingleton(entry: ActorEntry, params: Record<string, unknown>): Promise<void> {
      const { kind } = entry.manifest
      if (protocolOf(kind) || entries.some(({ manifest }) => manifest.kind === kind))
        throw fault('already-exists', `There is an actor ${kind} already.`)
      entries.push(entry)
      grantAll(entry.manifest)
      await supervisor.start(entry, kind, params, () => namedSlots(kind))
    },
    /** Ends it, and all that led to it. */
    async removeSingleton(kind: string): Promise<void> {
      await supervisor.stop(kind)
      removeActor(tables, kind)
      const at = entries.findIndex(({ manifest }) => manifest.kind === kind)
      if (at >= 0) entries.splice(at, 1)
    },
    /** Starts an instance whose capabilities are already in its table. */
    startInstance: (entry: ActorEntry, id: ActorId, params: Record<string, unknown>) =>
      supervisor.start(entry, id, params, () => namedSlots(id)),
    async stopInstance(id: ActorId): Promise<void> {
      await supervisor.stop(id)
      removeActor(tables, id)
    },
    /** Stops everything, last started first. */
    stop(): Promise<void> {
      onDemand.close()
      return supervisor.stopAll()
    },
    /** Gives a running instance one more named capability; its next step can use it. */
    endow(id: ActorId, name: string, cap: Capability): void {
      install(tables, id, cap, name)
      actors.get(id)?.port?.send({ t: 'slots', slots: namedSlots(id) })
    },
    /** Tells of every actor that came back after a crash, before it gets its next message. Returns how to stop. */
    onRestart(watcher: (id: ActorId) => void): () => void {
      watchers.add(watcher)
      return () => void watchers.delete(watcher)
    },
    messageLog: options.messageLog ?? null,
    entries: entries as readonly ActorEntry[],
    entry: entryOf,
  }

  function entryOf(kind: string): ActorEntry | null {
    return entries.find(({ manifest }) => manifest.kind === kind) ?? null
  }

  function namedSlots(id: ActorId): Record<string, number> {
    const slots: Record<string, number> = {}
    for (const [slot, { name }] of tables.clists.get(id) ?? []) if (name !== null) slots[name] = slot
    return slots
  }
}

function extraOf(caps: readonly Capability[], handle: SendOptions['handle'], trace: string | undefined): Delivery['extra'] {
  return caps === noCaps && handle === undefined && trace === undefined ? null : { caps, handle: handle ?? null, trace: trace ?? null }
}
