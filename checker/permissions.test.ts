import { expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { machine as consent } from '../actors/consent/machine.ts'
import { createStepper, type Step, type Stepper } from '../kernel/stepper.ts'
import { compose } from './compose.ts'
import { check } from './explore.ts'
import type { Event } from './model.ts'
import { system } from './systems/permissions.ts'

/** Names of what is broken when consent errs in this way. */
function brokenBy(err: (stepper: Stepper) => Pick<Stepper, 'step'>, size: 'small' | 'full' = 'small'): string[] {
  const stepper = (machine: AnyStateMachine): Stepper => {
    const right = createStepper(machine)
    return machine === consent ? { ...right, ...err(right) } : right
  }
  return check(compose(system(size), { stepper }), { stopAtFirst: true }).violations.map(({ property }) => property)
}

test('a consent that takes a no for a yes is found', () => {
  const broken = brokenBy((right) => ({
    step: (snapshot, event) =>
      right.step(snapshot, said(event, 'deny') ? ({ ...event, body: { option: 'allow-once', by: 'member' } } as Event) : event),
  }))
  expect(broken).toEqual(['nothing is written without the member’s word for it'])
})

/** Acknowledges a revoke and does not tell the kernel. */
const silent = (right: Stepper): Pick<Stepper, 'step'> => ({
  step: (snapshot, event): Step => {
    const step = right.step(snapshot, event)
    const commands = step.commands.filter(
      (command) => command.do !== 'emit' || !('kind' in command.message) || command.message.kind !== 'revoke',
    )
    return { ...step, commands }
  },
})

test('a consent that acknowledges a revoke and does not tell the kernel is found', () => {
  expect(brokenBy(silent)).toEqual(['a folder that was taken back is not used once that is acknowledged'])
})

/** As one that also leaves the conversation with what it had. */
const unendowing = (right: Stepper): Pick<Stepper, 'step'> => ({
  step: (snapshot, event) => {
    const step = silent(right).step(snapshot, event)
    const commands = step.commands.map((command) =>
      command.do === 'emit' && command.message.type === 'send' && command.message.kind === 'endow'
        ? { ...command, message: { ...command.message, body: { ...(command.message.body as object), name: 'other' } } }
        : command,
    )
    return { ...step, commands }
  },
})

test('hosts that are taken back, and stay with the conversation, are found', () => {
  expect(brokenBy(unendowing, 'full')).toEqual(['hosts that were taken back are not reached once that is acknowledged'])
})

test('the gate of the web keeps what the member took back', () => {
  expect(check(system('full')).violations).toEqual([])
})

function said(event: Event, option: string): boolean {
  return event.type === 'replied' && (event['body'] as { option?: string } | undefined)?.option === option
}
