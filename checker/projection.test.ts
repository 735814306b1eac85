import { assign, setup } from 'xstate'
import { expect, test } from 'vitest'
import { defineModel, type Model } from './model.ts'
import { compareClasses } from './projection.ts'
import { subjects } from './subjects.ts'

const actors = subjects().filter(({ kind }) => kind === 'actor')

test.each(actors)('$name: states that its model takes as one lead to the same ones', async ({ load }) => {
  expect(compareClasses((await load('small')) as Model, 1_000).differs).toBeNull()
})

test('a projection that drops what the machine looks at is found', () => {
  const machine = setup({ types: {} as { context: { n: number; last: string }; events: { type: 'a' | 'b' } } }).createMachine({
    context: { n: 0, last: '' },
    on: {
      a: { actions: assign({ last: 'a' }) },
      b: { actions: assign({ n: ({ context }) => context.n + (context.last === 'a' ? 1 : 0), last: 'b' }) },
    },
  })
  const model = (project: (context: { n: number; last: string }) => unknown) =>
    defineModel<{ n: number; last: string }>({
      actor: 'counter',
      machine,
      input: undefined,
      stimuli: ['a', 'b'].map((type) => ({ name: type, times: 2, request: false, event: () => ({ type }) })),
      effects: {},
      always: {},
      sometimes: {},
      project,
    })
  expect(
    compareClasses(
      model(({ n }) => n),
      100,
    ),
  ).toMatchObject({ differs: { step: 'b' } })
  const whole = compareClasses(
    model((context) => context),
    100,
  )
  expect([whole.differs, whole.classes > 5]).toEqual([null, true])
})
