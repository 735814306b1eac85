/**
 * Replays a counterexample against the production machines. Shares nothing with the search: no tables, no composition, no interned states.
 * It runs xstate itself (`initialTransition`, `transition`), so that even the stepper is another.
 */
import { type AnyMachineSnapshot, type AnyStateMachine, initialTransition, transition } from 'xstate'
import type { EventOnTrace } from './counterexample.ts'

export type Replayed = { value: unknown; emitted: readonly { type: string; [key: string]: unknown }[]; effects: readonly string[] }

export function createReplay(machines: Readonly<Record<string, { machine: AnyStateMachine; input: unknown }>>) {
  const snapshots = new Map<string, AnyMachineSnapshot>()
  const start = (actor: string): void => {
    const { machine, input } = machines[actor] as { machine: AnyStateMachine; input: unknown }
    snapshots.set(actor, initialTransition(machine, input)[0])
  }
  for (const actor of Object.keys(machines)) start(actor)
  return {
    /** It crashed. */
    start,
    step(actor: string, event: { type: string }): Replayed {
      const found = machines[actor]
      const before = snapshots.get(actor)
      if (!found || !before) throw new Error(`There is no machine for ${actor}.`)
      const [after, actions] = transition(found.machine, before, event)
      if (after.status === 'error') throw after.error
      snapshots.set(actor, after)
      return {
        value: after.value,
        emitted: actions.flatMap(({ type, params }) =>
          (type as string) === 'xstate.emit' ? [(params as { event: { type: string } }).event] : [],
        ),
        effects: actions.filter(({ type }) => !type.startsWith('xstate.')).map(({ type }) => type),
      }
    },
    value: (actor: string): unknown => snapshots.get(actor)?.value,
  }
}

export type Confirmation = { confirmed: true; steps: number } | { confirmed: false; at: number; why: string }

/** Whether the machines go where the counterexample says. A step that throws must throw here too. */
export function confirm(machines: Parameters<typeof createReplay>[0], events: readonly EventOnTrace[]): Confirmation {
  const replay = createReplay(machines)
  for (const [at, { actor, event, value }] of events.entries()) {
    if (!machines[actor]) continue
    const what = event?.type ?? 'a crash'
    try {
      if (event === null) replay.start(actor)
      else replay.step(actor, event)
      const now = replay.value(actor)
      if (value === '(threw)') return { confirmed: false, at, why: `${what} did not throw` }
      if (JSON.stringify(now) !== JSON.stringify(value))
        return { confirmed: false, at, why: `after ${what} the machine is in ${JSON.stringify(now)}, not in ${JSON.stringify(value)}` }
    } catch (error) {
      if (value !== '(threw)') return { confirmed: false, at, why: `${what} threw: ${String(error)}` }
    }
  }
  return { confirmed: true, steps: events.length }
}
