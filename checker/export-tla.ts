/**
 * TLA+ of an explored model, for TLC and its distributed mode. TLC's distinct states are our states; `CHECK_DEADLOCK` finds states without
 * a successor.
 *
 *   java -cp tla2tools.jar tlc2.TLC -deadlock Model.tla        (one machine)
 *   java -cp tla2tools.jar tlc2.tool.distributed.TLCServer Model.tla   (several: start TLCWorker on each)
 */
import type { Exported, Row } from './export-rows.ts'

export type TlaFiles = { module: string; name: string; config: string }

export function tla(model: Exported): TlaFiles {
  const { variables, operations, initial, rows, forbidden } = model
  const named = new Map(variables.map(({ component, identifier }) => [component, `v_${identifier}`]))
  const module = model.name.replaceAll(/\W+/g, '_').replace(/^(?=\d)/, 'M')
  const names = [...named.values()]
  const definitions: string[] = []
  const defined = new Set<string>()

  function operator(component: number, op: number): string {
    const name = `Op_${component}_${op}`
    if (!defined.has(name)) {
      defined.add(name)
      const cases = [...(operations.get(`${component} ${op}`) ?? [])].map(([id, after]) => `x = ${id} -> ${after}`)
      definitions.push(`${name}(x) == CASE ${cases.join(' [] ')}`)
    }
    return name
  }

  /** The next value of each variable as an expression over the present ones; operations nest in their order. */
  function action({ label, when, compiled }: Row, index: number): string {
    const next = new Map<number, string>()
    const value = (component: number): string => next.get(component) ?? (named.get(component) as string)
    const guards: string[] = when.map(([component, id]) => `${named.get(component)} = ${id}`)
    for (let i = 0; i < compiled.writes.length; i += 2)
      if (named.has(compiled.writes[i] as number)) next.set(compiled.writes[i] as number, String(compiled.writes[i + 1]))
    for (let i = 0; i < compiled.operations.length; i += 4) {
      const [component, op, otherComponent, otherOp] = compiled.operations.subarray(i, i + 4) as unknown as [number, number, number, number]
      if (!named.has(component)) continue
      const result = `${operator(component, op)}(${value(component)})`
      if (otherComponent < 0) {
        guards.push(`${result} >= 0`)
        next.set(component, result)
        continue
      }
      const other = `${operator(otherComponent, otherOp)}(${value(otherComponent)})`
      const before = value(component)
      const otherBefore = value(otherComponent)
      next.set(component, `(IF ${result} >= 0 THEN ${result} ELSE ${component === otherComponent ? other : before})`)
      if (component !== otherComponent) next.set(otherComponent, `(IF ${result} >= 0 THEN ${otherBefore} ELSE ${other})`)
    }
    const assigned = [...named].map(([component, name]) => `${name}' = ${next.get(component) ?? name}`)
    return `\\* ${label}\nStep${index} == ${[...guards, ...assigned].join(' /\\ ') || 'TRUE'}`
  }

  const actions = rows.map(action)
  const starts = initial.map(
    (vector) => `(${[...named].map(([component, name]) => `${name} = ${vector[component]}`).join(' /\\ ') || 'TRUE'})`,
  )
  const invariants = forbidden.map(({ property, states }, index) => ({
    name: `Invariant${index}`,
    text: `\\* ${property}\nInvariant${index} == ${states.map((conditions) => `~(${conditions.map(([component, id]) => `${named.get(component)} = ${id}`).join(' /\\ ')})`).join(' /\\ ')}`,
  }))
  return {
    name: module,
    module: [
      `---- MODULE ${module} ----`,
      `\\* ${model.name}: ${model.states} states, ${model.terminal} without a successor.`,
      'EXTENDS Integers',
      `VARIABLES ${names.join(', ')}`,
      `vars == <<${names.join(', ')}>>`,
      ...variables.map(({ identifier, values }) => `\\* v_${identifier}: ${values.slice(0, 12).join('; ')}`.replaceAll('\n', ' ')),
      ...definitions,
      `Init == ${starts.join(' \\/ ')}`,
      ...actions,
      `Next == ${actions.map((_, index) => `Step${index}`).join(' \\/ ') || 'FALSE'}`,
      'Spec == Init /\\ [][Next]_vars',
      ...invariants.map(({ text }) => text),
      '====',
      '',
    ].join('\n'),
    config: ['SPECIFICATION Spec', ...invariants.map(({ name }) => `INVARIANT ${name}`), ''].join('\n'),
  }
}
