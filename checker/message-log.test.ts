/** The model of the message log finds each way to get it wrong; that the right one holds is asked with all other models. */
import { expect, test } from 'vitest'
import { check } from './explore.ts'
import { messageLog, type Mistake } from './systems/message-log.ts'

test.each<[NonNullable<Mistake>, string]>([
  ['effects begin at once', 'nothing leaves before all that led to it is in the log'],
  ['told before it is written', 'nothing leaves before all that led to it is in the log'],
  ['acknowledged before it is written', 'what was acknowledged is in the journal'],
  ['lines are lost', 'the log can be taken again, at whatever instant it was cut off'],
])('%s: found', (mistake, property) => {
  const { violations } = check(messageLog(1, 1, mistake), { stopAtFirst: false, maxStates: 20_000 })
  const found = violations.find((violation) => violation.property === property)
  expect(found?.trace.steps.length, violations.map((violation) => violation.property).join('; ')).toBeGreaterThan(1)
})
