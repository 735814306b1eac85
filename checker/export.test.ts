/** Spin is the judge: what we export has the states we count, the dead ends we find and the verdicts we give. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { model as consent } from '../actors/consent/model.ts'
import type { Context as ConversationContext } from '../actors/conversation/context.ts'
import { model as conversation } from '../actors/conversation/model.ts'
import { model as policy } from '../actors/policy/model.ts'
import { model as reader } from '../actors/reader/model.ts'
import { model as supervisor } from '../actors/vm-supervisor/model.ts'
import { smooth } from '../actors/vm-supervisor/model-world.ts'
import { examine } from './explore.ts'
import { promela } from './export-promela.ts'
import { exported } from './export-rows.ts'
import { tla } from './export-tla.ts'
import type { Model } from './model.ts'
import { asynchronousInterface, dieHard, diningPhilosophers, peterson } from './published/classics.ts'
import { twoPhase } from './published/two-phase.ts'
import { kernelAlone } from './systems/kernel.ts'
import { system as permissions } from './systems/permissions.ts'
import { system as supervision } from './systems/supervision-one-for-all.ts'

type Subject = Parameters<typeof examine>[0]

/** A model of few stimuli: of one actor each transition is an option of its own, and the C compiler takes minutes for ten thousand. */
const few = (model: Model, ...names: readonly string[]): Model => ({
  ...model,
  stimuli: model.stimuli.filter(({ name }) => names.includes(name)),
  // What is reached with all of them.
  sometimes: {},
})

/** After the first answer the model asks for nothing more. */
const answering: Model = {
  ...conversation,
  effects: {
    ...conversation.effects,
    callModel: (params: never, view) =>
      (conversation.effects['callModel']?.(params, view) ?? []).filter(
        ({ event }) => (view.context as ConversationContext).turn?.modelCalls === 1 || event['stopReason'] !== 'tool_use',
      ),
  },
}

const subjects: [string, () => Subject][] = [
  ['policy', () => policy],
  ['reader', () => reader],
  ['consent', () => few(consent, 'policy tells', 'open', 'ask to write', 'give up', 'take the folder back', 'close')],
  ['conversation, one answer with calls', () => few(answering, 'prompt', 'interrupt')],
  ['vm-supervisor, all going well', () => few({ ...supervisor, effects: { ...supervisor.effects, ...smooth } }, 'attach', 'exec')],
  ['the kernel alone', kernelAlone],
  ['permissions, of the web', () => permissions('full')],
  ['supervision, one-for-all', () => supervision('small')],
  ['two-phase commit, N=3', () => twoPhase(3)],
  ['DieHard, whose property is broken', dieHard],
  ['DiningPhilosophers', diningPhilosophers],
  ['AsynchInterface, with several initial states', asynchronousInterface],
  ['Peterson', peterson],
]

type SpinRun = { states: number; errors: number }

/** @param safety continue after errors and count states without a successor; otherwise stop at the first broken assertion */
function spin(text: string, safety: boolean): SpinRun {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-spin-'))
  try {
    writeFileSync(join(folder, 'model.pml'), text)
    const run = (command: string, args: string[]) =>
      execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 })
    run('spin', ['-a', 'model.pml'])
    run('cc', ['-O0', '-w', '-DSAFETY', '-DNOREDUCE', '-o', 'pan', 'pan.c'])
    const out = run('./pan', ['-m100000', ...(safety ? ['-c0', '-A'] : ['-E'])])
    return { states: Number(/(\d+) states, stored/.exec(out)?.[1]), errors: Number(/errors: (\d+)/.exec(out)?.[1]) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe.each(subjects)('%s', (_, subject) => {
  const { found, tables, result } = examine(subject(), { maxStates: 100_000 })
  const model = exported(tables, found)

  test('Spin finds the same states and the same dead ends', () => {
    const { states, errors } = spin(promela({ ...model, forbidden: [] }), true)
    const choice = model.initial.length > 1 ? 1 : 0
    expect({ states, errors }).toEqual({ states: result.states + choice, errors: model.terminal })
  })

  test('Spin gives the same verdict', () => {
    const holds = result.properties.every(({ kind, held }) => kind !== 'always' || held)
    expect(spin(promela(model), false).errors === 0).toBe(holds)
  })

  test('the TLA+ module names every variable and every step', () => {
    const { module, config } = tla(model)
    expect(module.match(/^Step\d+ ==/gm)).toHaveLength(model.rows.length)
    expect(module).toMatch(/^---- MODULE \w+ ----/)
    expect(config).toContain('SPECIFICATION Spec')
  })
})

/** Two models with steps for several loops, one of them with a choice before them. */
test.each<[string, () => Subject, number]>([
  ['DieHard', dieHard, 40],
  ['AsynchInterface, with several initial states', asynchronousInterface, 2],
])('more steps than Spin reads in one loop are in several: %s', (_, subject, inOne) => {
  const { found, tables, result } = examine(subject(), { maxStates: 100_000 })
  const text = promela({ ...exported(tables, found), forbidden: [] }, inOne)
  expect(text.match(/^active proctype/gm)?.length).toBeGreaterThan(1)
  const { states, errors } = spin(text, true)
  const { initial, terminal } = exported(tables, found)
  expect({ states, errors }).toEqual({ states: result.states + (initial.length > 1 ? 1 : 0), errors: terminal })
})
