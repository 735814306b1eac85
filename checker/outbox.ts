/** What leaves an actor in one step, turned into operations on mailboxes: what the kernel does with an actor's messages. */
import type { Fault, Outgoing } from '../kernel/types.ts'
import type { Item } from './channels.ts'
import type { Routed } from './capability-states.ts'
import type { Composition, Member } from './compose.ts'
import type { Local } from './local.ts'
import type { Event, Pending } from './model.ts'
import type { Operation, SentInfo } from './product.ts'

type Request = Extract<Pending, { what: 'request' }>
const failure = (code: string): Fault => ({ code, message: '', remedy: '' })

/** The kernel as an actor that others hold a capability to. */
const kernelId = 'kernel'

/** Numbers of requests inside the composition start here; below are those of stimuli. */
export const firstRequest = 100_000

export class Outbox {
  local: Local
  /** State of the capability tables. */
  state: number
  readonly operations: Operation[] = []
  readonly sent: SentInfo[] = []
  readonly #composition: Composition
  readonly #member: Member
  readonly #waiting: readonly Item[]

  /** @param waiting what waits for the actor itself: an answer there closed its request */
  constructor(composition: Composition, member: Member, local: Local, state: number, waiting: readonly Item[]) {
    this.#composition = composition
    this.#member = member
    this.local = local
    this.state = state
    this.#waiting = waiting
  }

  perform(out: readonly Outgoing[]): void {
    for (const message of out) {
      switch (message.type) {
        case 'send':
          this.#send(message)
          break
        case 'reply':
        case 'refuse':
        case 'partTo':
          this.#answer(message)
          break
        case 'cancel':
          for (const item of this.local.pending)
            if (item.what === 'request' && item.ref === message.ref && item.target !== undefined) this.#cancel(item)
          break
        // What a request cost is counted by the kernel; models bound uses, not tokens.
        case 'charge':
        case 'interrupt':
          break
        default:
          message satisfies never
      }
    }
  }

  /** The receiver's runtime refuses what its machine ignored. */
  ignored(event: Event): void {
    const request = (event['from'] as { request: number | null } | undefined)?.request
    if (typeof request === 'number') this.#settle(request, failure('not-now'))
  }

  /** The kernel answers for a receiver that must not have the message. */
  refuse(item: Item, error: Fault): void {
    if (item.what === 'message' && item.request !== null) this.#settle(item.request, error)
  }

  /** The kernel gave up one of the actor's own requests. */
  withdraw(request: Request): void {
    const target = this.#composition.members.get(request.target as string)
    if (target) this.#push(target.mailbox, this.#composition.channels.withdraw(request.request as number))
  }

  /** The actor ended: the kernel answers for it and cancels what it had asked of others. */
  abandon(old: Local, waiting: readonly Item[]): void {
    for (const request of old.open) this.#settle(request, failure('actor-down'))
    for (const item of old.pending)
      if (item.what === 'request' && item.target !== undefined && !item.cancelled && !answers(waiting, item.request)) this.withdraw(item)
  }

  #send(message: Extract<Outgoing, { type: 'send' }>): void {
    const { to, kind, body, ref, caps = [] } = message
    const member = this.#member
    if (typeof to === 'string' && !this.#leadsInside(to)) {
      this.sent.push({ to: `(${to})`, kind, what: 'send' })
      return
    }
    // A number that only somebody outside gave leads outside; there is none for what was taken back before it came.
    if (typeof to === 'number' && to >= 0 && !this.#holds(to)) {
      this.sent.push({ to: '(outside)', kind, what: 'send' })
      return
    }
    const routed = this.#composition.capabilities.send(this.state, member.id, to, kind, caps)
    if (routed.ok && routed.target === kernelId) return this.#control(message, routed)
    const request = ref === undefined ? null : this.#open(ref, kind)
    if (!routed.ok) {
      if (request !== null) this.#claim(ref as string, request, member.id)
      if (request !== null) this.#answerOwn(request, ref as string, kind, routed.error)
      this.sent.push({ to: `${to} (refused: ${routed.error.code})`, kind, what: 'send' })
      return
    }
    const target = this.#composition.members.get(routed.target)
    this.sent.push({ to: routed.target, kind, what: 'send' })
    this.state = routed.state
    if (!target) return
    if (request !== null) this.#claim(ref as string, request, target.id)
    const { channels } = this.#composition
    const item: Item = { what: 'message', from: member.id, kind, body, request, badge: routed.badge, cap: routed.cap, caps: routed.caps }
    // A full mailbox is a refusal the sender sees; without a request there is nobody to tell.
    const orElse =
      request === null
        ? { component: target.mailbox, op: channels.nothing() }
        : {
            component: member.mailbox,
            op: channels.append({ what: 'refused', request, ref: ref as string, kind, error: failure('overloaded') }),
          }
    this.operations.push({ component: target.mailbox, op: channels.append(item), orElse })
  }

  /** A name that was not wired may have been given later. */
  #leadsInside(slot: string): boolean {
    const wired = this.#member.part.grants?.[slot]?.to
    if (wired === undefined) return this.#holds(slot)
    return wired === kernelId ? this.#composition.instances !== null : this.#composition.members.has(wired)
  }

  /** The kernel does what it is asked before anything else happens, and answers. */
  #control({ kind, body, ref }: Extract<Outgoing, { type: 'send' }>, routed: Extract<Routed, { ok: true }>): void {
    const { capabilities, instances, requests, channels } = this.#composition
    const { id, mailbox } = this.#member
    const asked = { kind, body: body as Readonly<Record<string, unknown>>, caps: routed.caps }
    const done = capabilities.control(routed.state, id, asked, instances ?? {})
    this.state = 'code' in done ? routed.state : done.state
    this.sent.push({ to: kernelId, kind, what: 'send' })
    if (ref === undefined) return
    // Answered before it can be given up, so that one number is enough.
    const request = firstRequest + requests.add(`${id}\n${ref}`, () => ({ from: id, ref }))
    this.#claim(ref, request, kernelId)
    if ('code' in done) return this.#answerOwn(request, ref, kind, done)
    const installed = capabilities.install(this.state, id, done.caps)
    this.state = installed.state
    this.#push(mailbox, channels.append({ what: 'replied', request, ref, kind, body: done.body, slots: installed.slots }))
  }

  #holds(slot: number | string): boolean {
    return this.#composition.capabilities.holds(this.state, this.#member.id, slot)
  }

  /** A number for a request: who asked and under which ref, alternating so that an earlier one is told from the next. */
  #open(ref: string, _kind: string): number {
    const generation = this.local.generations?.[ref] === 0 ? 1 : 0
    this.local = { ...this.local, generations: { ...this.local.generations, [ref]: generation } }
    const from = this.#member.id
    return firstRequest + this.#composition.requests.add(`${from}\n${ref}\n${generation}`, () => ({ from, ref }))
  }

  #claim(ref: string, request: number, target: string): void {
    const index = this.local.pending.findLastIndex((item) => item.what === 'request' && item.ref === ref && item.request === undefined)
    if (index < 0) return
    const item = this.local.pending[index] as Request
    this.local = { ...this.local, pending: this.local.pending.with(index, { ...item, request, target }) }
  }

  #cancel(item: Request): void {
    if (answers(this.#waiting, item.request)) return
    this.withdraw(item)
    this.#answerOwn(item.request as number, item.ref, item.kind, failure('cancelled'))
  }

  #answerOwn(request: number, ref: string, kind: string, error: Fault): void {
    const { channels } = this.#composition
    this.#push(this.#member.mailbox, channels.append({ what: 'refused', request, ref, kind, error }))
  }

  #answer(message: Extract<Outgoing, { type: 'reply' | 'refuse' | 'partTo' }>): void {
    const asked = this.#asked(message.request)
    if (!asked) return
    const { requester, ref } = asked
    const { channels, capabilities } = this.#composition
    const { request } = message
    if (message.type === 'refuse') return this.#settle(request, message.error)
    if (message.type === 'partTo') {
      this.sent.push({ to: requester.id, kind: ref, what: 'part' })
      return this.#push(requester.mailbox, channels.append({ what: 'part', request, ref, kind: '', body: message.body }))
    }
    const handed = capabilities.hand(this.state, this.#member.id, message.caps ?? [])
    if ('code' in handed) return this.#settle(request, handed)
    const installed = capabilities.install(handed.state, requester.id, handed.caps)
    this.state = installed.state
    this.sent.push({ to: requester.id, kind: ref, what: 'reply' })
    this.#push(requester.mailbox, channels.append({ what: 'replied', request, ref, kind: '', body: message.body, slots: installed.slots }))
  }

  #settle(request: number, error: Fault): void {
    const asked = this.#asked(request)
    if (!asked) return
    this.sent.push({ to: asked.requester.id, kind: `${asked.ref} ${error.code}`, what: 'refuse' })
    this.#push(asked.requester.mailbox, this.#composition.channels.append({ what: 'refused', request, ref: asked.ref, kind: '', error }))
  }

  #asked(request: number): { requester: Member; ref: string } | null {
    if (request < firstRequest) return null
    const { from, ref } = this.#composition.requests.get(request - firstRequest)
    const requester = this.#composition.members.get(from)
    return requester ? { requester, ref } : null
  }

  #push(component: number, op: number): void {
    this.operations.push({ component, op })
  }
}

function answers(waiting: readonly Item[], request: number | undefined): boolean {
  return waiting.some((item) => (item.what === 'replied' || item.what === 'refused') && item.request === request)
}
