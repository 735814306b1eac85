import { expect, test } from 'vitest'
import { check, checkText } from './check.ts'
import { type CheckCommand, parseCheck } from './check-args.ts'

const command = parseCheck([])
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

test('what is left out, and why a wanted reduction is not made, is said', async () => {
  const { text } = await run(parseCheck(['kernel', '--reduce', 'order,symmetry']))
  expect(text).toContain('searched in full: actors may crash, or capabilities be revoked, at any moment')
  expect(text).toContain('not asked, because they are asked of the whole graph: every request is answered')
})

test('a limit ends a search cleanly, as a failure that says which', async () => {
  const { code, text } = await run(parseCheck(['kernel', '--max-states', '100']))
  expect(code).not.toBe(0)
  expect(text).toMatch(/^the kernel alone: 1\d\d states.*\(stopped at the limit of states: not everything was seen\)/)
  expect((await run(parseCheck(['kernel', '--max-memory', '1', '--depth-first']))).text).toMatch(/^the kernel alone: \d+ states/)
})

test('bits and walks say what they are likely to have missed', async () => {
  expect((await run(parseCheck(['kernel', '--bitstate', '4']))).text).toMatch(
    /^kernel: at least \d+ states, \d+ transitions, three bits each in 4 MiB\. At the end a new state was taken for a known one with a chance of [\d.e-]+ %\. Nothing is proved\.\n$/,
  )
  const walked = (seed: string) => run(parseCheck(['kernel', '--walks', '20', '--steps', '50', '--seed', seed]))
  const { code, text } = await walked('7')
  expect(code).toBe(0)
  expect(text).toMatch(/^kernel: 20 walks \(seed 7\), \d+ steps, \d+ states\. .* chance of about [\d.e-]+ %; \d+ of \d+ local transitions/)
  expect((await walked('7')).text).toBe(text)
  const json = await run(parseCheck(['kernel', '--walks', '2', '--json']))
  expect(JSON.parse(json.text)).toMatchObject({ name: 'kernel', walks: 2, unseen: expect.any(Number), violations: [] })
})

test.each([
  [['--bitstate', '1', '--walks', '1'], /take one/],
  [['--steps', '5'], /go with --walks/],
  [['--reduce', 'size'], /one or both of: order, symmetry/],
  [['--max-states', '0'], /whole number from 1/],
  [['--bitstate', '5000'], /from 1 to 4096/],
])('%j is a usage error', (args, message) => {
  expect(() => parseCheck(args)).toThrow(message)
})

const violated = {
  name: 'server',
  states: 5,
  transitions: 7,
  depth: 2,
  complete: true,
  stopped: null,
  reduced: [],
  notAsked: null,
  notReduced: null,
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
  const model = { from: '../systems/x.ts', name: 'system', args: ['small'] }
  expect(checkText(violated, { trace: 'test', model })).toContain("import { system } from '../systems/x.ts'")
  expect(checkText(violated, { trace: 'test', model })).toContain('replayInKernel(system("small"), property, steps)')
  expect(checkText(violated, { trace: 'test' })).toContain('a model without machines')
})
