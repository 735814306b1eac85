import { describe, expect, test } from 'vitest'
import { brokenRules } from './import-rules.ts'
import { importsOf, sourceFiles } from './source-files.ts'

test('the repository keeps its import rules', () => {
  expect(brokenRules(sourceFiles())).toEqual([])
})

describe('imports are found', () => {
  const cases: [string, ReturnType<typeof importsOf>][] = [
    ["import { a } from 'zod'", [{ target: 'zod', typeOnly: false }]],
    ["import type { A } from '../../kernel/index.ts'", [{ target: 'kernel/index.ts', typeOnly: true }]],
    ["import {\n  a,\n  type B,\n} from './limits.ts'", [{ target: 'actors/x/limits.ts', typeOnly: false }]],
    ["export * from '../y/protocol.ts'", [{ target: 'actors/y/protocol.ts', typeOnly: false }]],
    ["import 'node:fs'", [{ target: 'node:fs', typeOnly: false }]],
    ["const later = () => import('./late.ts')", [{ target: 'actors/x/late.ts', typeOnly: false }]],
    ["type T = import('../y/protocol.ts').T", [{ target: 'actors/y/protocol.ts', typeOnly: true }]],
    ["/**\n * import { a } from 'nowhere'\n */", []],
  ]
  test.each(cases)('%j', (text, expected) => {
    expect(importsOf({ path: 'actors/x/machine.ts', text })).toEqual(expected)
  })
})

describe('each rule is enforced', () => {
  const cases: [string, string, string, boolean][] = [
    ['kernel to actor', 'kernel/a.ts', "import type { A } from '../actors/x/index.ts'", false],
    ['actor to actor', 'actors/x/effects.ts', "import { a } from '../y/effects.ts'", false],
    ['actor to the inside of the kernel', 'actors/x/effects.ts', "import { a } from '../../kernel/router.ts'", false],
    ['actor to client', 'actors/x/effects.ts', "import { a } from '../../client/main.ts'", false],
    ["values of another's protocol", 'actors/x/machine.ts', "import { a } from '../y/protocol.ts'", false],
    ["types of another's protocol", 'actors/x/machine.ts', "import type { A } from '../y/protocol.ts'", true],
    ['machine on xstate', 'actors/x/machine.ts', "import { setup } from 'xstate'\nimport { fault } from '../../kernel/index.ts'", true],
    ['machine on node:', 'actors/x/machine.ts', "import { randomUUID } from 'node:crypto'", false],
    ['machine on effect', 'actors/x/machine.ts', "import * as Effect from 'effect/Effect'", false],
    ['protocol on xstate', 'actors/x/protocol.ts', "import { setup } from 'xstate'", false],
    ['guest for the supervisor', 'actors/vm-supervisor/effects.ts', "import { a } from '../../guest/wire.ts'", true],
    ['guest for another', 'actors/x/effects.ts', "import { a } from '../../guest/wire.ts'", false],
    ['model on the checker', 'actors/x/model.ts', "import type { Model } from '../../checker/model.ts'", true],
    ['part of a model on the types of the checker', 'actors/x/model-world.ts', "import type { Model } from '../../checker/model.ts'", true],
    ['part of a model on the checker', 'actors/x/model-world.ts', "import { check } from '../../checker/explore.ts'", false],
    ['model call of another kind on the checker', 'actors/x/model-call.ts', "import type { Model } from '../../checker/model.ts'", false],
    ['effects on the checker', 'actors/x/effects.ts', "import type { Model } from '../../checker/model.ts'", false],
    ['effects on anything', 'actors/x/effects.ts', "import { readFile } from 'node:fs/promises'", true],
  ]
  test.each(cases)('%s', (_name, path, text, allowed) => {
    expect(brokenRules([{ path, text }]).length).toBe(allowed ? 0 : 1)
  })

  test('a machine may not reach I/O through a file of its folder', () => {
    const files = [
      { path: 'actors/x/machine.ts', text: "import { a } from './plan.ts'" },
      { path: 'actors/x/plan.ts', text: "import { b } from './store.ts'" },
      { path: 'actors/x/store.ts', text: "import { open } from 'node:fs/promises'" },
    ]
    expect(brokenRules(files)).toEqual([
      'actors/x/machine.ts reaches actors/x/store.ts imports node:fs/promises: what it uses must be pure',
    ])
  })
})
