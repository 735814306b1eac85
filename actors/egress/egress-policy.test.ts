import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Bearer, compileEgressPolicy, type Mode, modes, noRules, type PolicyInputs } from './egress-policy.ts'
import { compileRules } from './rule-set.ts'

const unmanaged = { hosts: null, decidedBy: 'default', failedClosed: false }
const base: PolicyInputs = {
  member: noRules,
  sessions: {},
  managed: unmanaged,
  registries: [{ manager: 'npm', pattern: 'registry.example:443', source: '/etc/npmrc' }],
}
const usual = ['@member', '?']

function decide(inputs: Partial<PolicyInputs>, bearer: Partial<Bearer>, to: string) {
  const [, host = '', port = '443'] = /^(.*?)(?::(\d+))?$/.exec(to) ?? []
  return compileEgressPolicy({ ...base, ...inputs })
    .bearer({ session: 's-1', hosts: usual, ...bearer })
    .decide({ host, port: Number(port) })
}
const member = (mode: Mode, allow: string[] = [], deny: string[] = []) => ({ member: { mode, allow, deny } })

describe('modes', () => {
  test.each([
    ['none', 'registry.example', 'deny', 'mode none'],
    ['none', 'listed.example', 'deny', 'mode none'],
    ['packages', 'registry.example', 'allow', 'registry registry.example:443 (/etc/npmrc)'],
    ['packages', 'registry.example:80', 'deny', 'mode packages'],
    ['packages', 'listed.example', 'deny', 'mode packages'],
    ['list', 'listed.example', 'allow', 'allow listed.example (egress rules)'],
    ['list', 'registry.example', 'ask', 'hosts: not listed'],
    ['list', 'other.example', 'ask', 'hosts: not listed'],
    ['all', 'other.example', 'allow', 'mode all'],
    ['all', 'denied.example', 'deny', 'deny denied.example (egress rules)'],
  ] as const)('%s: %s is %s by %s', (mode, host, verdict, rule) => {
    expect(decide(member(mode, ['listed.example'], ['denied.example']), {}, host)).toMatchObject({ verdict, rule })
  })
  test("a session's own mode takes the place of the device's", () => {
    const inputs = { ...member('all'), sessions: { 's-1': { mode: 'none' as const, deny: [] } } }
    expect(decide(inputs, {}, 'a.example')).toMatchObject({ verdict: 'deny', rule: 'mode none (session s-1)' })
    expect(decide(inputs, { session: 's-2' }, 'a.example')).toMatchObject({ verdict: 'allow' })
    expect(decide(inputs, { session: null }, 'a.example')).toMatchObject({ verdict: 'allow' })
  })
})

describe('capabilities', () => {
  test.each([
    [[], 'deny', 'hosts: none'],
    [['a.example'], 'allow', 'allow a.example'],
    [['b.example'], 'deny', 'hosts: not listed'],
    [['*'], 'allow', 'allow *'],
    [['?'], 'ask', 'hosts: not listed'],
    [['bad pattern', 'a.example'], 'allow', 'allow a.example'],
    [['@packages'], 'deny', 'hosts: none'],
  ])('with hosts %j: %s by %s', (hosts, verdict, rule) => {
    expect(decide({}, { hosts }, 'a.example')).toMatchObject({ verdict, rule })
  })
  test('@packages is the registries', () => {
    expect(decide({}, { hosts: ['@packages'] }, 'registry.example')).toMatchObject({ verdict: 'allow' })
  })
  test("a narrower one does not gain by the member's rules", () => {
    expect(decide(member('all'), { hosts: ['b.example'] }, 'a.example')).toMatchObject({ verdict: 'deny' })
    expect(decide(member('list', ['a.example']), { hosts: ['b.example'] }, 'a.example')).toMatchObject({ verdict: 'deny' })
  })
})

describe('deny', () => {
  test('beats every allow, whichever is the more specific', () => {
    const denied = member('all', ['a.b.example'], ['*.b.example'])
    expect(decide(denied, { hosts: ['a.b.example', '*'] }, 'a.b.example')).toMatchObject({ verdict: 'deny', rule: /deny \*\.b\.example/ })
    expect(decide(denied, {}, 'b.example')).toMatchObject({ verdict: 'allow' })
    expect(decide(member('all', [], ['a.example:22']), {}, 'a.example:443')).toMatchObject({ verdict: 'allow' })
  })
  test("a session's denials are its own", () => {
    const inputs = { ...member('all'), sessions: { 's-1': { mode: null, deny: ['a.example'] } } }
    expect(decide(inputs, {}, 'a.example')).toMatchObject({ verdict: 'deny', rule: 'deny a.example (session s-1)' })
    expect(decide(inputs, { session: 's-2' }, 'a.example')).toMatchObject({ verdict: 'allow' })
  })
})

describe('managed policy', () => {
  const managed = (hosts: string[] | null, failedClosed = false) => ({
    managed: { hosts, decidedBy: 'managed settings, /m', failedClosed },
  })
  test('bounds everything, and is not asked about', () => {
    const inputs = { ...member('all', ['a.example']), ...managed(['*.corp.example']) }
    expect(decide(inputs, { hosts: ['*', ...usual] }, 'a.example')).toMatchObject({
      verdict: 'deny',
      rule: 'policy coworkEgressAllowedHosts (managed settings, /m)',
    })
    expect(decide(inputs, {}, 'x.corp.example')).toMatchObject({ verdict: 'allow' })
    expect(decide({ ...member('list'), ...managed(['a.example']) }, {}, 'a.example')).toMatchObject({ verdict: 'ask' })
  })
  test('an empty list allows nothing; a bad entry voids only itself; * does not restrict', () => {
    expect(decide({ ...member('all'), ...managed([]) }, {}, 'a.example')).toMatchObject({ verdict: 'deny' })
    expect(decide({ ...member('all'), ...managed(['https://x', 'a.example']) }, {}, 'a.example')).toMatchObject({ verdict: 'allow' })
    expect(decide({ ...member('all'), ...managed(['*']) }, {}, 'a.example')).toMatchObject({ verdict: 'allow' })
  })
  test('unusable: what the member allowed no longer counts, what the member denied does', () => {
    const inputs = { ...member('all', ['a.example'], ['b.example']), ...managed(null, true) }
    expect(decide(inputs, {}, 'a.example')).toMatchObject({ verdict: 'ask' })
    expect(decide(inputs, {}, 'b.example')).toMatchObject({ verdict: 'deny' })
  })
})

const decisions: [allow: string[], deny: string[], host: string, port: number, allowed: boolean][] = [
  [[], [], 'example.com', 443, false],
  [['example.com'], [], 'example.com', 443, true],
  [['example.com'], [], 'www.example.com', 443, false],
  [['example.com'], [], 'evilexample.com', 443, false],
  [['example.com'], [], 'example.com.evil.com', 443, false],
  [['*.example.com'], [], 'example.com', 443, false],
  [['*.example.com'], [], 'a.example.com', 443, true],
  [['*.example.com'], [], 'a.b.c.example.com', 443, true],
  [['*.example.com'], [], 'evilexample.com', 443, false],
  [['*.example.com'], [], 'a.example.com.evil.com', 443, false],
  [['EXAMPLE.com.'], [], 'example.com', 443, true],
  [['Bücher.example'], [], 'xn--bcher-kva.example', 443, true],
  [['example.com:8443'], [], 'example.com', 8443, true],
  [['example.com:8443'], [], 'example.com', 443, false],
  [['*.example.com'], ['secret.example.com'], 'secret.example.com', 443, false],
  [['*.example.com'], ['*.secret.example.com'], 'a.secret.example.com', 443, false],
  [['example.com'], ['example.com:80'], 'example.com', 443, true],
  [['example.com'], ['example.com:80'], 'example.com', 80, false],
  [['*.com', 'bad host'], [], 'example.com', 443, false],
  [['bad host', 'example.com'], [], 'example.com', 443, true],
  [['8.8.8.8'], [], '8.8.8.8', 443, true],
  [['*.8.8.8'], [], '8.8.8.8', 443, false],
]
test.each(decisions)('allow %j deny %j: %s:%d -> %s', (hosts, deny, host, port, allowed) => {
  expect(decide(member('list', [], deny), { hosts }, `${host}:${port}`).verdict).toBe(allowed ? 'allow' : 'deny')
})

test('warnings name each bad entry', () => {
  const { warnings } = compileEgressPolicy({ ...base, ...member('list', ['*.com', 'ok.example'], ['http://x']) })
  expect(warnings).toEqual([expect.stringContaining('allow entry "*.com"'), expect.stringContaining('deny entry "http://x"')])
})

const hosts = fc.constantFrom('a.example', 'b.example', 'x.a.example', 'y.x.a.example', 'evila.example', '10.0.0.1', 'registry.example')
const entries = fc.array(
  fc.constantFrom(
    'a.example',
    '*.a.example',
    'a.example:443',
    'b.example',
    '*.x.a.example:8443',
    '10.0.0.1',
    '*',
    '?',
    '@member',
    '@packages',
  ),
)
const inputsOf = fc.record({
  member: fc.record({ mode: fc.constantFrom(...modes), allow: entries, deny: entries }),
  sessions: fc.record({ 's-1': fc.record({ mode: fc.option(fc.constantFrom(...modes)), deny: entries }) }),
  managed: fc.record({ hosts: fc.option(entries), decidedBy: fc.constant('m'), failedClosed: fc.boolean() }),
  registries: fc.constant(base.registries),
})

test('narrowing a capability, and every further denial, only takes away', () => {
  const rank = { deny: 0, ask: 1, allow: 2 }
  fc.assert(
    fc.property(
      inputsOf,
      entries,
      fc.array(fc.boolean()),
      entries,
      hosts,
      fc.constantFrom(443, 8443),
      (inputs, held, keep, deny, host, port) => {
        const verdict = (of: PolicyInputs, list: readonly string[]) =>
          rank[compileEgressPolicy(of).bearer({ session: 's-1', hosts: list }).decide({ host, port }).verdict]
        const whole = verdict(inputs, held)
        // The kernel narrows by dropping entries. Without `@member` a mode of `all` is lost as well.
        const fewer = held.filter((_, at) => keep[at])
        expect(verdict(inputs, fewer)).toBeLessThanOrEqual(whole)
        const denied = { ...inputs, member: { ...inputs.member, deny: [...inputs.member.deny, ...deny] } }
        expect(verdict(denied, held)).toBeLessThanOrEqual(whole)
        expect(verdict({ ...inputs, managed: { ...inputs.managed, hosts: deny } }, held)).toBeLessThanOrEqual(
          verdict({ ...inputs, managed: { ...inputs.managed, hosts: null } }, held),
        )
      },
    ),
    { numRuns: 2_000 },
  )
})

test('the index finds what reading the list from end to end finds', () => {
  fc.assert(
    fc.property(entries, hosts, fc.constantFrom(443, 8443), (list, host, port) => {
      const covers = (entry: string) => {
        const [, star, name, at] = /^(\*\.)?([a-z0-9.]+?)(?::(\d+))?$/.exec(entry) ?? []
        if (name === undefined || (at !== undefined && Number(at) !== port)) return false
        return star ? host.endsWith(`.${name}`) : host === name
      }
      expect(compileRules(list, 'x').find({ host, port }) !== null).toBe(list.some(covers))
    }),
    { numRuns: 2_000 },
  )
})
