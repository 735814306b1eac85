/**
 * A machine as a pure function from snapshot and event to snapshot and commands. The `stepper` files are the only ones that touch xstate at
 * run time:
 *
 *   stepper.ts             what the host and the checker call; xstate's own `transition` as the reference
 *   stepper-table.ts       the same machine as a table, many times faster: what runs
 *   stepper-rows.ts        what that table is made of
 *   stepper-graph.ts       which states a transition leaves and enters
 *   stepper-operations.ts  guards and actions, looked up once
 *
 * Everything xstate returns as an action is one of the four things an actor may want: emitted messages, named effects, timers to start,
 * timers to drop. Anything else is not part of the machine dialect and throws.
 */
import { type AnyMachineSnapshot, type AnyStateMachine, initialTransition, transition } from 'xstate'
import { Foreign } from './stepper-operations.ts'
import { createTableStepper } from './stepper-table.ts'
import type { Outgoing } from './types.ts'

export type Command =
  | { do: 'emit'; message: Outgoing }
  | { do: 'effect'; name: string; params: Record<string, unknown> }
  | { do: 'timer'; id: string; event: { type: string }; delayMs: number }
  | { do: 'dropTimer'; id: string }

/** `value` is xstate's state value (`'ready'`, `{ working: 'booting' }`). Only the stepper that made a snapshot can go on from it. */
// Each machine knows its own context.
// oxlint-disable-next-line typescript/no-explicit-any
export type Snapshot<Context = any> = { readonly value: unknown; readonly context: Context; readonly status: 'active' | 'done' }

/** `handled`: the event changed or asked for anything. Otherwise `snapshot` is the very one that was given. */
export type Step = { snapshot: Snapshot; commands: Command[]; handled: boolean }

export type Stepper = {
  engine: 'table' | 'xstate'
  /** Throws what the machine's own functions throw; nothing has happened then. */
  initial(input: unknown): Step
  step(snapshot: Snapshot, event: { type: string }): Step
  /** Where `step` would lead if it would be handled and ask for nothing, known beforehand; null: not known, ask `step`. Makes nothing else. */
  stepQuietly(snapshot: Snapshot, event: { type: string }): Snapshot | null
  /** A snapshot as plain data, and back. Null where the engine cannot. */
  persist(snapshot: Snapshot): Persisted | null
  restore(persisted: Persisted): Snapshot
}
/** `nodes`: ids of the active states in their order; `history`: what each history state remembers. */
export type Persisted = { nodes: string[]; history: Record<string, string[]>; context: unknown; status: Snapshot['status'] }

const made = new WeakMap<AnyStateMachine, Stepper>()

/**
 * The table, or xstate itself for a machine that uses what the table does not know. One for all actors of a machine: what it keeps is about the
 * machine, and where an actor is, is in its snapshot.
 */
export function createStepper(machine: AnyStateMachine): Stepper {
  const known = made.get(machine)
  if (known) return known
  const stepper = tableOrReference(machine)
  made.set(machine, stepper)
  return stepper
}

function tableOrReference(machine: AnyStateMachine): Stepper {
  try {
    return createTableStepper(machine)
  } catch (error) {
    if (error instanceof Foreign) return createReferenceStepper(machine)
    throw error
  }
}

/** xstate's own interpretation, which the table is held to. */
export function createReferenceStepper(machine: AnyStateMachine): Stepper {
  return {
    engine: 'xstate',
    initial(input) {
      const [snapshot, actions] = initialTransition(machine, input)
      return settle(snapshot, actions, true)
    },
    step(before, event) {
      // As in a live actor of xstate: a finished machine hears nothing more.
      if (before.status === 'done') return { snapshot: before, commands: [], handled: false }
      const [snapshot, actions] = transition(machine, before as AnyMachineSnapshot, event)
      return settle(snapshot, actions, snapshot !== before || actions.length > 0)
    },
    stepQuietly: () => null,
    persist: () => null,
    restore() {
      throw new Foreign('a snapshot of a machine that runs on xstate')
    },
  }
}

function settle(snapshot: AnyMachineSnapshot, actions: readonly { type: string; params?: unknown }[], handled: boolean): Step {
  if (snapshot.status === 'error') throw snapshot.error
  const commands: Command[] = []
  for (const action of actions) {
    const params = (action.params ?? {}) as Record<string, unknown>
    if (action.type === 'xstate.emit') commands.push({ do: 'emit', message: params['event'] as Outgoing })
    else if (action.type === 'xstate.cancel') commands.push({ do: 'dropTimer', id: String(params['sendId']) })
    else if (action.type === 'xstate.raise') {
      // Without a delay the machine has seen the event already, within this step.
      if (typeof params['delay'] !== 'number') continue
      commands.push({ do: 'timer', id: String(params['id']), event: params['event'] as { type: string }, delayMs: params['delay'] })
    } else if (action.type.startsWith('xstate.')) throw new Foreign(action.type)
    else commands.push({ do: 'effect', name: action.type, params })
  }
  return { snapshot: snapshot as Snapshot, commands, handled }
}
