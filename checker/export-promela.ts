/**
 * Promela of an explored model, for Spin: one option a local transition, each a `d_step`, in the loop of one process, or of several where Spin
 * would not read so many in one. Spin then finds the same states by its own search: a check on ours, and a way on for those who need Spin's
 * swarm or its other modes.
 *
 *   spin -a model.pml && cc -O2 -DSAFETY -DNOREDUCE -o pan pan.c && ./pan -m1000000 -c0 -e
 *
 * Without reduction `states, stored` is our count (one more with several initial states: the state before the choice), and with -c0 `errors`
 * is the number of states without a successor.
 */
import type { Exported, Row } from './export-rows.ts'

/** Options of one loop that Spin's parser has room for: its stack ends at 10,000. */
const mostOptions = 5_000

export function promela(model: Exported, optionsInOne = mostOptions): string {
  const { variables, rows, operations, initial, forbidden } = model
  const named = new Map(variables.map(({ component, identifier }) => [component, identifier]))
  const name = (component: number): string | undefined => named.get(component)
  const assertion = forbidden.flatMap(({ states }) => states.map((conditions) => `!(${all(conditions, name)})`)).join(' && ') || 'true'

  /** What an operation does, as an `if` over the values it was ever asked for. */
  function operation(component: number, op: number, otherwise: string): string {
    const variable = name(component)
    const table = operations.get(`${component} ${op}`)
    if (!variable || !table) return 'skip'
    const cases = [...table].map(
      ([id, after]) => `:: ${variable} == ${id} -> ${after < 0 ? otherwise : after === id ? 'skip' : `${variable} = ${after}`}`,
    )
    return `if ${cases.join(' ')} :: else -> assert(false) fi`
  }

  function option({ label, when, compiled }: Row, guard: string): string {
    const guards = [guard, all(when, name)]
    const steps: string[] = []
    for (let i = 0; i < compiled.writes.length; i += 2) {
      const variable = name(compiled.writes[i] as number)
      if (variable) steps.push(`${variable} = ${compiled.writes[i + 1]}`)
    }
    for (let i = 0; i < compiled.operations.length; i += 4) {
      const [component, op, otherComponent, otherOp] = compiled.operations.subarray(i, i + 4) as unknown as [number, number, number, number]
      if (otherComponent >= 0) steps.push(operation(component, op, operation(otherComponent, otherOp, 'assert(false)')))
      else {
        // Nothing may block inside a d_step: what has no room is no step.
        for (const [id, after] of operations.get(`${component} ${op}`) ?? []) if (after < 0) guards.push(`${name(component)} != ${id}`)
        steps.push(operation(component, op, 'skip'))
      }
    }
    steps.push('INVARIANT')
    return `  :: d_step { ${guards.filter((one) => one !== '').join(' && ') || 'true'} -> ${steps.join('; ')} } /* ${label} */`
  }

  const declared = variables.map(({ component, identifier, size, values }) => {
    const type = size <= 256 ? 'byte' : size <= 32_768 ? 'short' : 'int'
    const from = initial.length === 1 ? ` = ${initial[0]?.[component]}` : ''
    return `${type} ${identifier}${from}; /* ${values.slice(0, 12).join('; ')}${values.length > 12 ? ' …' : ''} */`
  })
  const parts = Array.from({ length: Math.max(1, Math.ceil(rows.length / optionsInOne)) }, (_, i) =>
    rows.slice(i * optionsInOne, (i + 1) * optionsInOne),
  )
  // The other loops begin when the first process has chosen.
  const waits = initial.length > 1 && parts.length > 1
  const chosen = waits ? ['begun = true'] : []
  const choice =
    initial.length === 1
      ? []
      : [
          '  if',
          ...initial.map((vector) => {
            const start = [...variables.map(({ component, identifier }) => `${identifier} = ${vector[component]}`), ...chosen]
            return `  :: d_step { true -> ${start.join('; ')} }`
          }),
          '  fi;',
        ]
  const loop = (part: readonly Row[], guard: string): string[] => ['  do', ...part.map((row) => option(row, guard)), '  od', '}']
  const [first = [], ...others] = parts
  return [
    `/* ${model.name}: ${model.states} states, ${model.terminal} without a successor. */`,
    ...declared,
    ...(waits ? ['bool begun = false;'] : []),
    `#define INVARIANT assert(${assertion})`,
    'active proctype system() {',
    ...choice,
    ...(forbidden.length > 0 ? ['  INVARIANT;'] : []),
    ...loop(first, ''),
    ...others.flatMap((part, i) => [`active proctype system_${i + 2}() {`, ...loop(part, waits ? 'begun' : '')]),
    '',
  ].join('\n')
}

function all(conditions: Row['when'], name: (component: number) => string | undefined): string {
  return conditions.map(([component, id]) => `${name(component)} == ${id}`).join(' && ')
}
