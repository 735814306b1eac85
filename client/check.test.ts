import { expect, test } from 'vitest'
import { check, checkText } from './check.ts'
import type { CheckCommand } from './check-args.ts'

const command: CheckCommand = { name: null, json: false, full: false, mutate: false, trace: 'text', export: null, conform: null }
const run = async (more: Partial<CheckCommand>) => {
  let text = ''
  const code = await check({ ...command, ...more, out: (part) => (text += part), progress: () => {} })
  return { code, text }
}

test('a name without a model is a usage error that says which there are', async () => {
  await expect(run({ name: 'nobody' })).rejects.toThrow(/no model of "nobody" \(there are: .*vm-supervisor.*kernel/)
})

test('a system that keeps its promises ends with 0 and lists them', async () => {
  const { code, text } = await run({ name: 'kernel' })
  expect(code).toBe(0)
  expect(text).toMatch(/^the kernel alone: \d+ states/)
  expect(text).toContain('holds  leadsTo: every request is answered')
})

test('a model is exported for Spin and for TLC', async () => {
  expect((await run({ name: 'policy', export: 'promela' })).text).toMatch(/^\/\* policy: \d+ states/)
  expect((await run({ name: 'policy', export: 'tla' })).text).toMatch(/^---- MODULE policy ----/)
  await expect(run({ export: 'tla' })).rejects.toThrow(/needs the name/)
})

test('mutants that no property kills are listed', async () => {
  const { text } = await run({ name: 'policy', mutate: true })
  expect(text).toMatch(/^policy: \d+ mutants, [1-9]\d* killed, \d+ survive/)
})

const violated = {
  name: 'server',
  states: 5,
  transitions: 7,
  depth: 2,
  complete: true,
  stopped: null,
  reduced: [],
  ms: 1,
  expansions: 4,
  bytes: 1,
  properties: [{ name: 'answers once', kind: 'always' as const, held: false }],
  violations: [
    {
      kind: 'always' as const,
      property: 'answers once',
      trace: {
        initial: {},
        steps: [
          { actor: 'server', label: 'ask', event: { type: 'ask' }, value: 'busy', state: {} },
          {
            actor: 'server',
            label: 'cancelled',
            event: { type: 'cancelled' },
            value: 'idle',
            sent: [{ what: 'reply' as const, kind: 'ask', to: 'client' }],
            state: {},
          },
        ],
      },
    },
  ],
}

test('a violation is shown with the shortest way to it, and what was sent on the way', () => {
  expect(checkText(violated, { confirmations: [{ confirmed: true, steps: 2 }] }).split('\n')).toEqual([
    'server: 5 states, 7 transitions, depth 2, 4 local, 0.0 s',
    '  BROKEN always: answers once',
    '',
    '  always: answers once',
    '  shortest way there, 2 steps:',
    '    1. server: ask -> "busy"',
    '    2. server: cancelled -> "idle"   [reply ask to client]',
    '  confirmed by replay on xstate',
    '',
  ])
})

test('or as a sequence diagram, as ITF, as a test', () => {
  expect(checkText(violated, { trace: 'mermaid' })).toContain('p0-->>p1: reply ask')
  expect(checkText(violated, { trace: 'itf' })).toContain('"format":"ITF"')
  expect(checkText(violated, { trace: 'test', machines: { server: { from: './machine.ts', input: null } } })).toContain(
    "from './machine.ts'",
  )
})
