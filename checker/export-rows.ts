/** A product that was explored, as rows: the common ground of the exports. Local values are their numbers; a comment says what each stands for. */
import { createStates } from './product.ts'
import type { Found } from './search.ts'
import type { Compiled, Tables } from './tables.ts'

export type Exported = {
  name: string
  /** One variable a component that ever changes; the others are left out. */
  variables: { component: number; name: string; identifier: string; size: number; values: readonly string[] }[]
  initial: readonly (readonly number[])[]
  rows: Row[]
  /** Results of operations by component and operation; -1: not possible. */
  operations: ReadonlyMap<string, ReadonlyMap<number, number>>
  /** Conditions of `always` that can be said of one variable, and the states (whole) that break another one. */
  forbidden: { property: string; states: readonly (readonly Condition[])[] }[]
  states: number
  terminal: number
}
export type Condition = readonly [component: number, id: number]
export type Row = { label: string; when: readonly Condition[]; compiled: Compiled }

/** States named one by one when a property of the whole is broken; a file with more would help nobody. */
const maxNamed = 200

/** @throws when the search was not complete: then rows are missing */
export function exported(tables: Tables, found: Found): Exported {
  if (!found.complete) throw new Error('Only a model that was explored to the end can be exported.')
  const { product } = tables
  const varies = product.components.map(() => false)
  const used = product.components.map(() => new Set<number>())
  const ids = new Int32Array(product.components.length)
  const first = found.state(0)
  const rows: Row[] = []
  const direct = product.rules.flatMap((rule, index) => (rule.direct ? [index] : []))
  let terminal = 0
  const broken = new Map<string, (readonly Condition[])[]>()
  for (let state = 0; state < found.states; state++) {
    found.arena.unpack(state, ids)
    for (const [i, id] of ids.entries()) {
      if (id !== first[i]) varies[i] = true
      used[i]?.add(id)
    }
    let successors = 0
    for (const bundle of tables.bundles) successors += tables.allowed(bundle, ids).filter((compiled) => !compiled.outcome.dead).length
    if (successors === 0) terminal++
    for (const rule of direct)
      for (const compiled of tables.outcomes(rule, ids))
        rows.push({ label: labelOf(compiled), when: [...ids].map((id, component): Condition => [component, id]), compiled })
  }
  for (const { rule, ids: read, outcomes } of tables.rows()) {
    const { reads } = product.rules[rule] as (typeof product.rules)[number]
    if (reads.some((component, i) => !used[component]?.has(read[i] as number))) continue
    for (const compiled of outcomes)
      if (!compiled.outcome.dead)
        rows.push({ label: labelOf(compiled), when: reads.map((component, i): Condition => [component, read[i] as number]), compiled })
  }
  const operations = new Map<string, Map<number, number>>()
  for (const [component, op, id, after] of tables.operations()) {
    const key = `${component} ${op}`
    const table = operations.get(key) ?? new Map<number, number>()
    table.set(id, after)
    operations.set(key, table)
  }
  for (const violation of found.violations.filter(({ kind }) => kind === 'always')) {
    const property = product.properties.find(({ name }) => name === violation.property)
    if (property) broken.set(property.name, statesBreaking(tables, found, property.name))
  }
  const keep = (conditions: readonly Condition[]): Condition[] => conditions.filter(([component]) => varies[component])
  return {
    name: product.name,
    variables: product.components.flatMap((component, index) =>
      varies[index]
        ? [
            {
              component: index,
              name: component.name,
              identifier: `${component.name.replaceAll(/\W+/g, '_').replace(/^(?=\d)/, 'v')}_${index}`,
              size: component.size(),
              values: [...(used[index] as Set<number>)].toSorted((a, b) => a - b).map((id) => `${id} = ${short(component.value(id))}`),
            },
          ]
        : [],
    ),
    initial: product.initial,
    rows: rows.map((row) => ({ ...row, when: keep(row.when) })),
    operations,
    forbidden: [...broken].map(([property, states]) => ({ property, states: states.map(keep) })),
    states: found.states,
    terminal,
  }
}

function statesBreaking(tables: Tables, found: Found, name: string): (readonly Condition[])[] {
  const { product } = tables
  const states: (readonly Condition[])[] = []
  const property = product.properties.find((other) => other.name === name)
  const { look: view } = createStates(product)
  for (let state = 0; state < found.states && states.length < maxNamed; state++) {
    const ids = found.state(state)
    if (property && !property.holds(view(ids))) states.push([...ids].map((id, component): Condition => [component, id]))
  }
  return states
}

const labelOf = ({ outcome }: Compiled): string => `${outcome.info.actor}: ${outcome.info.label}`.replaceAll(/[^\w .:,()<>=+-]/g, ' ')

function short(value: unknown): string {
  const text = JSON.stringify(value, (key, item: unknown) => (key === 'snapshot' ? undefined : item)) ?? String(value)
  return (text.length > 160 ? `${text.slice(0, 160)}…` : text).replaceAll('*/', '* /')
}
