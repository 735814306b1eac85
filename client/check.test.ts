import { expect, test } from 'vitest'
import { check, checkText } from './check.ts'

const run = (actor: string | null) => check({ actor, json: false, out: () => {}, progress: () => {} })

test('an actor without a model is a usage error that names those with one', async () => {
  await expect(run('nobody')).rejects.toThrow(/no model of "nobody" \(there are: .*vm-supervisor/)
})

test('a violation is shown with the shortest way to it, and what was sent on the way', () => {
  const text = checkText({
    actor: 'server',
    states: 5,
    transitions: 7,
    depth: 2,
    complete: true,
    ms: 1,
    properties: [{ name: 'answers once', kind: 'always', held: false }],
    violations: [
      {
        kind: 'always',
        property: 'answers once',
        trace: [
          { event: { type: 'ask' }, value: 'busy', out: [] },
          { event: { type: 'cancelled' }, value: 'idle', out: [{ type: 'reply', request: 1, body: {} }] },
        ],
      },
    ],
  })
  expect(text.split('\n')).toEqual([
    'server: 5 states, 7 transitions, depth 2, 0.0 s',
    '  BROKEN always: answers once',
    '',
    '  always: answers once',
    '  shortest way there, 2 steps:',
    '    1. ask -> "busy"',
    '    2. cancelled -> "idle"   [reply]',
    '',
  ])
})
