/** Two steppers in step: every step is taken by the table and by xstate, and any difference throws. */
import { isDeepStrictEqual, inspect } from 'node:util'
import type { AnyStateMachine } from 'xstate'
import { createReferenceStepper, type Snapshot, type Step, type Stepper } from '../stepper.ts'
import { createTableStepper } from '../stepper-table.ts'

export class Difference extends Error {}

type Pair = Snapshot & { readonly table: Snapshot; readonly reference: Snapshot }

/** A step that throws in one must throw in the other; the error of the table is passed on. */
export function createPairedStepper(machine: AnyStateMachine): Stepper & { compared(): number } {
  const table = createTableStepper(machine)
  const reference = createReferenceStepper(machine)
  let count = 0

  function both(what: string, one: () => Step, other: () => Step): Step {
    count++
    const [mine, theirs] = [outcome(one), outcome(other)]
    if ('error' in mine || 'error' in theirs) {
      if ('error' in mine && 'error' in theirs) throw mine.error
      throw new Difference(`${what}: ${said(mine)} by the table, ${said(theirs)} by xstate`)
    }
    for (const [name, a, b] of [
      ['value', mine.snapshot.value, theirs.snapshot.value],
      ['context', mine.snapshot.context, theirs.snapshot.context],
      ['status', mine.snapshot.status, theirs.snapshot.status],
      ['handled', mine.handled, theirs.handled],
      ['commands', mine.commands, theirs.commands],
    ] as const)
      if (!isDeepStrictEqual(a, b))
        throw new Difference(`${what}: ${name} is ${inspect(a, false, 8)} by the table, ${inspect(b, false, 8)} by xstate`)
    const { value, status } = mine.snapshot
    const context: unknown = mine.snapshot.context
    const snapshot: Pair = { value, context, status, table: mine.snapshot, reference: theirs.snapshot }
    return { ...mine, snapshot }
  }

  return {
    engine: 'table',
    compared: () => count,
    initial: (input) =>
      both(
        'initial',
        () => table.initial(input),
        () => reference.initial(input),
      ),
    step(snapshot, event) {
      const pair = snapshot as Pair
      const what = `${event.type} in ${JSON.stringify(pair.value)}`
      const step = both(
        what,
        () => quietly(table, pair.table, event) ?? table.step(pair.table, event),
        () => reference.step(pair.reference, event),
      )
      return step.handled ? step : { ...step, snapshot }
    },
    stepQuietly: () => null,
    persist: () => null,
    restore() {
      throw new Error('a pair is not restored')
    },
  }
}

/** What a quiet step stands for. */
function quietly(stepper: Stepper, before: Snapshot, event: { type: string }): Step | null {
  const snapshot = stepper.stepQuietly(before, event)
  return snapshot && { snapshot, commands: [], handled: true }
}

function outcome(run: () => Step): Step | { error: unknown } {
  try {
    return run()
  } catch (error) {
    return { error }
  }
}

function said(result: Step | { error: unknown }): string {
  return 'error' in result ? `threw ${String(result.error)}` : 'a step'
}
