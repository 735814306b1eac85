/**
 * What the properties would miss: breaks the machine in one place after another and checks each mutant. A mutant that breaks no property is
 * a survivor: either nothing a property says depends on that place, or the place makes no difference.
 *
 *   guard    always true, always false
 *   target   the transition stays where it is
 *   actions  one action of a transition, entry or exit is left out
 */
import { type AnyStateMachine, StateMachine } from 'xstate'
import { type CheckLimits, check } from './explore.ts'
import type { Model } from './model.ts'

export type Mutant = { place: string; change: string; machine: AnyStateMachine }
export type MutantVerdict = { place: string; change: string; killedBy: string | null; states: number }

type Config = { [key: string]: unknown }
type Edit = { place: string; change: string; apply(config: Config): void }

/** Every single change of the machine's config, as functions that make it in a copy. */
export function mutants(machine: AnyStateMachine): Mutant[] {
  const config = machine.config as unknown as Config
  return editsOf(config, [], machine.id).map(({ place, change, apply }) => {
    const copy = clone(config) as Config
    apply(copy)
    return { place, change, machine: new StateMachine(copy as never, machine.implementations as never) as unknown as AnyStateMachine }
  })
}

function editsOf(node: Config, path: readonly string[], name: string): Edit[] {
  const at = (config: Config): Config => path.reduce<Config>((inner, key) => inner[key] as Config, config)
  const edits: Edit[] = []
  for (const moment of ['entry', 'exit'])
    for (const [index, action] of listOf(node[moment]).entries())
      edits.push({
        place: `${name} ${moment}`,
        change: `without ${actionName(action)}`,
        apply: (config) => void (at(config)[moment] = listOf(at(config)[moment]).toSpliced(index, 1)),
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
  if (found['guard'] !== undefined) {
    edits.push({
      place: place + nth,
      change: `guard ${actionName(found['guard'])} always true`,
      apply: (config) => change(config, (item) => delete item['guard']),
    })
    edits.push({
      place: place + nth,
      change: `guard ${actionName(found['guard'])} always false`,
      apply: (config) => change(config, (item) => void (item['guard'] = () => false)),
    })
  }
  if (found['target'] !== undefined)
    edits.push({
      place: place + nth,
      change: `does not go to ${JSON.stringify(found['target'])}`,
      apply: (config) => change(config, (item) => delete item['target']),
    })
  for (const [position, action] of listOf(found['actions']).entries())
    edits.push({
      place: place + nth,
      change: `without ${actionName(action)}`,
      apply: (config) => change(config, (item) => void (item['actions'] = listOf(item['actions']).toSpliced(position, 1))),
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

/**
 * @param limits for each mutant; a search that is cut short counts as a survivor, because nothing was shown
 * @param told one line a mutant
 */
export function mutate(
  model: Model,
  limits: CheckLimits,
  told: (verdict: MutantVerdict, done: number, of: number) => void = () => {},
): MutantVerdict[] {
  const all = mutants(model.machine)
  return all.map(({ place, change, machine }, index) => {
    const verdict = judge({ ...model, machine }, limits, place, change)
    told(verdict, index + 1, all.length)
    return verdict
  })
}

function judge(model: Model, limits: CheckLimits, place: string, change: string): MutantVerdict {
  try {
    const { violations, states } = check(model, { ...limits, stopAtFirst: true })
    const [first] = violations
    return { place, change, killedBy: first ? `${first.kind}: ${first.property}` : null, states }
  } catch (error) {
    // A machine that cannot even start is no better than one that breaks a rule.
    return { place, change, killedBy: `does not start: ${error instanceof Error ? error.message : String(error)}`, states: 0 }
  }
}
