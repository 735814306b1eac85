/**
 * The kernel: actors, their mailboxes and requests, and the one path a message takes.
 *
 *   send(from, slot, kind, body)
 *     route (capability, kind, expiry, uses) -> schema -> delegations derived -> mailbox bound -> queued
 *   pump(to)
 *     check again (revoked while queued?) -> capabilities installed -> frame to the actor
 *
 * Requests: exactly one answer reaches the requester. Whoever closes the entry in `requests` answers; nobody can close it twice.
 */
import type { Socket } from 'node:net'
import { type ActorId, type Capability, createTables, derive, install, isRevoked, lookup, mint, removeActor } from './capabilities.ts'
import { createDeadLetters } from './dead-letters.ts'
import { asFault, fault } from './errors.ts'
import type { Out } from './frames.ts'
import { defaultDeadlineMs, defaultMailbox, deliveryWindow, partWindow } from './limits.ts'
import { type Live, createSupervisor } from './lifecycle.ts'
import type { ActorEntry, StartActor } from './placement.ts'
import { check, route, takeUse } from './router.ts'
import { type Hop, type OpenHop, spanUnder } from './trace.ts'
import type { Badge, Delegation, Fault, Grant, Limits, Placement, Protocol } from './types.ts'
import { findImproper } from './wire.ts'

/** A target inside the kernel process: `kernel` and `journal`, and peers in tests. */
export type Native = {
  id: ActorId
  protocol: Protocol
  handle(kind: string, body: never, from: NativeFrom): Promise<{ body: unknown; caps?: readonly Capability[] }>
}
export type NativeFrom = { id: ActorId; badge: Badge; caps: readonly Capability[]; part(body: unknown): void; signal: AbortSignal }

/** An outside holder of capabilities: the daemon itself, and tests. */
export type Endpoint = {
  request(slot: string, kind: string, body: unknown, options?: EndpointOptions): Promise<{ body: unknown; slots: string[] }>
  send(slot: string, kind: string, body: unknown, handle?: { conn: number; socket: Socket }): void
}
export type EndpointOptions = {
  deadlineMs?: number | null
  onPart?: (body: unknown) => void
  signal?: AbortSignal
  caps?: readonly Delegation[]
  trace?: string
}

export type KernelOptions = {
  entries: readonly ActorEntry[]
  natives?: readonly Native[]
  placements: Readonly<Record<Placement, StartActor>>
  /** Inherited descriptors by name, handed to actors whose manifest asks for them. */
  fds?: Readonly<Record<string, number>>
  /** Parameters of singletons by kind. */
  params?: Readonly<Record<string, Record<string, unknown>>>
  log(level: string, source: string, message: string, data?: Record<string, unknown>): void
  /** Told of each request that was part of a trace, when it is answered. Must not throw. */
  onHop?: (hop: Hop) => void
}

type Request = {
  id: number
  from: ActorId
  to: ActorId
  kind: string
  cap: Capability
  credit: number
  timer: NodeJS.Timeout | null
  answer(result: { body: unknown; caps: Capability[] } | { error: Fault }): void
  part(body: unknown): void
}
type Item = {
  from: ActorId
  cap: Capability
  kind: string
  body: unknown
  badge: Badge
  caps: Capability[]
  request: number | null
  handle?: { conn: number; socket: Socket }
  trace?: string
}
type Answer = Request['answer']

export type Kernel = ReturnType<typeof createKernel>

export function createKernel(options: KernelOptions) {
  const tables = createTables()
  const requests = new Map<number, Request>()
  const natives = new Map(options.natives?.map((native) => [native.id, native]))
  const aborts = new Map<number, AbortController>()
  const deadLetters = createDeadLetters()
  let nextRequest = 1
  const watchers = new Set<(id: ActorId) => void>()
  const supervisor = createSupervisor({
    ...options,
    deliver: pump,
    started: (live) => live.incarnation > 1 && announce(live.id),
    ended: (live) => abandon(live.id),
    outgoing: perform,
  })
  const { actors } = supervisor

  /** Takes a message on its way. `answer` is called once if it is a request, never otherwise. */
  function send(
    from: ActorId,
    slot: number | string,
    kind: string,
    body: unknown,
    more: {
      delegations?: readonly Delegation[]
      deadlineMs?: number | null
      handle?: Item['handle']
      answer?: Answer
      part?: (body: unknown) => void
      trace?: string | undefined
    },
  ): number | null {
    const refuse = (error: Fault): null => {
      deadLetters.add({ from, slot, kind, error })
      more.answer?.({ error })
      return null
    }
    const routed = route(tables, from, slot, kind, Date.now())
    if (!routed.ok) return refuse(routed.error)
    const { cap, target, badge } = routed
    const schema = protocolOf(target)?.[kind]
    const problem = schema ? invalid(schema.body, body) : `${target} knows no message "${kind}"`
    if (problem) return refuse(fault('malformed', `"${kind}" to ${target} is malformed.`, { cause: problem }))
    const caps = delegate(from, more.delegations ?? [])
    if ('code' in caps) return refuse(caps)
    const live = actors.get(target)
    if (!live && !natives.has(target)) return refuse(fault('actor-down', `${target} is not running.`))
    if (live && live.queue.length >= (live.entry.manifest.mailbox ?? defaultMailbox))
      return refuse(fault('overloaded', `${target} has too many messages waiting.`))
    if (live?.state === 'down' && live.degraded && more.answer)
      return refuse(fault('actor-down', `${target} keeps failing.`, { cause: live.lastExit ?? 'unknown', retryAfterMs: live.retryAfterMs }))
    takeUse(tables, cap)
    const span = more.answer && more.trace ? spanUnder(more.trace) : null
    const answer = span && more.answer ? timed({ ...span, kind, from, to: target, startMs: Date.now() }, more.answer) : more.answer
    const trace = span?.trace ?? more.trace
    const request = answer
      ? openRequest(from, target, kind, cap, answer, more.part, more.deadlineMs === undefined ? schema?.deadlineMs : more.deadlineMs)
      : null
    const item: Item = {
      from,
      cap,
      kind,
      body,
      badge,
      caps,
      request,
      ...(more.handle ? { handle: more.handle } : {}),
      ...(trace ? { trace } : {}),
    }
    if (live) {
      live.queue.push(item)
      pump(live)
    } else runNative(natives.get(target) as Native, item)
    return request
  }

  /** Tells of the hop when it is answered. */
  function timed({ traceId, spanId, parentId, kind, from, to, startMs }: OpenHop, answer: Answer): Answer {
    return (result) => {
      const error = 'error' in result ? result.error.code : null
      options.onHop?.({ traceId, spanId, parentId, kind, from, to, startMs, endMs: Date.now(), error })
      answer(result)
    }
  }

  function openRequest(
    from: ActorId,
    to: ActorId,
    kind: string,
    cap: Capability,
    answer: Answer,
    part: ((body: unknown) => void) | undefined,
    deadlineMs: number | null | undefined,
  ): number {
    const id = nextRequest++
    const ms = deadlineMs === undefined ? defaultDeadlineMs : deadlineMs
    const timer =
      ms === null ? null : setTimeout(() => giveUp(id, fault('deadline', `${to} did not answer "${kind}" within ${ms} ms.`)), ms)
    requests.set(id, { id, from, to, kind, cap, credit: partWindow, timer, answer, part: part ?? (() => {}) })
    return id
  }

  /** Closes a request; null when it was closed before, so that a second answer finds nothing. */
  function close(id: number): Request | null {
    const request = requests.get(id)
    if (!request) return null
    requests.delete(id)
    if (request.timer) clearTimeout(request.timer)
    return request
  }

  /** The kernel answers for the target, and tells the target to stop caring. */
  function giveUp(id: number, error: Fault): void {
    const request = close(id)
    if (!request) return
    aborts.get(id)?.abort()
    const live = actors.get(request.to)
    if (live) {
      const waiting = live.queue.findIndex((item) => item.request === id)
      if (waiting >= 0) live.queue.splice(waiting, 1)
      else live.port?.send({ t: 'cancel', request: id })
    }
    request.answer({ error })
  }

  function pump(live: Live<Item>): void {
    while (live.state === 'running' && live.outstanding.size < deliveryWindow) {
      const item = live.queue.shift()
      if (!item) return
      const error = check(tables, item.cap, item.kind, Date.now(), true)
      if (error) {
        deadLetters.add({ from: item.from, slot: '(queued)', kind: item.kind, error })
        if (item.request !== null) close(item.request)?.answer({ error })
        continue
      }
      const n = live.nextDelivery++
      live.outstanding.add(n)
      const caps = item.caps.map((cap) => install(tables, live.id, cap, null))
      const { kind, body, request, badge, handle, trace } = item
      if (handle) live.port?.sendHandle(handle.conn, handle.socket)
      live.port?.send({
        t: 'msg',
        n,
        kind,
        body,
        request,
        badge,
        caps,
        ...(handle ? { handle: handle.conn } : {}),
        ...(trace ? { trace } : {}),
      })
    }
  }

  function runNative(native: Native, item: Item): void {
    const { request } = item
    const abort = new AbortController()
    if (request !== null) aborts.set(request, abort)
    const part = (body: unknown) => requests.get(request ?? -1)?.part(body)
    void native
      .handle(item.kind, item.body as never, { id: item.from, badge: item.badge, caps: item.caps, part, signal: abort.signal })
      .then(
        ({ body, caps = [] }) => request !== null && close(request)?.answer({ body, caps: [...caps] }),
        (error: unknown) => {
          if (request !== null) close(request)?.answer({ error: asFault(error) })
          else options.log('error', native.id, `"${item.kind}" failed: ${String(error)}`)
        },
      )
      .finally(() => request !== null && aborts.delete(request))
  }

  /** Derives what a message hands over; all or nothing. Passing on derives always, so that revoking the giver's copy ends the taker's. */
  function delegate(from: ActorId, delegations: readonly Delegation[]): Capability[] | Fault {
    const caps: Capability[] = []
    for (const { slot, limits = {}, reason } of delegations) {
      const held = lookup(tables, from, slot)
      if (!held) return fault('no-capability', `${from} cannot pass on ${JSON.stringify(slot)}, which it does not hold.`)
      const derived = derive(tables, held, limits, reason ?? held.reason, from)
      if ('code' in derived) return derived
      caps.push(derived)
    }
    return caps
  }

  /** One thing an actor's committed step asks for. Whatever it names that is not its own is refused and counted. */
  function perform(live: Live<Item>, out: Out): void {
    const self = live.id
    switch (out.t) {
      case 'send': {
        const { ref } = out
        const delegations = (out.caps ?? []) as Delegation[]
        if (ref === undefined) return void send(self, out.slot, out.kind, out.body, { delegations, trace: out.trace })
        const { incarnation } = live
        const current = () => (live.incarnation === incarnation ? live.port : null)
        const id = send(self, out.slot, out.kind, out.body, {
          delegations,
          trace: out.trace,
          ...(out.deadlineMs === undefined ? {} : { deadlineMs: out.deadlineMs }),
          part: (body) => current()?.send({ t: 'part', ref, body }),
          answer: (result) => {
            live.refs.delete(ref)
            const port = current()
            if ('error' in result) port?.send({ t: 'refuse', ref, error: result.error })
            else port?.send({ t: 'reply', ref, body: result.body, caps: result.caps.map((cap) => install(tables, self, cap, null)) })
          },
        })
        if (id !== null && requests.has(id)) live.refs.set(ref, id)
        return
      }
      case 'reply': {
        const request = ownRequest(self, out.request, 'reply')
        if (!request) return
        const schema = protocolOf(self)?.[request.kind]
        const problem = schema?.reply ? invalid(schema.reply, out.body) : findImproper(out.body)
        const caps = problem
          ? fault('internal', `${self} sent a malformed reply to "${request.kind}".`, { cause: problem })
          : delegate(self, (out.caps ?? []) as Delegation[])
        close(out.request)?.answer('code' in caps ? { error: caps } : { body: out.body, caps })
        return
      }
      case 'refuse':
        if (ownRequest(self, out.request, 'refuse')) close(out.request)?.answer({ error: out.error as Fault })
        return
      case 'part': {
        const request = ownRequest(self, out.request, 'part')
        if (!request) return
        const schema = protocolOf(self)?.[request.kind]?.part
        const problem = isRevoked(tables, request.cap)
          ? 'revoked'
          : request.credit-- <= 0
            ? 'more parts than credit'
            : schema
              ? invalid(schema, out.body)
              : 'this kind has no parts'
        if (problem === 'revoked')
          giveUp(out.request, fault('revoked', `The grant "${request.cap.reason}" was revoked.`, { rule: request.cap.reason }))
        else if (problem) giveUp(out.request, fault('internal', `${self} sent a malformed part of "${request.kind}".`, { cause: problem }))
        else request.part(out.body)
        return
      }
      case 'cancel': {
        const id = live.refs.get(out.ref)
        if (id !== undefined) giveUp(id, fault('cancelled', 'The requester cancelled.'))
        return
      }
      case 'credit': {
        const request = requests.get(live.refs.get(out.ref) ?? -1)
        if (!request) return
        request.credit = Math.min(request.credit + out.n, partWindow)
        actors.get(request.to)?.port?.send({ t: 'credit', request: request.id, n: out.n })
        return
      }
      case 'log':
        return options.log(out.level, self, out.message, out.data)
      default:
        out satisfies never
    }
  }

  /** The open request if `self` is the one who must answer it. A late answer is normal; another's request id is not, and is counted. */
  function ownRequest(self: ActorId, id: number, kind: string): Request | null {
    const request = requests.get(id)
    if (request && request.to === self) return request
    if (request)
      deadLetters.add({
        from: self,
        slot: `request ${id}`,
        kind,
        error: fault('no-capability', `${self} answered a request that is not its own.`),
      })
    return null
  }

  /** An actor ended: the kernel answers for it, and cancels what it had asked of others. */
  function abandon(id: ActorId): void {
    const live = actors.get(id)
    const cause = live?.lastExit ?? 'stopped'
    const kept: Item[] = []
    for (const item of live?.queue ?? []) {
      if (live?.state === 'down' && !live.degraded) kept.push(item)
      else deadLetters.add({ from: item.from, slot: '(queued)', kind: item.kind, error: fault('actor-down', `${id} ended.`, { cause }) })
    }
    const waiting = new Set(kept.map((item) => item.request))
    if (live) live.queue = kept
    for (const request of requests.values()) {
      if (request.to === id && !waiting.has(request.id))
        close(request.id)?.answer({
          error: fault('actor-down', `${id} stopped before it answered.`, { cause, retryAfterMs: live?.retryAfterMs ?? 0 }),
        })
      else if (request.from === id) giveUp(request.id, fault('cancelled', 'The requester ended.'))
    }
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

  return {
    tables,
    actors,
    deadLetters,
    supervisor,
    addNative: (native: Native) => void natives.set(native.id, native),
    /** Gives an endpoint of the daemon or a test the capabilities named, and a way to use them. */
    endpoint(id: ActorId, grants: readonly Grant[]): Endpoint {
      for (const { name, target, limits, reason } of grants) grant(id, name, target, limits, reason)
      let received = 0
      return {
        request: (slot, kind, body, { deadlineMs, onPart, signal, caps, trace } = {}) =>
          new Promise((resolve, reject) => {
            let request: number | null = null
            const answer: Answer = (result) => {
              if ('error' in result) {
                reject(result.error)
                return
              }
              const slots = result.caps.map((cap) => {
                const name = `received-${++received}`
                install(tables, id, cap, name)
                return name
              })
              resolve({ body: result.body, slots })
            }
            const part = (partBody: unknown) => {
              onPart?.(partBody)
              const open = requests.get(request ?? -1)
              if (!open) return
              open.credit++
              actors.get(open.to)?.port?.send({ t: 'credit', request: open.id, n: 1 })
            }
            request = send(id, slot, kind, body, {
              answer,
              part,
              trace,
              ...(caps ? { delegations: caps } : {}),
              ...(deadlineMs === undefined ? {} : { deadlineMs }),
            })
            signal?.addEventListener('abort', () => giveUp(request ?? -1, fault('cancelled', 'The requester cancelled.')))
          }),
        send: (slot, kind, body, handle) => void send(id, slot, kind, body, handle ? { handle } : {}),
      }
    },
    /** Starts every singleton in manifest order, after all their grants stand. */
    async start(): Promise<void> {
      const singletons = options.entries.filter(({ manifest }) => manifest.cardinality === 'singleton')
      for (const { manifest } of singletons)
        for (const { name, target, limits, reason } of manifest.grants) grant(manifest.kind, name, target, limits, reason)
      await Promise.all(
        singletons.map((entry) =>
          supervisor.start(entry, entry.manifest.kind, options.params?.[entry.manifest.kind] ?? {}, () => namedSlots(entry.manifest.kind)),
        ),
      )
    },
    /** Starts an instance whose capabilities are already in its table. */
    startInstance: (entry: ActorEntry, id: ActorId, params: Record<string, unknown>) =>
      supervisor.start(entry, id, params, () => namedSlots(id)),
    async stopInstance(id: ActorId): Promise<void> {
      await supervisor.stop(id)
      removeActor(tables, id)
    },
    /** Stops everything, last started first. */
    stop: () => supervisor.stopAll(),
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
    entries: options.entries,
    entry: (kind: string): ActorEntry | null => options.entries.find(({ manifest }) => manifest.kind === kind) ?? null,
  }

  function namedSlots(id: ActorId): Record<string, number> {
    const slots: Record<string, number> = {}
    for (const [slot, { name }] of tables.clists.get(id) ?? []) if (name !== null) slots[name] = slot
    return slots
  }
}

/** What is wrong with a body, or null. Plainness and depth first: inline actors share memory with the kernel and are held to the same rules. */
function invalid(
  schema: {
    safeParse(value: unknown): { success: boolean; error?: { issues: readonly { path: readonly PropertyKey[]; message: string }[] } }
  },
  body: unknown,
): string | null {
  const improper = findImproper(body)
  if (improper) return improper
  const parsed = schema.safeParse(body)
  if (parsed.success) return null
  return (parsed.error?.issues ?? [])
    .slice(0, 3)
    .map(({ path, message }) => `${path.map(String).join('.') || 'body'}: ${message}`)
    .join('; ')
}
