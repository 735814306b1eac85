/**
 * What the properties would miss: breaks the machine in one place after another and checks each mutant. One that breaks no property
 *
 *   is equivalent   the model gets to the place, and nothing that it can see is otherwise (lockstep.ts): at its bounds the place makes no difference
 *   survives        it can be told from the machine, and no property does; or the model never gets to the place
 *
 * What is changed:
 *
 *   guard    always true, always false
 *   target   the transition stays where it is
 *   actions  one action of a transition, entry or exit is left out
 */
import { and, type AnyStateMachine, assign, not, or, StateMachine } from 'xstate'
import { type CheckLimits, check } from './explore.ts'
import { compareMachines, type Difference } from './lockstep.ts'
import type { Model } from './model.ts'

export type MutantVerdict = {
  place: string
  change: string
  fate: 'killed' | 'equivalent' | 'survives'
  killedBy: string | null
  states: number
  /** Of a survivor: how it can be told from the machine; null where no model gets to the place, or none was searched far enough. */
  difference?: Difference | null
}

type Limits = CheckLimits & { maxStates: number }

/** A mutant that needs more states than this to be told apart is left as a survivor. */
export const perMutant: Limits = { maxStates: 50_000 }

type Config = { [key: string]: unknown }
/** `mark`: leaves the machine as it is, but that it tells when the place is come to where the change makes it do otherwise. */
type Edit = { place: string; change: string; apply(config: Config): void; mark(config: Config, tell: () => void): void }

/** The machine with some places of its config changed, in a copy. */
function edited({ config, implementations }: AnyStateMachine, edit: (config: Config) => void): AnyStateMachine {
  const copy = clone(config) as Config
  edit(copy)
  return new StateMachine(copy as never, implementations as never) as unknown as AnyStateMachine
}

const allEdits = (machine: AnyStateMachine): Edit[] => editsOf(machine.config as unknown as Config, [], machine.id)

/** Each machine with one place broken. */
export function mutants(machine: AnyStateMachine): Pick<Mutant, 'place' | 'change' | 'machine'>[] {
  return allEdits(machine).map(({ place, change, apply }) => ({ place, change, machine: edited(machine, apply) }))
}

const telling = (tell: () => void): unknown =>
  assign(() => {
    tell()
    return {}
  })

function editsOf(node: Config, path: readonly string[], name: string): Edit[] {
  const at = (config: Config): Config => path.reduce<Config>((inner, key) => inner[key] as Config, config)
  const edits: Edit[] = []
  for (const moment of ['entry', 'exit'])
    for (const [index, action] of listOf(node[moment]).entries())
      edits.push({
        place: `${name} ${moment}`,
        change: `without ${actionName(action)}`,
        apply: (config) => void (at(config)[moment] = listOf(at(config)[moment]).toSpliced(index, 1)),
        mark: (config, tell) => void (at(config)[moment] = [telling(tell), ...listOf(at(config)[moment])]),
      })
  for (const group of ['on', 'after', 'always', 'onDone']) {
    const found = node[group]
    if (found === undefined) continue
    const named: [string, unknown, readonly string[]][] =
      group === 'on' || group === 'after'
        ? Object.entries(found as Config).map(([key, value]) => [`${group} ${key}`, value, [...path, group, key]])
        : [[group, found, [...path, group]]]
    for (const [label, value, where] of named)
      for (const [index, transition] of listOf(value).entries())
        edits.push(...transitionEdits(`${name} ${label}`, transition, where, index))
  }
  for (const [key, child] of Object.entries((node['states'] ?? {}) as Config))
    edits.push(...editsOf(child as Config, [...path, 'states', key], `${name}.${key}`))
  return edits
}

function transitionEdits(place: string, transition: unknown, where: readonly string[], index: number): Edit[] {
  /** Transitions are written as a target, an object or a list: a mutant has a list. */
  const change = (config: Config, edit: (transition: Config) => void): void => {
    const holder = where.slice(0, -1).reduce<Config>((inner, key) => inner[key] as Config, config)
    const key = where.at(-1) as string
    const list = listOf(holder[key]).map((item) => (typeof item === 'string' ? { target: item } : { ...(item as Config) }))
    edit(list[index] as Config)
    holder[key] = list
  }
  const found: Config = typeof transition === 'string' ? { target: transition } : ((transition ?? {}) as Config)
  const edits: Edit[] = []
  const nth = index === 0 ? '' : ` (${index + 1})`
  const taken: Edit['mark'] = (config, tell) =>
    change(config, (item) => void (item['actions'] = [telling(tell), ...listOf(item['actions'])]))
  const refused: Edit['mark'] = (config, tell) =>
    change(config, (item) => {
      const guard = item['guard'] as never
      const tells = (): boolean => {
        tell()
        return false
      }
      item['guard'] = or([and([not(guard), tells]), guard])
    })
  if (found['guard'] !== undefined) {
    edits.push({
      place: place + nth,
      change: `guard ${actionName(found['guard'])} always true`,
      apply: (config) => change(config, (item) => delete item['guard']),
      mark: refused,
    })
    edits.push({
      place: place + nth,
      change: `guard ${actionName(found['guard'])} always false`,
      apply: (config) => change(config, (item) => void (item['guard'] = () => false)),
      mark: taken,
    })
  }
  if (found['target'] !== undefined)
    edits.push({
      place: place + nth,
      change: `does not go to ${JSON.stringify(found['target'])}`,
      apply: (config) => change(config, (item) => delete item['target']),
      mark: taken,
    })
  for (const [position, action] of listOf(found['actions']).entries())
    edits.push({
      place: place + nth,
      change: `without ${actionName(action)}`,
      apply: (config) => change(config, (item) => void (item['actions'] = listOf(item['actions']).toSpliced(position, 1))),
      mark: taken,
    })
  return edits
}

function listOf(value: unknown): unknown[] {
  if (value === undefined) return []
  return Array.isArray(value) ? (value as unknown[]) : [value]
}

function actionName(action: unknown): string {
  if (typeof action === 'string') return action
  const { type, params } = action as { type?: unknown; params?: unknown }
  const given = typeof params === 'object' && params !== null ? ` ${JSON.stringify(params)}` : ''
  return typeof type === 'string' ? `${type}${given}` : 'an inline function'
}

/** Functions are shared, the rest is copied. */
function clone(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(clone)
  if (typeof value !== 'object' || value === null) return value
  const proto = Object.getPrototypeOf(value) as unknown
  if (proto !== Object.prototype && proto !== null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, clone(item)]))
}

/** The mutants of a machine, each judged when it is asked for. */
type Judging = { count: number; verdict(index: number): MutantVerdict }

/**
 * @param models of one machine: a mutant that breaks a property of any of them is killed
 * @param limits for each mutant and model; a search that is cut short kills nothing, because nothing was shown
 */
export function judging(models: Model | readonly Model[], limits: Limits): Judging {
  const judges = [models].flat() as Model[]
  const { actor, machine } = judges[0] as Model
  for (const model of judges) {
    const { violations } = check(model, { ...limits, stopAtFirst: true })
    // Whatever were done to the machine, it would look killed.
    if (violations[0]) throw new Error(`${actor}: "${violations[0].property}" is broken already; its mutants would say nothing.`)
  }
  const original = machine as AnyStateMachine
  const edits = allEdits(original)
  const places = judges.map((model) => ({ model, ...reachedBy(model, edits, limits.maxStates) }))
  return {
    count: edits.length,
    verdict(index) {
      const edit = edits[index]
      if (!edit) throw new Error(`${actor} has no mutant ${index}.`)
      // A model that never gets to the place cannot tell the mutant from the machine.
      const concerned = places.filter(({ reached, all }) => !all || reached.has(edit))
      const isReached = places.some(({ reached }) => reached.has(edit))
      return judge(
        concerned.map(({ model }) => model),
        limits,
        { ...edit, machine: edited(original, edit.apply), isReached },
      )
    },
  }
}

/** The edits whose places a model gets to. `all`: every state was looked at. */
function reachedBy(model: Model, edits: readonly Edit[], maxStates: number): { reached: ReadonlySet<Edit>; all: boolean } {
  const reached = new Set<Edit>()
  const marked = edited(model.machine as AnyStateMachine, (config) => {
    for (const edit of edits) edit.mark(config, () => void reached.add(edit))
  })
  const { verdict } = compareMachines({ ...model, machine: marked }, marked, maxStates)
  return { reached, all: verdict === 'equal' }
}

/** All mutants, one after another. */
export function mutate(models: Model | readonly Model[], limits: Limits): MutantVerdict[] {
  const { count, verdict } = judging(models, limits)
  return Array.from({ length: count }, (_, index) => verdict(index))
}

type Mutant = { place: string; change: string; machine: AnyStateMachine; isReached: boolean }

function judge(models: readonly Model[], limits: Limits, mutant: Mutant): MutantVerdict {
  const { place, change, machine, isReached } = mutant
  let states = 0
  let undecided = false
  let difference: Difference | null = null
  for (const model of models) {
    const compared = compareMachines(model, machine, limits.maxStates)
    states += compared.pairs
    // No property can tell what cannot be told apart.
    if (compared.verdict === 'equal') continue
    if (compared.verdict === 'unknown') undecided = true
    else difference ??= compared.difference
    const found = broken({ ...model, machine }, limits)
    states += found.states
    if (found.by !== null) return { place, change, fate: 'killed', killedBy: found.by, states }
  }
  const survivor = { place, change, killedBy: null, states }
  if (difference !== null || undecided) return { ...survivor, fate: 'survives', difference }
  return isReached ? { ...survivor, fate: 'equivalent' } : { ...survivor, fate: 'survives', difference: null }
}

function broken(model: Model, limits: CheckLimits): { by: string | null; states: number } {
  try {
    const { violations, states } = check(model, { ...limits, stopAtFirst: true })
    const [first] = violations
    return { by: first ? `${first.kind}: ${first.property}` : null, states }
  } catch (error) {
    // A machine that cannot even start is no better than one that breaks a rule.
    return { by: `does not start: ${error instanceof Error ? error.message : String(error)}`, states: 0 }
  }
}
