/** What the explorer's page asks: a state, the steps enabled in it, what each changes. A place is a path: the numbers of the steps taken from the first state. */
import type { AnyStateMachine } from 'xstate'
import { traceMermaid } from '../counterexample.ts'
import { check, type CheckResult, productOf } from '../explore.ts'
import { type Change, differences } from './differences.ts'
import type { Model } from '../model.ts'
import { createStates, type Product, written } from '../product.ts'
import type { TraceStep } from '../trace.ts'
import type { SystemModel } from '../system.ts'
import { type Compiled, createTables } from '../tables.ts'

export type Choice = {
  index: number
  actor: string
  label: string
  value: string | null
  sent: readonly string[]
  changes: Change[]
  broken: string | null
}
export type Place = {
  path: number[]
  state: Record<string, unknown>
  taken: { actor: string; label: string; changes: Change[] }[]
  choices: Choice[]
  /** Properties of states, and whether they hold here. */
  holds: { name: string; kind: string; here: boolean }[]
  diagram: string
}
export type Overview = {
  name: string
  result: CheckResult
  violations: { kind: string; property: string; path: number[] }[]
  charts: { actor: string; chart: Chart }[]
}
/** A machine as boxes and arrows, for the statechart picture. */
export type Chart = {
  states: { id: string; parent: string | null; initial: boolean }[]
  arrows: { from: string; to: string; label: string }[]
}

export type Walk = ReturnType<typeof createWalk>

/** Steps listed at once: more than anybody reads, and a bound on what a page must draw. */
const maxChoices = 200

export function createWalk(subject: Model | SystemModel | Product, maxStates: number) {
  const product = productOf(subject)
  const tables = createTables(product)
  const { look } = createStates(product)

  function steps(ids: Int32Array): { compiled: Compiled; after: Int32Array }[] {
    const found: { compiled: Compiled; after: Int32Array }[] = []
    for (const bundle of tables.bundles)
      for (const compiled of tables.allowed(bundle, ids)) {
        const after = ids.slice()
        if (compiled.outcome.dead || tables.apply(compiled, after)) found.push({ compiled, after })
      }
    return found.slice(0, maxChoices)
  }

  /** @throws RangeError when the path takes a step that is not there */
  function place(path: readonly number[]): Place {
    let ids: Int32Array = Int32Array.from(product.initial[0] ?? [])
    const taken: Place['taken'] = []
    const trace: TraceStep[] = []
    for (const index of path) {
      const next = steps(ids)[index]
      if (!next) throw new RangeError(`There is no step ${index} here.`)
      const { info } = next.compiled.outcome
      taken.push({ actor: info.actor, label: info.label, changes: changes(ids, next.after) })
      trace.push({ ...info, state: {} })
      ids = next.after
    }
    return {
      path: [...path],
      state: shown(ids),
      taken,
      choices: steps(ids).map(({ compiled, after }, index) => {
        const { actor, label, value, sent = [] } = compiled.outcome.info
        return {
          index,
          actor,
          label,
          value: value === undefined ? null : JSON.stringify(value),
          sent: sent.map(({ what, kind, to }) => `${what} ${kind} to ${to}`),
          changes: changes(ids, after),
          broken: compiled.outcome.problem?.property ?? null,
        }
      }),
      holds: product.properties.map(({ name, kind, holds }) => ({ name, kind, here: holds(look(ids)) })),
      diagram: traceMermaid({ initial: {}, steps: trace }),
    }
  }

  function shown(ids: Int32Array): Record<string, unknown> {
    return plain(written(product, ids)) as Record<string, unknown>
  }

  function changes(before: Int32Array, after: Int32Array): Change[] {
    return product.components.flatMap(({ name, value }, i) =>
      before[i] === after[i] ? [] : differences(name, '', plain(value(before[i] as number)), plain(value(after[i] as number))),
    )
  }

  let overview: Overview | null = null
  return {
    place,
    /** Checked when first asked for. */
    overview(): Overview {
      if (overview) return overview
      const result = check(product, { maxStates })
      const parts =
        'rules' in subject
          ? []
          : 'system' in subject
            ? Object.entries(subject.actors).map(([id, { model }]) => [id, model] as const)
            : [[subject.actor, subject] as const]
      overview = {
        name: product.name,
        result: { ...result, violations: [] },
        violations: result.violations.map(({ kind, property, trace }) => ({ kind, property, path: pathOf(trace.steps) })),
        charts: parts.map(([actor, { machine }]) => ({ actor, chart: chartOf(machine) })),
      }
      return overview
    },
  }

  /** Finds a counterexample's steps among those offered. */
  function pathOf(trace: readonly TraceStep[]): number[] {
    const path: number[] = []
    let ids: Int32Array = Int32Array.from(product.initial[0] ?? [])
    for (const step of trace) {
      const wanted = JSON.stringify(plain(step.state))
      const next = steps(ids)
      const index = next.findIndex(
        ({ compiled, after }) => compiled.outcome.info.label === step.label && JSON.stringify(shown(after)) === wanted,
      )
      if (index < 0) break
      path.push(index)
      ids = (next[index] as { after: Int32Array }).after
    }
    return path
  }
}

/** Without what only the engine needs. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, item: unknown) => (key === 'snapshot' || key === 'config' ? undefined : item)) ?? 'null',
  ) as unknown
}

type Node = AnyStateMachine['root']

function chartOf(machine: AnyStateMachine): Chart {
  const states: Chart['states'] = []
  const arrows: Chart['arrows'] = []
  const visit = (node: Node, parent: Node | null): void => {
    if (parent)
      states.push({ id: node.id, parent: parent.parent ? parent.id : null, initial: parent.initial.target?.includes(node) ?? false })
    for (const transition of [...node.transitions.values()].flat().concat((node.always ?? []) as never)) {
      const { eventType, target } = transition as { eventType: string; target?: readonly Node[] }
      for (const to of target ?? [])
        arrows.push({ from: node.id, to: to.id, label: eventType.replace(/^xstate\.after\.([^.]+)\..*$/, 'after $1') })
    }
    for (const child of Object.values(node.states as Record<string, Node>)) visit(child, node)
  }
  visit(machine.root, null)
  // What is handled wherever the machine is leads out of the whole of it.
  if (arrows.some(({ from }) => from === machine.root.id)) states.unshift({ id: machine.root.id, parent: null, initial: false })
  const merged = new Map<string, Chart['arrows'][number]>()
  for (const arrow of arrows) {
    const key = `${arrow.from}>${arrow.to}`
    const known = merged.get(key)
    merged.set(key, known ? { ...known, label: `${known.label}, ${arrow.label}` } : arrow)
  }
  return { states, arrows: [...merged.values()] }
}
