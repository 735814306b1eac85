/** The way the search went to a state, with what happened on it found again from the tables. */
import type { Arena } from './arena.ts'
import { type Problem, type StepInfo, written } from './product.ts'
import type { Compiled, Tables } from './tables.ts'

export type TraceStep = StepInfo & { state: Record<string, unknown> }
/** A way through the product. `cycle`: the index in `steps` from which the rest repeats for ever. */
export type Trace = { initial: Record<string, unknown>; steps: TraceStep[]; cycle?: number }

export type ViolationKind = 'always' | 'sometimes' | 'deadlock' | 'eventually' | 'leadsTo' | 'possible' | Problem['kind']
export type Violation = { property: string; kind: ViolationKind; detail?: string; trace: Trace }

/** A change of every vector to the one that stands for its class. */
export type Canonical = ((ids: Int32Array) => void) | undefined

export function traceTo(tables: Tables, arena: Arena, index: number, canonical: Canonical, last?: Compiled): Trace {
  const path: number[] = []
  for (let at = index; at >= 0; at = arena.parents[at] as number) path.unshift(at)
  return traceAlong(tables, vectorsOf(arena, path), canonical, last)
}

/** States of an arena written out. */
export function vectorsOf(arena: Arena, states: readonly number[]): Int32Array[] {
  return states.map((state) => {
    const vector = new Int32Array(arena.word.length)
    arena.unpack(state, vector)
    return vector
  })
}

/** A trace along states that follow one another. With a canonical form the way is one that can really be gone, not one of representatives. */
export function traceAlong(
  tables: Tables,
  path: readonly Int32Array[],
  canonical?: Canonical,
  last?: Compiled,
  groups?: readonly number[],
): Trace {
  const { product } = tables
  const first = path[0] as Int32Array
  let real = first
  if (canonical)
    for (const vector of product.initial) {
      const form = Int32Array.from(vector)
      canonical(form)
      if (form.every((id, i) => id === first[i])) real = Int32Array.from(vector)
    }
  const trace: Trace = { initial: written(product, real), steps: [] }
  for (const [position, wanted] of path.slice(1).entries()) {
    const taken = stepTo(tables, real, wanted, canonical, groups?.[position])
    if (!taken) throw new Error('a state on the way has no step to the next one')
    real = taken.after
    trace.steps.push({ ...taken.compiled.outcome.info, state: written(product, real) })
  }
  if (last) {
    const vector = real.slice()
    tables.apply(last, vector)
    trace.steps.push({ ...last.outcome.info, state: written(product, last.outcome.dead ? real : vector) })
  }
  return trace
}

function stepTo(
  tables: Tables,
  from: Int32Array,
  wanted: Int32Array,
  canonical: Canonical,
  group?: number,
): { compiled: Compiled; after: Int32Array } | null {
  for (let rule = 0; rule < tables.product.rules.length; rule++)
    for (const compiled of tables.outcomes(rule, from)) {
      if (compiled.outcome.dead || (group !== undefined && compiled.group !== group)) continue
      const after = from.slice()
      if (!tables.apply(compiled, after)) continue
      const form = after.slice()
      canonical?.(form)
      if (form.every((id, i) => id === wanted[i])) return { compiled, after }
    }
  return null
}
