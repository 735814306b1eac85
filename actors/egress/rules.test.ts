import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { limits } from './limits.ts'
import { changeRules, closedRules, type RuleChange, type Rules, startRules } from './rules.ts'
import { loadRules, saveRules } from './rules-file.ts'

let dir: string
beforeEach(() => (dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egress-rules-'))))
afterEach(() => fs.rmSync(dir, { recursive: true }))

function changed(changes: readonly [RuleChange, string | null][], from: Rules = startRules): Rules {
  return changes.reduce((rules, [change, session]) => {
    const result = changeRules(rules, change, session)
    if (!result.ok) throw new Error(result.error.message)
    return result.rules
  }, from)
}

test('a pattern is on one list at a time, in one spelling', () => {
  const rules = changed([
    [{ change: 'allow', pattern: 'EXAMPLE.com.' }, null],
    [{ change: 'allow', pattern: 'example.com' }, null],
    [{ change: 'allow', pattern: '*.Bücher.example:8443' }, null],
    [{ change: 'deny', pattern: 'example.com' }, null],
  ])
  expect(rules.member).toEqual({ mode: 'list', allow: ['*.xn--bcher-kva.example:8443'], deny: ['example.com'] })
  expect(changed([[{ change: 'forget', pattern: 'example.com' }, null]], rules).member.deny).toEqual([])
})

test("a session's rules are its own, and gone when nothing is left of them", () => {
  const rules = changed([
    [{ change: 'deny', pattern: 'a.example' }, 's-1'],
    [{ change: 'mode', mode: 'none' }, 's-1'],
  ])
  expect(rules).toEqual({ member: startRules.member, sessions: { 's-1': { mode: 'none', deny: ['a.example'] } } })
  const over = changed(
    [
      [{ change: 'forget', pattern: 'a.example' }, 's-1'],
      [{ change: 'mode', mode: null }, 's-1'],
    ],
    rules,
  )
  expect(over).toEqual(startRules)
})

test.each([
  [{ change: 'allow', pattern: '*' }, null, 'bad-settings'],
  [{ change: 'allow', pattern: '*.com' }, null, 'bad-settings'],
  [{ change: 'deny', pattern: 'https://x' }, null, 'bad-settings'],
  [{ change: 'allow', pattern: 'a.example' }, 's-1', 'bad-settings'],
  [{ change: 'mode', mode: null }, null, 'bad-settings'],
] as const)('%j of %s is refused: %s', (change, session, code) => {
  expect(changeRules(startRules, change, session)).toMatchObject({ ok: false, error: { code } })
})

test('lists are bounded, and full ones refuse instead of forgetting', () => {
  const full = { ...startRules, member: { ...startRules.member, deny: Array.from({ length: limits.rules }, (_, at) => `h${at}.example`) } }
  expect(changeRules(full, { change: 'deny', pattern: 'one.more' }, null)).toMatchObject({ ok: false, error: { code: 'overloaded' } })
  const sessions = Object.fromEntries(
    Array.from({ length: limits.sessionsWithRules }, (_, at) => [`s-${at}`, { mode: null, deny: ['a.b'] }]),
  )
  expect(changeRules({ ...startRules, sessions }, { change: 'deny', pattern: 'a.b' }, 'other')).toMatchObject({
    ok: false,
    error: { code: 'overloaded' },
  })
})

test('what is saved is loaded, privately kept', async () => {
  expect(await loadRules(dir)).toEqual({ rules: startRules, problem: null })
  const rules = changed([
    [{ change: 'allow', pattern: 'a.example' }, null],
    [{ change: 'mode', mode: 'packages' }, 's-1'],
  ])
  await saveRules(dir, rules)
  expect(await loadRules(dir)).toEqual({ rules, problem: null })
  expect(fs.statSync(path.join(dir, 'rules.json')).mode & 0o777).toBe(0o600)
})

test.each(['', '{', '[]', '{"version":2}', '{"version":1,"member":{"mode":"all","allow":[],"deny":[]},"sessions":{},"more":1}'])(
  'a file of %j allows nothing, and says why',
  async (text) => {
    fs.writeFileSync(path.join(dir, 'rules.json'), text)
    expect(await loadRules(dir)).toMatchObject({ rules: closedRules, problem: /cannot be used/ })
  },
)
