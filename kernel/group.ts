/** A supervisor's machine at work: events in, its timers kept, its commands handed to whoever starts and ends actors. */
import { createStepper, type Command } from './stepper.ts'
import { type ChildState, type Group as Context, type GroupEvent, type GroupSpec, machine } from './supervisor.ts'

export type GroupActions = {
  launch(id: string): void
  terminate(id: string): void
  report(degraded: boolean, delayMs: number): void
}
export type Group = ReturnType<typeof createGroup>

const stepper = createStepper(machine)

export function createGroup(spec: GroupSpec, actions: GroupActions) {
  let { snapshot } = stepper.initial(spec)
  const timers = new Map<string, NodeJS.Timeout>()
  const stopped = Promise.withResolvers<void>()

  /** Takes a step, and reports at once what changed; what is to be done is given back, so that the caller can settle its books first. */
  function decide(event: GroupEvent): Command[] {
    const step = stepper.step(snapshot, event)
    snapshot = step.snapshot
    for (const command of step.commands)
      if (command.do === 'effect' && command.name === 'report')
        actions.report(command.params['degraded'] === true, Number(command.params['delayMs']))
    return step.commands
  }

  function perform(commands: readonly Command[]): void {
    for (const command of commands) {
      if (command.do === 'dropTimer') {
        clearTimeout(timers.get(command.id))
        timers.delete(command.id)
      } else if (command.do === 'timer') {
        clearTimeout(timers.get(command.id))
        timers.set(
          command.id,
          setTimeout(() => perform(decide(command.event as GroupEvent)), command.delayMs),
        )
      } else if (command.do === 'effect') {
        const id = String(command.params['id'])
        if (command.name === 'launch') actions.launch(id)
        else if (command.name === 'terminate') actions.terminate(id)
      }
    }
    if (snapshot.value === 'stopped') stopped.resolve()
  }

  return {
    ids: spec.children.map(({ id }) => id),
    decide,
    perform,
    stateOf: (id: string): ChildState | undefined => (snapshot.context as Context).children.find((child) => child.id === id)?.state,
    /** Resolves when everything is down for good. */
    stopped: stopped.promise,
  }
}
