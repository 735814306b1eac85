/**
 * Whether what a model projects away is nothing that its machine looks at: states of one class must lead, by steps of the same name, to the
 * same classes. Where they do not, the class that is explored is that of whichever state was found first, and what only another state
 * of it leads to is not seen.
 */
import type { AnyStateMachine } from 'xstate'
import { createStepper } from '../kernel/stepper.ts'
import { absorb, emptyLocal, keyOf, type Local, movesOf, take } from './local.ts'
import type { Model } from './model.ts'
import { canonical } from './product.ts'

export type Projection = {
  classes: number
  /** Classes of which more than one state was compared. */
  compared: number
  /** A step after which two states of one class are in different ones. */
  differs: { step: string; of: string; after: [string[], string[]] } | null
}

/** Steps by name, each with the classes it leads to. */
type Steps = ReadonlyMap<string, ReadonlySet<string>>

/**
 * Breadth first, an actor by itself.
 * @param classes how many are looked at
 * @param each how many states of one class
 */
export function compareClasses(model: Model, classes: number, each = 3): Projection {
  const stepper = createStepper(model.machine as AnyStateMachine)
  const known = new Map<string, { text: string; steps: Steps }[]>()
  const first = stepper.initial(model.input)
  const queue = [absorb(emptyLocal(first), first, null).next]
  let compared = 0
  for (let state = queue.shift(); state !== undefined && known.size < classes; state = queue.shift()) {
    const of = keyOf(model, state)
    const text = textOf(state)
    const states = known.get(of) ?? []
    known.set(of, states)
    if (states.length >= each || states.some((other) => other.text === text)) continue
    const { steps, next } = stepsOf(model, stepper, state, of)
    queue.push(...next)
    if (states.length === 1) compared++
    for (const other of states) {
      const differs = difference(other.steps, steps)
      if (differs) return { classes: known.size, compared, differs: { ...differs, of } }
    }
    states.push({ text, steps })
  }
  return { classes: known.size, compared, differs: null }
}

function stepsOf(model: Model, stepper: ReturnType<typeof createStepper>, state: Local, of: string): { steps: Steps; next: Local[] } {
  const steps = new Map<string, Set<string>>()
  const states: Local[] = []
  for (const move of movesOf(model, state, () => false, false)) {
    const { next, problem } = take(stepper, move)
    const to = problem ? `${problem.property}: ${problem.detail}` : keyOf(model, next)
    if (move.extra && to === of) continue
    steps.set(move.label, (steps.get(move.label) ?? new Set()).add(to))
    if (!problem) states.push(next)
  }
  return { steps, next: states }
}

function difference(a: Steps, b: Steps): { step: string; after: [string[], string[]] } | null {
  for (const step of new Set([...a.keys(), ...b.keys()])) {
    const after: [string[], string[]] = [[...(a.get(step) ?? [])].toSorted(), [...(b.get(step) ?? [])].toSorted()]
    if (after[0].join() !== after[1].join()) return { step, after }
  }
  return null
}

const textOf = ({ value, context, pending, open, sent }: Local): string => canonical([value, context, pending, open, sent])
