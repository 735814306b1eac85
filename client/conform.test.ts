import { describe, expect, test } from 'vitest'
import { conform, type Run } from '../checker/conform.ts'
import { actor } from '../actors/policy/index.ts'
import { model } from '../actors/policy/model.ts'
import { createStepper } from '../kernel/stepper.ts'
import { encode } from '../kernel/transcript.ts'

const input = { params: { userHome: '/h', user: 'u' }, slots: [] }
const watch = { type: 'watch', body: {}, from: { request: 1, badge: { from: 'x', session: null, limits: {} }, caps: [] } }
const read = { type: 'observe.read', sources: [{ kind: 'managed-file', place: '/m', state: 'absent' }] }

/** What the host would have written of a machine that is given these events. */
function runOf(
  events: readonly { type: string; [key: string]: unknown }[],
  change: (value: string, n: number) => string = (value) => value,
): Run {
  const stepper = createStepper(actor.machine)
  let { snapshot } = stepper.initial(input)
  const lines = [{ n: 0, event: { type: 'start' }, value: encode(snapshot.value, null), error: null }]
  for (const [index, event] of events.entries()) {
    ;({ snapshot } = stepper.step(snapshot, event))
    lines.push({ n: index + 1, event: event as never, value: change(encode(snapshot.value, null), index + 1), error: null })
  }
  return { actor: 'policy', kind: 'policy', span: 1, input, fromSnapshot: false, lines }
}

describe('a run against the model', () => {
  test('one that the model knows conforms', () => {
    expect(conform(runOf([watch, read]), actor, model)).toEqual({ actor: 'policy', span: 1, steps: 3, conforms: true })
  })

  test.each([
    [
      'an outcome of an effect that is not running',
      [{ type: 'observe.crashed' }, { type: 'observe.crashed' }],
      /no effect observe is running/,
    ],
    ['an answer to nothing', [{ type: 'replied', ref: 'made-up', kind: 'x', body: {}, caps: [] }], /no request "made-up" is open/],
    ['a request that is open already', [watch, watch], /request 1 is open already/],
    ['a timer that is not set', [{ type: 'xstate.after.nothing' }], /timer is not set/],
  ])('%s does not, and the step is named', (_, events, why) => {
    const result = conform(runOf(events), actor, model)
    expect(result).toMatchObject({ conforms: false, n: events.length })
    expect(result.conforms === false && result.why).toMatch(why)
  })

  test('a machine that now goes elsewhere is found out', () => {
    const result = conform(
      runOf([watch, read], (value, n) => (n === 2 ? '"elsewhere"' : value)),
      actor,
      model,
    )
    expect(result).toMatchObject({ conforms: false, n: 2 })
  })

  test('what begins in the middle is not judged', () => {
    expect(conform({ ...runOf([]), fromSnapshot: true }, actor, model)).toMatchObject({ conforms: null })
  })
})
