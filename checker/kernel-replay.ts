/**
 * Replays a way through a model, of one actor or of several, on the running kernel: real mailboxes, capabilities, requests, message log and
 * restarts, and the machines of production on the host of production. What is around them does what the way says and nothing else:
 *
 *   message from outside    from an endpoint with the badge it came with
 *   message of an actor     waits in the kernel's mailbox until it is due (replay-port.ts)
 *   outcome of an effect    the effect runs until its outcome is due
 *   answer, part            from whoever the request reached; of an actor: what it said
 *   timer, deadline         none is over by itself
 *   crash, revocation       of that actor, of that grant
 *
 * Shares nothing with the search. Numbers of requests are the kernel's own; those of the way are translated.
 */
import { type Capability, derive, install, lookup, mint } from '../kernel/capabilities.ts'
import { createControl } from '../kernel/control.ts'
import type { Out } from '../kernel/frames.ts'
import { createKernel, type Endpoint, type Native } from '../kernel/kernel.ts'
import type { Live } from '../kernel/lifecycle.ts'
import { openMessageLog } from '../kernel/message-log.ts'
import type { StartActor } from '../kernel/placement.ts'
import type { Badge, Fault } from '../kernel/types.ts'
import { plain } from './capability-states.ts'
import type { Item } from './channels.ts'
import type { StepOnTrace } from './counterexample.ts'
import { cancelled, type Local, type Stepped } from './local.ts'
import type { Event, Model, Pending } from './model.ts'
import type { SentInfo, StepInfo } from './product.ts'
import { anything, type Asked, type Happened, Party, turn } from './replay-party.ts'
import { HeldPort, type Told } from './replay-port.ts'
import { alone, defaultMailbox, type SystemModel, type SystemView } from './system.ts'

/** What came of a step, and the state after it. `before` and `stepped`: null where no machine took one. */
export type Taken = { info: StepInfo; before: Local | null; stepped: Stepped | null; view: SystemView }
export type KernelReplay = {
  view(): SystemView
  /** Why not, in words, when what the way says cannot happen. */
  step(step: StepOnTrace): Promise<Taken | string>
  stop(): Promise<void>
}

/** Whoever a capability that came from outside leads to. */
const elsewhere = 'outside'
const kernelId = 'kernel'
const reason = 'as in the counterexample'

export async function createKernelReplay(subject: Model | SystemModel, way: readonly StepOnTrace[]): Promise<KernelReplay> {
  const system = 'system' in subject ? subject : alone(subject)
  const asked: Asked[] = []
  const deadlines = new Map<number, () => void>()
  /** Whose request it is, by its number. */
  const origins = new Map<number, string>()
  const faults = { crashes: 0, revoked: [] as string[] }
  const log = openMessageLog(':memory:', { version: 'replay' })
  const parties = new Map(
    Object.entries(system.actors).map(([id, { model, grants = {}, mailbox = system.mailbox ?? defaultMailbox }]) => [
      id,
      new Party(id, model, way, { mailbox, wired: grants }),
    ]),
  )
  const start: StartActor = async ({ id }, events) => {
    const party = partyOf(id)
    const port = new HeldPort(
      party.actor,
      () => kernel.actors.get(id) as Live,
      events,
      ({ out, note }) => party.heard(out, sentBy(party, out), note),
    )
    party.begin(port)
    return port
  }
  const kernel = createKernel({
    entries: [...parties.values()].map(({ actor }) => ({
      manifest: actor.manifest,
      protocol: actor.protocol,
      entry: '',
      load: async () => actor,
    })),
    natives: [outside(elsewhere)],
    params: Object.fromEntries(
      [...parties.values()].map(({ id, model }) => [id, (model.input as { params?: Record<string, unknown> } | undefined)?.params ?? {}]),
    ),
    placements: { inline: start, thread: start, process: start },
    messageLog: log,
    deadlines: (over, _ms, request) => {
      deadlines.set(request, over)
      return null
    },
    log: () => {},
  })

  function partyOf(id: string): Party {
    const found = parties.get(id)
    if (!found) throw new Error(`${system.system} has no actor ${id}.`)
    return found
  }

  /** Takes what it is asked and waits until the way says what it answers. */
  function outside(id: string): Native {
    return {
      id,
      protocol: anything,
      handle: (kind, _body, from) =>
        new Promise((resolve, reject) => {
          const one: Asked = {
            actor: from.id,
            kind,
            ref: null,
            from,
            answer: (body, caps) => resolve({ body, caps: Array.from({ length: caps }, () => mint(kernel.tables, elsewhere, {}, reason)) }),
            refuse: reject,
          }
          asked.push(one)
          from.signal.addEventListener('abort', () => void asked.splice(asked.indexOf(one), 1))
        }),
    }
  }

  /** Not as a manifest grants, because it may be revoked. */
  function grant(holder: string, slot: string, target: string, limits: Badge['limits'], why: string): void {
    install(kernel.tables, holder, derive(kernel.tables, mint(kernel.tables, target, {}, why), limits, why, holder) as Capability, slot)
  }

  /** kernel/control.ts, for instances that are there from the start. */
  function control(instances: Readonly<Record<string, string>>): Native {
    const real = createControl(kernel, () => {})
    return {
      ...real,
      async handle(kind, body, from) {
        const {
          kind: spawned,
          id,
          name,
          session,
          grants = [],
        } = body as {
          kind: string
          id: string
          name: string
          session: string | null
          grants?: readonly { name: string }[]
        }
        const target = instances[kind === 'spawn' ? spawned : ((id ?? '').split(':')[0] ?? '')]
        if (kind === 'spawn' && target !== undefined) {
          for (const [i, { name: given }] of grants.entries()) kernel.endow(target, given, from.caps[i] as Capability)
          const cap = mint(kernel.tables, target, session === null ? {} : { session }, `spawned ${spawned}`)
          return { body: { id: `${spawned}:${(body as { instance: string }).instance}` }, caps: [cap] }
        }
        if (kind === 'endow' && target !== undefined) kernel.endow(target, name, from.caps[0] as Capability)
        // The rest is answered at once, as in the model, though a watch goes on for as long as it is wanted.
        return kind === 'derive' || kind === 'revoke' ? real.handle(kind, body, from) : { body: {} }
      },
    }
  }

  function sentBy({ id, refs }: Party, out: readonly Out[]): SentInfo[] {
    return out.flatMap((item): SentInfo[] => {
      if (item.t === 'send') {
        const to = lookup(kernel.tables, id, item.slot)?.target ?? `(${item.slot})`
        return [{ to: to.startsWith(elsewhere) ? `(${item.slot})` : to, kind: item.kind, what: 'send' }]
      }
      if (item.t === 'cancel') return [{ to: id, kind: refs.get(item.ref)?.kind ?? '', what: 'cancel' }]
      if (item.t !== 'reply' && item.t !== 'refuse' && item.t !== 'part') return []
      return [{ to: origins.get(item.request) ?? elsewhere, kind: '', what: item.t }]
    })
  }

  const senders = new Map<string, { endpoint: Endpoint; slot: string }>()
  function senderTo(to: string, { from, session, limits }: Badge): { endpoint: Endpoint; slot: string } {
    const key = JSON.stringify([to, from, session, limits])
    const known = senders.get(key)
    if (known) return known
    const slot = `way ${senders.size}`
    const bounded = session === null ? limits : { ...limits, session }
    const endpoint = kernel.endpoint(from, [
      { name: slot, target: to, limits: bounded, reason },
      { name: 'spare', target: elsewhere, limits: {}, reason },
    ])
    senders.set(key, { endpoint, slot })
    return { endpoint, slot }
  }

  function send(party: Party, event: Event): void {
    const { request, badge, caps = [] } = event['from'] as { request: number | null; badge?: Badge; caps?: readonly unknown[] }
    const { endpoint, slot } = senderTo(party.id, badge ?? { from: elsewhere, session: null, limits: {} })
    if (request === null) return endpoint.send(slot, event.type, event['body'])
    const abort = new AbortController()
    party.aborts.set(request, abort)
    const options = { signal: abort.signal, deadlineMs: null, caps: caps.map(() => ({ slot: 'spare' })) }
    endpoint.request(slot, event.type, event['body'], options).catch(() => {})
  }

  /** One message to the actor: what somebody outside sends now, or what waits for it. */
  async function handOver(party: Party, event: Event, isSentNow: boolean): Promise<Happened | string> {
    const { receiver } = kernel.actors.get(party.id) as Live
    const { port } = party
    // What comes from outside finds no mailbox on its way in a model.
    const others = isSentNow ? receiver.take(() => true) : []
    port.open()
    if (isSentNow) send(party, event)
    const noted = await party.noted()
    port.close()
    for (const item of others) receiver.push(item)
    const { delivered } = port
    if (!noted || !delivered) return `no "${event.type}" reached ${party.id}`
    if (delivered.event.type !== event.type) return `${party.id} was handed "${delivered.event.type}"`
    const { request } = delivered.event.from
    const named = (event['from'] as { request: number | null }).request
    if (request === null) return { event: delivered.event, before: party.local }
    origins.set(request, delivered.way.badge.from)
    if (named !== null) party.numbers.set(named, request)
    return { event: delivered.event, before: { ...party.local, open: [...party.local.open, request] } }
  }

  /** What it was told, heard now. */
  async function hear(party: Party, told: Told, event: Event, before: Local): Promise<Happened | string> {
    party.port.release(told)
    return (await party.noted()) ? { event, before } : `${party.id} did not hear "${event.type}"`
  }

  async function answered(party: Party, event: Event, isOverdue: boolean): Promise<Happened | string> {
    const { local, refs, port } = party
    const { type, ref, kind } = event as { type: string; ref: string; kind: string }
    const wanted = party.translated(ref) as string
    const at = local.pending.findIndex((item) => item.what === 'request' && item.ref === wanted)
    if (at < 0) return `no request "${wanted}" of ${party.id} is open`
    const frames = { replied: 'reply', refused: 'refuse', part: 'part' } as const
    const find = () =>
      port.held.find(
        (told): told is Exclude<Told, { t: 'cancel' }> =>
          told.t !== 'cancel' && told.t === frames[type as keyof typeof frames] && refs.get(told.ref)?.ref === wanted,
      )
    if (isOverdue && !find()) {
      const number = [...refs].findLast(([, known]) => known.ref === wanted)?.[0]
      const request = (kernel.actors.get(party.id) as Live).refs.get(number ?? -1)
      deadlines.get(request ?? -1)?.()
    } else if (!find())
      answerFromOutside(
        event,
        asked.find((one) => one.actor === party.id && one.ref === wanted),
      )
    await settled()
    const told = find()
    if (!told) return `no "${type}" for "${wanted}" reached ${party.id}`
    const before = told.t === 'part' ? local : { ...local, pending: local.pending.toSpliced(at, 1) }
    if (told.t === 'reply') return hear(party, told, { type, ref: wanted, kind, body: told.body, caps: told.caps }, before)
    if (told.t === 'refuse') return hear(party, told, { type, ref: wanted, kind, error: told.error }, before)
    return hear(party, told, { type, ref: wanted, kind, body: told.body }, before)
  }

  function answerFromOutside(event: Event, waiting: Asked | undefined): void {
    if (!waiting) return
    if (event.type === 'part') return waiting.from.part(event['body'])
    asked.splice(asked.indexOf(waiting), 1)
    if (event.type === 'replied') waiting.answer(event['body'], (event['caps'] as readonly unknown[] | undefined)?.length ?? 0)
    else waiting.refuse(event['error'] as Fault)
  }

  /** The requester gave up: in the model what it had asked is not open any more by the time the machine hears of it. */
  async function gaveUp(party: Party, event: Event, isSentNow: boolean): Promise<Happened | string> {
    const named = event['request'] as number
    const request = party.numbers.get(named) ?? named
    if (isSentNow) party.aborts.get(named)?.abort()
    await settled()
    const told = party.port.held.find((one) => one.t === 'cancel' && one.request === request)
    return told
      ? hear(party, told, { type: 'cancelled', request }, cancelled(party.local, request))
      : `nobody gave up request ${request} of ${party.id}`
  }

  async function happen(party: Party, { event, label, fault }: StepOnTrace): Promise<Happened | string> {
    if (!event) return 'nothing happens'
    const stimulus = party.model.stimuli.find(({ name }) => name === label)
    if (stimulus) party.count(stimulus.name)
    if ('from' in event) return handOver(party, event, stimulus !== undefined)
    if (event.type === 'cancelled') return gaveUp(party, event, stimulus !== undefined)
    if (!stimulus && ['replied', 'refused', 'part'].includes(event.type)) return answered(party, event, fault?.do === 'deadline')
    const { local } = party
    if (stimulus) return party.inject(party.translated(event) as Event, local)
    const timer = local.pending.findIndex((item) => item.what === 'timer' && item.event.type === event.type)
    if (timer >= 0)
      return party.inject((local.pending[timer] as Extract<Pending, { what: 'timer' }>).event, {
        ...local,
        pending: local.pending.toSpliced(timer, 1),
      })
    return party.outcome(event)
  }

  async function byFault({ fault }: StepOnTrace): Promise<string | null> {
    if (fault?.do === 'revoke') {
      const cap = lookup(kernel.tables, fault.holder, fault.slot)
      if (!cap) return `${fault.holder} holds no ${fault.slot}`
      kernel.revoke(cap)
      faults.revoked = [...faults.revoked, fault.name].toSorted()
    } else if (fault?.do === 'crash') {
      const party = partyOf(fault.actor)
      party.port.kill()
      faults.crashes++
      if (!(await party.noted())) return `${fault.actor} did not come back`
    }
    return null
  }

  /** What left actors has been routed, and what came of that has reached them. */
  async function settled(): Promise<void> {
    await turn()
    await turn()
  }

  function view(): SystemView {
    const locals = new Map([...parties].map(([id, { local }]) => [id, local]))
    const waiting = new Map([...parties].map(([id, party]) => [id, [...queued(kernel.actors.get(id) as Live), ...party.untold()]]))
    const capabilities = plain(kernel.tables)
    return {
      actor: (id) => locals.get(partyOf(id).id) as Local,
      waiting: (id) => waiting.get(partyOf(id).id) as readonly Item[],
      capabilities,
      faults: { ...faults },
    }
  }

  for (const { id, slots, wired } of parties.values()) {
    for (const [slot, { to, limits = {}, reason: why = slot }] of Object.entries(wired)) {
      const isInside = system.actors[to] !== undefined || (to === kernelId && system.instances !== undefined)
      const target = isInside ? to : `${elsewhere}:${to}`
      if (!isInside) kernel.addNative(outside(target))
      grant(id, slot, target, limits, why)
    }
    for (const slot of slots) {
      kernel.addNative(outside(`${elsewhere}:${id}:${slot}`))
      grant(id, slot, `${elsewhere}:${id}:${slot}`, {}, reason)
    }
  }
  if (system.instances) kernel.addNative(control(system.instances))
  await kernel.start()
  await settled()
  for (const party of parties.values()) party.settle(asked, null)
  return {
    view,
    async step(step) {
      const { actor, label, fault } = step
      if (actor === 'fault') {
        const why = await byFault(step)
        if (why !== null) return why
        await settled()
        if (fault?.do === 'crash') partyOf(fault.actor).settle(asked, null)
        return { info: { actor, label }, before: null, stepped: null, view: view() }
      }
      const party = partyOf(actor)
      // Somebody's being refused or dropped is the kernel's doing, and no machine's.
      if (!step.event) return { info: { actor, label }, before: null, stepped: null, view: view() }
      const happened = await happen(party, step)
      if (typeof happened === 'string') return happened
      await settled()
      const { event, before } = happened
      const stepped = party.settle(asked, happened)
      const value = party.error === null ? party.local.value : '(threw)'
      const info: StepInfo = { actor, label, event, value, sent: party.sent }
      return { info, before, stepped, view: view() }
    },
    async stop() {
      await kernel.stop()
      log.close()
    },
  }
}

/** What waits in a mailbox, as a model shows it. */
const queued = ({ receiver }: Live): Item[] =>
  [...receiver].map(({ event: { type, body, from }, way: { badge, cap } }) => ({
    what: 'message',
    from: badge.from,
    kind: type,
    body,
    request: from.request,
    badge,
    cap: cap.id,
    caps: from.caps,
  }))
