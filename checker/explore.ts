/**
 * Checks a model or a system: searches every state, asks every property, and says what it found.
 *
 * Built in, besides the model's own: no step throws; no request is answered twice or by a number that is not open; nothing ends in a state
 * where nothing can happen unless the model says it may.
 */
import type { AnyStateMachine } from 'xstate'
import type { Stepper } from '../kernel/stepper.ts'
import { compose } from './compose.ts'
import { temporal } from './liveness.ts'
import type { Model } from './model.ts'
import type { Product } from './product.ts'
import { ampleChoice, whyNotReduced } from './reduce.ts'
import { type Found, search } from './search.ts'
import type { Violation } from './trace.ts'
import { canonicalForm } from './symmetry.ts'
import { alone, type SystemModel } from './system.ts'
import { createTables, type Tables } from './tables.ts'

export type PropertyKind = 'always' | 'steps' | 'sometimes' | 'eventually' | 'leadsTo' | 'possible'
export type CheckResult = {
  /** The actor, system or published model. */
  name: string
  states: number
  /** Steps from distinct states, those that change nothing included. TLC's "states generated" is this plus the initial states. */
  transitions: number
  depth: number
  /** False when a limit stopped the search: then nothing is proved beyond what was seen. */
  complete: boolean
  stopped: Found['stopped']
  /** Which reductions were on. */
  reduced: readonly ('order' | 'symmetry')[]
  /** `vacuous`: it holds, but for want of cases. */
  properties: { name: string; kind: PropertyKind; held: boolean; vacuous?: true }[]
  violations: Violation[]
  /** Names of properties that were not asked, and why. */
  notAsked: { names: readonly string[]; why: string } | null
  /** Why a reduction that was wanted was not made. */
  notReduced: string | null
  ms: number
  /** Local transitions computed; all others came from tables. */
  expansions: number
  bytes: number
}

export type CheckLimits = {
  maxStates?: number
  maxBytes?: number
  order?: 'breadth' | 'depth'
  stopAtFirst?: boolean
  /** Partial-order reduction: keeps deadlocks and properties of single actors' states (reduce.ts). */
  reduceOrder?: boolean
  /** One state for all that a renaming of `symmetric` actors makes of it. */
  reduceSymmetry?: boolean
  onProgress?: (states: number, depth: number) => void
  /** Asks nothing that needs the whole graph; the result names what was not asked. */
  skipTemporal?: boolean
  /** What steps the machines. Default: what runs in production. */
  stepper?: (machine: AnyStateMachine) => Stepper
}

export function check(subject: Model | SystemModel | Product, limits: CheckLimits = {}): CheckResult {
  return examine(subject, limits).result
}

/** `check`, with what was found and the tables, for those who go on from there: exports, the explorer, conformance. */
export function examine(
  subject: Model | SystemModel | Product,
  limits: CheckLimits = {},
): { result: CheckResult; found: Found; tables: Tables } {
  const started = performance.now()
  const { maxStates = 5_000_000, reduceOrder = false, reduceSymmetry = false, skipTemporal = false, stepper: _, ...options } = limits
  const whole = productOf(subject, limits)
  const product = skipTemporal ? { ...whole, temporal: [] } : whole
  const tables = createTables(product)
  if ((reduceOrder || reduceSymmetry) && product.temporal.length > 0)
    throw new Error(`${product.name}: temporal properties are asked of the whole graph; check it without reduction.`)
  const found = search(tables, {
    ...options,
    maxStates,
    // The graph is kept in the order of states, which is the order of a search by breadth.
    ...(product.temporal.length > 0 ? { order: 'breadth' } : {}),
    keepEdges: product.temporal.length > 0,
    ...(reduceSymmetry ? { canonical: canonicalForm(product) } : {}),
    ...(reduceOrder ? { ample: ampleChoice(tables) } : {}),
  })
  const violations = [...found.violations]
  const answers = found.complete ? temporal(tables, found) : { results: [], violations: [] }
  violations.push(...answers.violations)
  const result: CheckResult = {
    name: product.name,
    states: found.states,
    transitions: found.transitions,
    depth: found.depth,
    complete: found.complete,
    stopped: found.stopped,
    reduced: [
      ...(reduceOrder && whyNotReduced(product) === null ? (['order'] as const) : []),
      ...(reduceSymmetry && product.symmetry ? (['symmetry'] as const) : []),
    ],
    properties: [...verdicts(product, tables.reached, found.violations), ...answers.results],
    violations,
    notAsked: product.temporal.length < whole.temporal.length ? notAsked(whole) : null,
    notReduced: reduceOrder ? whyNotReduced(product) : reduceSymmetry && !product.symmetry ? 'it names no actors that are alike' : null,
    ms: performance.now() - started,
    expansions: tables.counters.expansions,
    bytes: found.arena.bytes,
  }
  return { result, found, tables }
}

/** What a search says of each property that is not temporal. */
export function verdicts(product: Product, reached: ReadonlySet<string>, violations: readonly Violation[]): CheckResult['properties'] {
  const broken = new Set(violations.map(({ property }) => property))
  return [
    ...product.properties.map(({ name, kind }) => ({ name, kind, held: kind === 'sometimes' ? reached.has(name) : !broken.has(name) })),
    ...product.stepProperties.map((name) => ({ name, kind: 'steps' as const, held: !broken.has(name) })),
  ]
}

export function notAsked({ temporal: asked }: Product): CheckResult['notAsked'] {
  return asked.length === 0 ? null : { names: asked.map(({ name }) => name), why: 'they are asked of the whole graph' }
}

export function productOf(subject: Model | SystemModel | Product, options: Pick<CheckLimits, 'stepper'> = {}): Product {
  if ('rules' in subject) return subject
  const { stepper } = options
  return compose('system' in subject ? subject : alone(subject), stepper ? { stepper } : {})
}
