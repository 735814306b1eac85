/**
 * What every search walks: a product of small components. A state of the whole is one small integer per component, and each integer
 * stands for a value some front end interned (a machine's local state, a mailbox's content, a variable).
 *
 *   front ends              product                     what uses it
 *   compose.ts   actors -->  components, rules,  -->  search, liveness, simulate, workers,
 *   guarded.ts   rules       operations, checks        export, explorer, replay
 *
 * A rule reads a few components and gives the outcomes possible for their values; the tables remember them, so that a front end is asked
 * once per combination and not once per state.
 */

/** What a step was, for people: kept once per outcome, never per state. */
export type StepInfo = {
  /** Whose step it is: an actor, a process of a guarded-command model, `fault`. */
  actor: string
  /** What happened, in one line: `exec from consent`, `runVm ends exited`. */
  label: string
  /** The event a machine saw. */
  event?: { type: string; [key: string]: unknown }
  /** The state value after it. */
  value?: unknown
  /** Messages that left. */
  sent?: readonly SentInfo[]
  /** The machine took no notice. */
  ignored?: true
  /** What the kernel, or somebody over it, did by itself. */
  fault?: Fault
}
export type Fault = { do: 'crash'; actor: string } | { do: 'revoke'; name: string; holder: string; slot: string } | { do: 'deadline' }
export type SentInfo = { to: string; kind: string; what: 'send' | 'reply' | 'refuse' | 'part' | 'cancel' }

/** A rule that broke inside a step rather than in a state. */
export type Problem = { kind: 'crash' | 'answers' | 'steps' | 'overflow'; property: string; detail?: string }

/** Applied to a component's value: append a message, drop one. When it cannot be (full), `orElse` happens instead. */
export type Operation = { component: number; op: number; orElse?: { component: number; op: number } }

export type Outcome = {
  info: StepInfo
  /** Fairness group of the step (`Product.groups`). */
  group: number
  /** Pairs component, new value. */
  writes: readonly number[]
  operations: readonly Operation[]
  /** Not followed further when the step itself broke a rule and led nowhere. */
  problem?: Problem
  dead?: true
}

export type Component = { name: string; size(): number; value(id: number): unknown }

export type Rule = {
  name: string
  /** Component numbers whose values `expand` is given, in this order. */
  reads: readonly number[]
  /** The process that takes the step; partial-order reduction chooses by it. */
  process: number
  expand(...ids: readonly number[]): readonly Outcome[]
  /** Set for rules that read too much for a table to pay. */
  direct?: true
}

export type Group = { name: string; fair: 'none' | 'weak' | 'strong' }

/** The values of one state by component name. Getters: only what a property reads is looked up. */
export type States = Readonly<Record<string, unknown>> & { at(component: number): unknown }

export type StateProperty = {
  name: string
  kind: 'always' | 'sometimes'
  holds(state: States): boolean
  /** The only component it reads, when there is one: then it is asked once per local value. */
  local?: number
}
export type TemporalProperty =
  | { name: string; kind: 'eventually' | 'possible'; holds(state: States): boolean }
  | { name: string; kind: 'leadsTo'; from(state: States): boolean; to(state: States): boolean }

export type Product = {
  name: string
  components: readonly Component[]
  /** Vectors of component values. */
  initial: readonly (readonly number[])[]
  rules: readonly Rule[]
  groups: readonly Group[]
  processes: readonly string[]
  /** Value of `component` after `op`, or -1 when it cannot be applied. Pure; asked once per pair. */
  next(component: number, id: number, op: number): number
  properties: readonly StateProperty[]
  temporal: readonly TemporalProperty[]
  /** Asked of every step between two states of the whole; costs a look at both. */
  transitions?: readonly { name: string; holds(before: States, step: StepInfo, after: States): boolean }[]
  /** Names of properties of steps, which outcomes report as problems, and of `transitions`. */
  stepProperties: readonly string[]
  /** A state without a successor is a deadlock unless this holds. Absent: deadlock is not asked about. */
  mayEnd?: (state: States) => boolean
  /** Faults may reach into any process at any moment. */
  faulty?: boolean
  /** Components that belong to one process alone; what partial-order reduction needs to know (reduce.ts). */
  locality?: { mailboxOf: readonly (number | null)[]; ownerOf: readonly (number | null)[]; fifo: boolean }
  /** Interchangeable processes and how a renaming of them acts on values (symmetry.ts). */
  symmetry?: Symmetry
}

export type Symmetry = {
  /** For each interchangeable process the components it owns, in corresponding order. */
  replicas: readonly (readonly number[])[]
  /** The value of `component` after replica i was renamed to `to[i]`; the result is a value of the corresponding component. */
  rename(component: number, id: number, to: readonly number[]): number
  /** What a value says of one replica, the others left nameless: equal for replicas the value does not tell apart. */
  signature(component: number, id: number, replica: number): number
}

/** Numbers for values, by a canonical key; equal keys are one value. */
export class Interner<T> {
  readonly values: T[] = []
  readonly #ids = new Map<string, number>()

  add(key: string, make: () => T): number {
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    const id = this.values.length
    this.#ids.set(key, id)
    this.values.push(make())
    return id
  }
  get size(): number {
    return this.values.length
  }
  get(id: number): T {
    return this.values[id] as T
  }
}

const texts = new WeakMap<object, string>()

/**
 * JSON with keys in one order: objects are built in many. What is frozen cannot change, so its text is kept; machines share most of their
 * context from step to step.
 */
export function canonical(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value !== 'object' || value === null) return typeof value === 'number' || typeof value === 'boolean' ? `${value}` : 'null'
  const frozen = Object.isFrozen(value)
  const known = frozen ? texts.get(value) : undefined
  if (known !== undefined) return known
  const text = Array.isArray(value) ? `[${value.map(canonical).join()}]` : `{${members(value as Record<string, unknown>)}}`
  if (frozen) texts.set(value, text)
  return text
}

function members(record: Record<string, unknown>): string {
  let text = ''
  for (const name of Object.keys(record).toSorted()) {
    const value = record[name]
    if (value === undefined) continue
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${canonical(value)}`
  }
  return text
}

/** A state for properties to read: by name, or by component number where that has to be fast. One object, pointed at one state after another. */
class View {
  ids: ArrayLike<number>
  readonly #components: readonly Component[]
  readonly #seen: Uint8Array
  constructor(components: readonly Component[], ids: ArrayLike<number>, seen: Uint8Array) {
    this.#components = components
    this.ids = ids
    this.#seen = seen
    // Getters on the object itself would make it slow to read.
    Object.setPrototypeOf(this, byName(components))
  }
  at(component: number): unknown {
    this.#seen[component] = 1
    return (this.#components[component] as Component).value(this.ids[component] as number)
  }
}

function byName(components: readonly Component[]): object {
  const named = Object.create(View.prototype) as object
  for (const [index, { name }] of components.entries())
    Object.defineProperty(named, name, {
      enumerable: true,
      get(this: View) {
        return this.at(index)
      },
    })
  return named
}

/** `look(ids)` points the view at a state; `seen` gets a 1 for each component that is looked at. */
export function createStates(
  product: Product,
  seen: Uint8Array = new Uint8Array(product.components.length),
): { look(ids: ArrayLike<number>): States } {
  const view = new View(product.components, product.initial[0] ?? [], seen)
  return {
    look(ids) {
      view.ids = ids
      return view as unknown as States
    },
  }
}

/** The state written out, for traces. */
export function written(product: Product, ids: ArrayLike<number>): Record<string, unknown> {
  return Object.fromEntries(product.components.map((component, index) => [component.name, component.value(ids[index] as number)]))
}
