import { expect, test } from 'vitest'
import { model as consent } from '../actors/consent/model.ts'
import { judges as conversation } from '../actors/conversation/model.ts'
import { judges as fsGate } from '../actors/fs-gate/model.ts'
import { model as gateway } from '../actors/gateway/model.ts'
import { model as policy } from '../actors/policy/model.ts'
import { judges as reader } from '../actors/reader/model.ts'
import { judges as telemetry } from '../actors/telemetry/model.ts'
import { mutate, perMutant } from './mutate.ts'

/** Where the next state would go as well. */
const sameWay = [
  'conversation.turn.saving on refused, does not go to "ending"',
  'conversation.turn.saved always (2), does not go to "ending"',
  'conversation.closing on replied, does not go to "ready"',
  'conversation.closing on refused, does not go to "ready"',
]

/** The others take minutes: `npm run check:full`. */
test.each([
  ['consent', [consent], 32, []],
  ['conversation', conversation, 130, sameWay],
  ['fs-gate', fsGate, 304, []],
  ['gateway', [gateway], 16, []],
  ['policy', [policy], 14, []],
  ['reader', reader, 24, []],
  ['telemetry', telemetry, 26, []],
] as const)(
  '%s: whatever single place of its machine is broken, some property says so',
  { timeout: 600_000 },
  (_name, models, count, equivalent) => {
    const verdicts = mutate(models, perMutant)
    expect(verdicts).toHaveLength(count)
    const left = verdicts.filter(({ fate }) => fate !== 'killed')
    expect(left.map(({ place, change, fate }) => `${place}, ${change}: ${fate}`)).toEqual(
      equivalent.map((mutant) => `${mutant}: equivalent`),
    )
  },
)
