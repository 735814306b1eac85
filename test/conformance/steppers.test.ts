/** What runs is the table made from a machine; what the machine means is what xstate makes of it. They are compared on every edge the models reach. */
import { globSync, readdirSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import { check } from '../../checker/explore.ts'
import type { Model } from '../../checker/model.ts'
import { createStepper } from '../../kernel/stepper.ts'
import { createPairedStepper, Difference } from '../../kernel/testing/paired-stepper.ts'
import type { Actor } from '../../kernel/types.ts'

const root = new URL('../../', import.meta.url)
/** Where a machine is particular about what it is started with. */
const paramsOf: Readonly<Record<string, object>> = {
  'mcp-server': {
    name: 's',
    command: '/bin/true',
    args: [],
    env: {},
    network: false,
    folders: [],
    code: [],
    data: '/d',
    nodeBinary: '/node',
  },
}
const kinds = readdirSync(new URL('actors/', root))

test.each(globSync('actors/*/model.ts', { cwd: root }).toSorted())(
  '%s: the table and xstate agree on every explored edge',
  async (path) => {
    const { model } = (await import(new URL(path, root).href)) as { model: Model }
    let compared = () => 0
    const stepper = (machine: AnyStateMachine) => {
      const paired = createPairedStepper(machine)
      compared = paired.compared
      return paired
    }
    const result = check(model, { maxStates: 5_000, stepper })
    expect(result.violations.filter(({ kind }) => kind === 'crash').map(({ detail }) => detail)).toEqual([])
    expect(compared()).toBeGreaterThan(0)
  },
)

describe.each(kinds)('actors/%s', (kind) => {
  test('runs on the table', async () => {
    expect(createStepper(await machineOf(kind)).engine).toBe('table')
  })

  test('the table and xstate agree on walks at random', async () => {
    const machine = await machineOf(kind)
    const types = [...new Set(typesOf(machine.root))].filter((type) => !type.includes('*'))
    const thing = fc.anything({
      maxDepth: 2,
      withNullPrototype: false,
      key: fc.constantFrom('session', 'path', 'folder', 'text', 'conn', 'id'),
    })
    const event = fc.record({
      type: fc.constantFrom(...types),
      body: thing,
      from: fc.record({
        request: fc.option(fc.nat(5)),
        badge: fc.record({ from: fc.constant('x'), session: fc.option(fc.constant('s-1')), limits: fc.constant({}) }),
        caps: fc.array(fc.nat(5), { maxLength: 2 }),
      }),
      ref: fc.oneof(fc.constantFrom('load', 'policy', '1', 'turn:1'), fc.string()),
      request: fc.nat(5),
      error: fc.constant({ code: 'denied', message: '', remedy: '' }),
    })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), (events) => {
        const stepper = createPairedStepper(machine)
        let { snapshot } = stepper.initial({ params: paramsOf[kind] ?? { session: 's-1', home: '/h', fds: {} }, slots: [] })
        for (const item of events) {
          try {
            ;({ snapshot } = stepper.step(snapshot, item))
          } catch (error) {
            // Bodies at random are none a schema lets through: that a step throws is no news, that only one of the two throws is.
            if (error instanceof Difference) throw error
          }
        }
      }),
      { numRuns: 60 },
    )
  })
})

async function machineOf(kind: string): Promise<AnyStateMachine> {
  return ((await import(new URL(`actors/${kind}/index.ts`, root).href)) as { actor: Actor }).actor.machine
}

function typesOf(node: AnyStateMachine['root']): string[] {
  return [...node.transitions.keys(), ...Object.values(node.states).flatMap((child) => typesOf(child as AnyStateMachine['root']))]
}
