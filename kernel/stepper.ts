/**
 * The one module that touches xstate at run time: a machine as a pure function from snapshot and event to snapshot and commands.
 * Everything xstate returns as an action is sorted into the four things an actor may want: emitted messages, named effects, timers to
 * start, timers to drop.
 */
import { type AnyMachineSnapshot, type AnyStateMachine, initialTransition, transition } from 'xstate'
import type { Outgoing } from './types.ts'

export type Command =
  | { do: 'emit'; message: Outgoing }
  | { do: 'effect'; name: string; params: Record<string, unknown> }
  | { do: 'timer'; id: string; event: { type: string }; delayMs: number }
  | { do: 'dropTimer'; id: string }

export type Step = { snapshot: AnyMachineSnapshot; commands: Command[]; handled: boolean }

export type Stepper = {
  initial(input: unknown): Step
  step(snapshot: AnyMachineSnapshot, event: { type: string }): Step
}

export function createStepper(machine: AnyStateMachine): Stepper {
  return {
    initial(input) {
      const [snapshot, actions] = initialTransition(machine, input)
      return settle(snapshot, actions, true)
    },
    step(before, event) {
      const [snapshot, actions] = transition(machine, before, event)
      return settle(snapshot, actions, snapshot !== before || actions.length > 0)
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
    } else if (action.type.startsWith('xstate.')) throw new Error(`${action.type} is not part of the machine dialect`)
    else commands.push({ do: 'effect', name: action.type, params })
  }
  return { snapshot, commands, handled }
}
