/** A counterexample becomes a test against the running kernel: of one actor, of several, and of what the kernel itself may do. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { type ModelImport, stepsOf, traceTest } from './counterexample.ts'
import { check } from './explore.ts'
import { createKernelReplay } from './kernel-replay.ts'
import type { Model } from './model.ts'
import { replayInKernel } from './replay-verdict.ts'
import type { SystemModel } from './system.ts'
import { actorWith, kernelWith, systemWith } from './testing/broken-product.ts'
import { machine, model } from './testing/seeded.ts'
import type { Violation } from './trace.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

function violationOf(subject: Model | SystemModel): Violation {
  const violation = check(subject, { stopAtFirst: true }).violations.find(({ trace }) => trace.steps.length > 0)
  if (!violation) throw new Error('The bug was not found.')
  return violation
}

/** The steps as a file has them. */
const written = (violation: Violation) => JSON.parse(JSON.stringify(stepsOf(violation.trace))) as ReturnType<typeof stepsOf>
const replay = (subject: Model | SystemModel, violation: Violation) =>
  replayInKernel(subject, violation, written(violation), violation.trace.cycle)

const door = violationOf(model)

describe('one actor', () => {
  test('the way to the bug can be gone in the running kernel, step by step', async () => {
    const way = written(door)
    expect(way.map(({ event }) => event?.type)).toEqual(expect.arrayContaining(['open', 'look.clear', 'replied', 'lock']))
    const replayed = await createKernelReplay(model, way)
    const values: unknown[] = []
    for (const step of way) {
      const taken = await replayed.step(step)
      values.push(typeof taken === 'string' ? taken : taken.info.value)
    }
    await replayed.stop()
    expect(values).toEqual(way.map(({ value }) => value))
    expect(values.at(-1)).toBe('wide')
  })

  test('a way that cannot be gone is not', async () => {
    const way = [{ actor: 'door', label: 'timer', event: { type: 'xstate.after.swing.(machine).swinging' }, value: 'wide' }]
    const went = await replayInKernel(model, door, way)
    expect(went).toMatchObject({ broken: false, steps: 0, text: expect.stringContaining('does not go there') as string })
  })

  test('a mend that leaves each step possible is seen: the property is asked of the running machine', async () => {
    // The lock is written down and the door says it is not: the states are named alike.
    const mended = { ...model, machine: machine.provide({ actions: { lock: () => {} } as never }) }
    const went = await replay(mended, door)
    expect(went).toMatchObject({ broken: false, steps: door.trace.steps.length })
  })

  test.each([
    ['consent', 'consent.serving on ask: without advance'],
    ['policy', 'policy on watch: without answer'],
    ['reader', 'reader.serving on page (2): without readPage'],
  ] as const)('%s, broken at one place: %s', async (actor, change) => {
    const violation = violationOf(actorWith(actor, change))
    expect(await replay(actorWith(actor, change), violation)).toMatchObject({ broken: true })
    expect(await replay(actorWith(actor, null), violation)).toMatchObject({ broken: false })
  })
})

describe('several actors', () => {
  test.each(['deadline', 'actor-down', 'revoked', 'overloaded'])('what the kernel answers in another’s stead: %s', async (code) => {
    const violation = violationOf(kernelWith(code))
    expect(await replay(kernelWith(code), violation)).toMatchObject({ broken: true, steps: violation.trace.steps.length })
    expect(await replay(kernelWith(null), violation)).toMatchObject({ broken: false, steps: violation.trace.steps.length })
  })

  test('a crash is a crash: the actor is there anew, and what it owed is answered', async () => {
    const calm: SystemModel = {
      ...kernelWith(null),
      always: {
        'no crash is noticed': (view) =>
          view.waiting('worker').every((item) => item.what !== 'refused' || item.error.code !== 'actor-down'),
      },
    }
    const { trace } = violationOf(calm)
    const way = JSON.parse(JSON.stringify(stepsOf(trace))) as ReturnType<typeof stepsOf>
    expect(way.at(-1)?.fault).toEqual({ do: 'crash', actor: 'store' })
    const replayed = await createKernelReplay(kernelWith(null), way)
    for (const step of way) expect(await replayed.step(step)).toBeTypeOf('object')
    expect(replayed.view().waiting('worker')).toMatchObject([{ what: 'refused', error: { code: 'actor-down' } }])
    expect(replayed.view().actor('store').context).toEqual({ seen: [] })
    await replayed.stop()
  })
})

describe('as a file', () => {
  const dir = mkdtempSync(join(root, 'checker/generated-'))
  afterAll(() => {
    rmSync(dir, { recursive: true })
  })
  const from = '../testing/broken-product.ts'
  const at = (name: string, ...args: unknown[]): ModelImport => ({ from, name, args })
  const advance = 'consent.serving on revoke: without advance'
  const cases = {
    consent: [actorWith('consent', advance), at('actorWith', 'consent', advance), at('actorWith', 'consent', null)],
    kernel: [kernelWith('deadline'), at('kernelWith', 'deadline'), at('kernelWith', null)],
    permissions: [
      systemWith('permissions', 'consent', advance),
      at('systemWith', 'permissions', 'consent', advance),
      at('systemWith', 'permissions', 'consent', null),
    ],
  } as const

  test('it fails as the counterexample says, and passes when the fault is mended', async () => {
    for (const [name, [broken, asBroken, asMended]] of Object.entries(cases)) {
      const violation = violationOf(broken)
      writeFileSync(join(dir, `${name}-broken.test.ts`), traceTest(name, violation, asBroken))
      writeFileSync(join(dir, `${name}-mended.test.ts`), traceTest(name, violation, asMended))
    }
    const vitest = join(root, 'node_modules/vitest/vitest.mjs')
    const report = join(dir, 'report.json')
    const words = ['run', '--project', 'unit', '--reporter', 'json', '--outputFile', report, dir]
    // It ends with a failure, as it should.
    await promisify(execFile)(process.execPath, [vitest, ...words], { cwd: root }).catch(() => {})
    type Report = { testResults: { name: string; assertionResults: { status: string; failureMessages: string[] }[] }[] }
    const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report
    const results = Object.fromEntries(
      testResults.map(({ name, assertionResults: [one] }) => [
        name.split('/').at(-1),
        `${one?.status} ${/the running kernel [^:(]*/.exec(one?.failureMessages[0] ?? '')?.[0].trim() ?? ''}`.trim(),
      ]),
    )
    expect(results).toEqual({
      'consent-broken.test.ts': 'failed the running kernel takes a step that breaks it',
      'consent-mended.test.ts': 'passed',
      'kernel-broken.test.ts': 'failed the running kernel is in a state that breaks it',
      'kernel-mended.test.ts': 'passed',
      'permissions-broken.test.ts': 'failed the running kernel takes a step that breaks it',
      'permissions-mended.test.ts': 'passed',
    })
  })
})
