/**
 * Guarded commands in plain TypeScript, for models that were published in other languages: variables with finite values and actions that say
 * what may happen next. The engine is the one that explores the product's own machines.
 *
 *   guarded({
 *     name: 'hour clock',
 *     variables: { hour: 1 },
 *     actions: { tick: { next: ({ hour }) => ({ hour: (hour % 12) + 1 }) } },
 *   })
 */
import {
  canonical,
  type Group,
  Interner,
  type Outcome,
  type Product,
  type Rule,
  type StateProperty,
  type TemporalProperty,
} from './product.ts'

type Update<V> = Partial<V>

export type Action<V> = {
  /** What the action reads; default everything. Fewer names make smaller tables and faster searches; reading another one throws. */
  reads?: readonly (keyof V & string)[]
  /** Who takes the step. Default: the action's own name. */
  process?: string
  /** Default `weak` when the model says `fair`, else `none`. */
  fair?: Group['fair']
  /** Nothing when it is not enabled, one update, or several when the action is not deterministic. */
  next(state: V): Update<V> | readonly Update<V>[] | null | undefined | false
}

export type Guarded<V> = {
  name: string
  /** Initial values; a list of them for several initial states. */
  variables: V | readonly V[]
  actions: Readonly<Record<string, Action<V>>>
  always?: Readonly<Record<string, (state: V) => boolean>>
  sometimes?: Readonly<Record<string, (state: V) => boolean>>
  eventually?: Readonly<Record<string, (state: V) => boolean>>
  possible?: Readonly<Record<string, (state: V) => boolean>>
  leadsTo?: Readonly<Record<string, { from(state: V): boolean; to(state: V): boolean }>>
  /** States without a successor that are fine; `true`: all of them. */
  mayEnd?: ((state: V) => boolean) | true
  /** Every process is weakly fair. */
  fair?: boolean
}

export function guarded<V extends Record<string, unknown>>(model: Guarded<V>): Product {
  const starts: readonly V[] = Array.isArray(model.variables) ? (model.variables as readonly V[]) : [model.variables as V]
  const names = Object.keys(starts[0] as V) as (keyof V & string)[]
  const interners = names.map(() => new Interner<unknown>())
  const number = new Map<string, number>(names.map((name, index) => [name, index]))
  const id = (index: number, value: unknown): number => (interners[index] as Interner<unknown>).add(canonical(value), () => value)
  const processes: string[] = []
  const groups: Group[] = []
  const rules: Rule[] = Object.entries(model.actions).map(([label, action]) => {
    const actor = action.process ?? label
    let process = processes.indexOf(actor)
    const fair = action.fair ?? (model.fair ? 'weak' : 'none')
    if (process < 0) {
      process = processes.push(actor) - 1
      groups.push({ name: actor, fair })
    }
    const reads = (action.reads ?? names).map((name) => numberOf(number, name))
    return {
      name: label,
      reads,
      process,
      ...(action.reads ? {} : { direct: true as const }),
      expand: (...ids): Outcome[] => {
        const state = readState(names, interners, reads, ids)
        const given = action.next(state as V)
        if (!given) return []
        return (Array.isArray(given) ? (given as readonly Update<V>[]) : [given as Update<V>]).map((update) => ({
          info: { actor, label },
          group: process,
          writes: Object.entries(update).flatMap(([name, value]) => {
            const component = numberOf(number, name)
            return [component, id(component, value)]
          }),
          operations: [],
        }))
      },
    }
  })
  type Holds = StateProperty['holds']
  const listed = (kind: 'always' | 'sometimes'): StateProperty[] =>
    Object.entries(model[kind] ?? {}).map(([name, holds]) => ({ name, kind, holds: holds as unknown as Holds }))
  const temporal: TemporalProperty[] = [
    ...(['eventually', 'possible'] as const).flatMap((kind) =>
      Object.entries(model[kind] ?? {}).map(([name, holds]) => ({ name, kind, holds: holds as unknown as Holds })),
    ),
    ...Object.entries(model.leadsTo ?? {}).map(([name, { from, to }]) => ({
      name,
      kind: 'leadsTo' as const,
      from: from as unknown as Holds,
      to: to as unknown as Holds,
    })),
  ]
  const { mayEnd } = model
  return {
    name: model.name,
    components: names.map((name, index) => {
      const interner = interners[index] as Interner<unknown>
      return { name, size: () => interner.size, value: (value) => interner.get(value) }
    }),
    initial: starts.map((start) => names.map((name, index) => id(index, start[name]))),
    rules,
    groups,
    processes,
    next: () => -1,
    properties: [...listed('always'), ...listed('sometimes')],
    temporal,
    stepProperties: [],
    ...(mayEnd === undefined ? { mayEnd: () => false } : mayEnd === true ? {} : { mayEnd: mayEnd as unknown as Holds }),
  }
}

function numberOf(numbers: ReadonlyMap<string, number>, name: string): number {
  const index = numbers.get(name)
  if (index === undefined) throw new Error(`There is no variable ${name}. (Is the name misspelt?)`)
  return index
}

/** Reading a variable the action did not name would make its table wrong, so it throws. */
function readState(
  names: readonly string[],
  interners: readonly Interner<unknown>[],
  reads: readonly number[],
  ids: readonly number[],
): object {
  const state = {}
  for (const [index, name] of names.entries()) {
    const position = reads.indexOf(index)
    Object.defineProperty(state, name, {
      enumerable: true,
      get: () => {
        if (position < 0) throw new Error(`The action does not say that it reads ${name}.`)
        return (interners[index] as Interner<unknown>).get(ids[position] as number)
      },
    })
  }
  return state
}
