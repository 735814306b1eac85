/**
 * One actor of a replay: its machine as production runs it, with effects that end when the way says so, and what is known of it from outside.
 * Value and context of its state are those of the machine that runs; what is pending and open is what its steps asked for.
 */
import * as Effect from 'effect/Effect'
import type { AnyStateMachine } from 'xstate'
import { z } from 'zod'
import type { Out } from '../kernel/frames.ts'
import { createStepper, type Stepper } from '../kernel/stepper.ts'
import type { Actor, Outgoing, Protocol } from '../kernel/types.ts'
import type { NativeFrom } from '../kernel/kernel.ts'
import type { Item } from './channels.ts'
import type { StepOnTrace } from './counterexample.ts'
import { absorb, emptyLocal, type Local, type Stepped, take } from './local.ts'
import type { Event, Model, Pending } from './model.ts'
import type { SentInfo } from './product.ts'
import type { HeldPort } from './replay-port.ts'
import type { Wiring } from './system.ts'

/** Something that happened to the actor, and its state right before its machine saw it. */
export type Happened = { event: Event; before: Local }
type Running = { name: string; params: Record<string, unknown>; end(outcome: Event): void }
/** A request that left for somebody outside. `ref`: the machine's; null until the step that sent it is looked at. */
export type Asked = {
  actor: string
  kind: string
  ref: string | null
  from: NativeFrom
  answer(body: unknown, caps: number): void
  refuse(error: unknown): void
}
type Request = Extract<Pending, { what: 'request' }>
type Sent = Extract<Outgoing, { type: 'send' }>

/** No timer of Node is due later; none fires by itself. */
const never = 2 ** 31 - 1
/** Turns of the event loop within which what was begun has reached the actor. */
const maxTurns = 2_000
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Crashes are the way's, and never too many. */
const restart = { strategy: 'permanent', intensity: 1_000 } as const

export class Party {
  readonly id: string
  readonly model: Model
  readonly actor: Actor
  /** Slots that its machine names on the way and that lead outside. */
  readonly slots: readonly string[]
  readonly wired: Readonly<Record<string, Wiring>>
  local: Local
  sent: readonly SentInfo[] = []
  /** What its last step threw; null: nothing. */
  error: string | null = null
  /** Request numbers of the way to those of the kernel. */
  readonly numbers = new Map<number, number>()
  /** By number on the way. */
  readonly aborts = new Map<number, AbortController>()
  /** Its own requests: the runtime's number to what the machine calls them. */
  refs = new Map<number, { ref: string; kind: string }>()
  #port: HeldPort | null = null
  #running: Running[] = []
  readonly #stepper: Stepper
  readonly #steps: { out: readonly Out[]; sent: readonly SentInfo[]; error: string | null }[] = []
  #seen = 0

  constructor(id: string, model: Model, way: readonly StepOnTrace[], more: { mailbox: number; wired: Readonly<Record<string, Wiring>> }) {
    this.id = id
    this.model = model
    this.wired = more.wired
    const implemented = (model.machine as AnyStateMachine).implementations
    const machine = model.machine.provide({ delays: Object.fromEntries(Object.keys(implemented.delays).map((name) => [name, never])) })
    this.#stepper = createStepper(machine)
    const own = way.filter(({ actor }) => actor === id)
    const first = this.#stepper.initial(model.input)
    this.local = emptyLocal(first)
    this.slots = slotsOn(this.#stepper, model.input, way, id).filter((slot) => !Object.hasOwn(more.wired, slot))
    const names = new Set([...Object.keys(implemented.actions), ...Object.keys(model.effects)])
    this.actor = {
      manifest: {
        kind: id,
        purpose: 'replays a counterexample',
        placement: 'inline',
        cardinality: 'singleton',
        grants: [],
        permissions: () => ({}),
        permissionReasons: {},
        mailbox: more.mailbox,
        restart,
      },
      protocol: anything,
      machine,
      effects: Object.fromEntries([...names].map((name) => [name, this.#effect(name, own)])),
    }
  }

  get port(): HeldPort {
    if (!this.#port) throw new Error(`${this.id} has not started.`)
    return this.#port
  }

  /** A life begins. */
  begin(port: HeldPort): void {
    this.#port = port
    this.#running = []
    this.refs = new Map()
  }

  heard(out: readonly Out[], sent: readonly SentInfo[], note: { error: string | null } | undefined): void {
    if (note) this.#steps.push({ out, sent, error: note.error })
  }

  /** Whether its machine takes one more step. */
  async noted(): Promise<boolean> {
    for (let turns = 0; turns < maxTurns; turns++) {
      if (this.#steps.length > this.#seen) return true
      await turn()
    }
    return false
  }

  /** Looks at the step it took last. `happened`: null if a life began. */
  settle(asked: Asked[], happened: Happened | null): Stepped {
    const step = this.#steps[this.#seen++]
    const { snapshot } = this.port.host.steps
    if (!step || !snapshot) throw new Error(`${this.id} took no step.`)
    const stepped = happened ? take(this.#stepper, happened) : this.#begun()
    this.error = step.error
    this.sent = step.sent
    const { value } = snapshot
    const context: unknown = snapshot.context
    this.local = { ...stepped.next, snapshot, value, context }
    const sends = stepped.out.filter((message): message is Sent => message.type === 'send')
    const targets = step.sent.filter(({ what }) => what === 'send')
    const frames = step.out.filter((item): item is Extract<Out, { t: 'send' }> => item.t === 'send')
    for (const [i, { ref, kind }] of sends.entries()) {
      const number = frames[i]?.ref
      if (ref !== undefined && number !== undefined) this.refs.set(number, { ref, kind })
      const to = targets[i]?.to
      if (ref !== undefined && to !== undefined && !to.startsWith('(')) this.#claim(ref, to)
    }
    this.#name(asked, sends)
    return stepped
  }

  #claim(ref: string, target: string): void {
    const { pending } = this.local
    const at = pending.findLastIndex((item) => item.what === 'request' && item.ref === ref)
    if (at >= 0) this.local = { ...this.local, pending: pending.with(at, { ...(pending[at] as Request), target }) }
  }

  /** Those outside were asked in the order in which it sent. */
  #name(asked: Asked[], sends: readonly Sent[]): void {
    let next = 0
    for (const one of asked.filter(({ actor, ref }) => actor === this.id && ref === null)) {
      while (next < sends.length && sends[next]?.kind !== one.kind) next++
      one.ref = sends[next++]?.ref ?? null
      // Nobody waits for an answer to a message.
      if (one.ref === null) asked.splice(asked.indexOf(one), 1)
    }
  }

  #begun(): Stepped {
    const first = this.#stepper.initial(this.port.input)
    return absorb({ ...emptyLocal(first), sent: this.local.sent }, first, null)
  }

  count(stimulus: string): void {
    const times = this.model.stimuli.find(({ name }) => name === stimulus)?.times
    if (times === Number.POSITIVE_INFINITY) return
    const { sent } = this.local
    this.local = { ...this.local, sent: { ...sent, [stimulus]: (sent[stimulus] ?? 0) + 1 } }
  }

  /** An event that no message brings. */
  async inject(event: Event, before: Local): Promise<Happened | string> {
    this.port.host.steps.take(event, null)
    return (await this.noted()) ? { event, before } : `${this.id} did not see "${event.type}"`
  }

  /** Progress of an effect, or its end. */
  async outcome(event: Event): Promise<Happened | string> {
    const { local, model } = this
    const { ref, request, ...said } = this.translated(event) as Event
    const named = { ref, request }
    const fits = (params: Readonly<Record<string, unknown>>): boolean =>
      (['ref', 'request'] as const).every((key) => params[key] === undefined || params[key] === named[key])
    for (const [at, item] of local.pending.entries()) {
      if (item.what !== 'effect' || !fits(item.params)) continue
      const kinds = (model.effects[item.name]?.(item.params as never, local) ?? []).filter((known) => known.event.type === event.type)
      const known = kinds.find((one) => JSON.stringify(one.event) === JSON.stringify(said)) ?? kinds[0]
      if (!known) continue
      const { params } = item
      const tag = {
        ...('ref' in params ? { ref: params['ref'] } : ref === undefined ? {} : { ref }),
        ...('request' in params ? { request: params['request'] } : request === undefined ? {} : { request }),
      }
      const real = { ...said, ...tag } as Event
      if (!known.ends) return this.inject(real, local)
      const running = await this.#runningOf(item.name, params)
      if (!running) return `effect ${item.name} of ${this.id} does not run`
      running.end({ ...real, type: event.type.slice(item.name.length + 1) })
      if (!(await this.noted())) return `${this.id} did not see "${event.type}"`
      return { event: real, before: { ...local, pending: local.pending.toSpliced(at, 1) } }
    }
    return `nothing runs in ${this.id} that "${event.type}" could come of`
  }

  async #runningOf(name: string, params: unknown): Promise<Running | null> {
    const text = JSON.stringify(params)
    for (let turns = 0; turns < maxTurns; turns++) {
      const found = this.#running.find((one) => one.name === name && JSON.stringify(one.params) === text)
      if (found) return found
      await turn()
    }
    return null
  }

  #effect(name: string, way: readonly StepOnTrace[]): Actor['effects'][string] {
    return {
      outcomes: way.flatMap(({ event }) => (event?.type.startsWith(`${name}.`) ? [event.type.slice(name.length + 1)] : [])),
      run: (params: Record<string, unknown>) =>
        Effect.callback<Event>((resume) => {
          const one: Running = { name, params, end: (outcome) => resume(Effect.succeed(outcome)) }
          this.#running.push(one)
          const all = this.#running
          return Effect.sync(() => void all.splice(all.indexOf(one), 1))
        }),
    }
  }

  /** Request numbers of the way as the kernel's, also where refs are made of them. */
  translated(value: unknown): unknown {
    if (typeof value === 'number') return this.numbers.get(value) ?? value
    if (typeof value === 'string') return value.replaceAll(/\d+/g, (digits) => String(this.numbers.get(Number(digits)) ?? digits))
    if (Array.isArray(value)) return value.map((item) => this.translated(item))
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === 'type' ? item : this.translated(item)]))
  }

  /** What it was told and has not heard, as a model shows it. */
  untold(): Item[] {
    return this.port.held.map((told): Item => {
      if (told.t === 'cancel') return { what: 'cancelled', request: told.request }
      const { ref, kind } = this.refs.get(told.ref) ?? { ref: '', kind: '' }
      const about = { request: told.ref, ref, kind }
      if (told.t === 'reply') return { what: 'replied', ...about, body: told.body, slots: told.caps }
      if (told.t === 'refuse') return { what: 'refused', ...about, error: told.error }
      return { what: 'part', ...about, body: told.body }
    })
  }
}

const kind = { body: z.any(), reply: z.any(), part: z.any() }
/** The model says what is sent; whether a schema would take it is not asked. */
export const anything: Protocol = new Proxy(
  {},
  {
    get: () => kind,
    has: () => true,
    getOwnPropertyDescriptor: () => ({ value: kind, configurable: true, enumerable: true }),
  },
)

/** Names of slots that its machine sends to on the way: somebody has to be there to take it. */
function slotsOn(stepper: Stepper, input: unknown, way: readonly StepOnTrace[], id: string): string[] {
  const slots = new Set<string>()
  let { snapshot, commands } = stepper.initial(input)
  const note = (): void => {
    for (const command of commands)
      if (command.do === 'emit' && command.message.type === 'send') {
        const { to, caps = [] } = command.message
        for (const slot of [to, ...caps.map((given) => given.slot)]) if (typeof slot === 'string') slots.add(slot)
      }
  }
  note()
  for (const { actor, event, fault } of way) {
    if (fault?.do === 'crash' && fault.actor === id) ({ snapshot, commands } = stepper.initial(input))
    else if (actor === id && event)
      try {
        ;({ snapshot, commands } = stepper.step(snapshot, event))
      } catch {
        // A step that throws sends nothing.
        commands = []
      }
    else continue
    note()
  }
  return [...slots]
}
