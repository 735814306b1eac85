/** Models of the product with one place of a production machine broken, and as they are: what counterexamples of several actors are made of. */
import { type AnyStateMachine, assign } from 'xstate'
import { model as consent } from '../../actors/consent/model.ts'
import { model as policy } from '../../actors/policy/model.ts'
import { model as reader } from '../../actors/reader/model.ts'
import type { Model } from '../model.ts'
import { mutants } from '../mutate.ts'
import type { SystemModel } from '../system.ts'
import { kernelAlone } from '../systems/kernel.ts'
import { system as permissions } from '../systems/permissions.ts'
import { system as workspace } from '../systems/workspace.ts'

const models = { consent, policy, reader } as const
const systems = { permissions: () => permissions('small'), workspace: () => workspace('small'), kernel: () => kernelAlone(1) } as const

/** @param change as `bulkhead check --mutate` names it: place, then what is broken. Null: as it is. */
export function actorWith(actor: keyof typeof models, change: string | null): Model {
  const model: Model = models[actor]
  return change === null ? model : { ...model, machine: brokenAt(model.machine, change) }
}

export function systemWith(name: keyof typeof systems, actor: string, change: string | null): SystemModel {
  const system = systems[name]()
  return change === null ? system : withMachine(system, actor, (machine) => brokenAt(machine, change))
}

/** A worker that takes a refusal of this code for two answers. Null: as it is. */
export function kernelWith(code: string | null): SystemModel {
  type Context = { answers: Readonly<Record<string, number>> }
  const count = assign(({ context, event }: { context: Context; event: { type: string; ref: string; error?: { code: string } } }) => ({
    answers: { ...context.answers, [event.ref]: (context.answers[event.ref] ?? 0) + (event.error?.code === code ? 2 : 1) },
  }))
  return withMachine(kernelAlone(1), 'worker', (machine) =>
    code === null ? machine : machine.provide({ actions: { count: count as never } }),
  )
}

function withMachine(system: SystemModel, actor: string, change: (machine: AnyStateMachine) => AnyStateMachine): SystemModel {
  const part = system.actors[actor]
  if (!part) throw new Error(`${system.system} has no actor ${actor}.`)
  return { ...system, actors: { ...system.actors, [actor]: { ...part, model: { ...part.model, machine: change(part.model.machine) } } } }
}

function brokenAt(machine: AnyStateMachine, change: string): AnyStateMachine {
  const found = mutants(machine).find((mutant) => `${mutant.place}: ${mutant.change}` === change)
  if (!found) throw new Error(`There is no such place: ${change}`)
  return found.machine
}
