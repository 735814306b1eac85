import { initialTransition, transition } from 'xstate'
import { expect, test } from 'vitest'
import { fault } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import { machine } from './machine.ts'
import { closedRules, type RuleChange, startRules } from './rules.ts'

type Event = Parameters<typeof transition<typeof machine>>[2]
const input = { params: { fds: { secrets: 9 }, baseUrl: null }, slots: [] }

function start() {
  let [snapshot, actions] = initialTransition(machine, input)
  // Timers are the runtime's; the transitions they cause are tested by sending what they send.
  const left = () =>
    (actions as readonly { type: string; params?: unknown }[]).filter(({ type }) => type !== 'xstate.raise' && type !== 'xstate.cancel')
  const names = () =>
    left().map(({ type, params }) =>
      type === 'xstate.emit'
        ? (params as { event: { type: string; request?: number; error?: { code: string } } }).event
        : { effect: type, params },
    )
  return {
    initial: names(),
    send(event: Event) {
      ;[snapshot, actions] = transition(machine, snapshot, event)
      return names()
    },
    state: () => snapshot.value,
    context: () => snapshot.context,
  }
}

const from = (request: number | null, hosts?: string[]) => ({
  request,
  badge: { from: 'conversation:s', session: 's', limits: hosts ? { hosts } : {} },
  caps: [],
})
const model = (request: number | null): Event => ({
  type: 'model',
  body: { method: 'POST', path: '/v1/messages', headers: {}, body: '' },
  from: from(request),
})
const fetching = (request: number, hosts?: string[]): Event => ({
  type: 'fetch',
  body: { url: 'https://example.com/' },
  from: from(request, hosts),
})

test('opens the upstream first, and takes requests meanwhile', () => {
  const egress = start()
  expect(egress.initial).toEqual([
    { type: 'send', to: 'policy', kind: 'watch', body: {}, ref: 'policy', deadlineMs: null },
    { effect: 'loadPolicy' },
    { effect: 'openUpstream', params: { baseUrl: null } },
  ])
  expect(egress.send(model(1))).toMatchObject([{ effect: 'forward', params: { request: 1 } }])
  egress.send({ type: 'openUpstream.opened' })
  expect(egress.state()).toEqual({ up: 'serving' })
  expect(egress.send({ type: 'model-info', body: {}, from: from(2) })).toMatchObject([{ effect: 'describe' }])
})

test("the allow list is the capability's, never the body's; none is none", () => {
  const egress = start()
  expect(egress.send(fetching(1, ['example.com']))).toMatchObject([
    { effect: 'fetchPage', params: { request: 1, bearer: { session: 's', hosts: ['example.com'] } } },
  ])
  expect(egress.send(fetching(2))).toMatchObject([{ effect: 'fetchPage', params: { request: 2, bearer: { hosts: [] } } }])
  expect(egress.send({ type: 'explain', body: { url: 'x' }, from: from(3, ['a.b']) })).toMatchObject([
    { effect: 'explain', params: { bearer: { hosts: ['a.b'] } } },
  ])
})

test('each outcome is one answer, and makes room', () => {
  const egress = start()
  egress.send(model(1))
  egress.send(fetching(2))
  expect(egress.send({ type: 'forward.done', request: 1 })).toEqual([{ type: 'reply', request: 1, body: {} }])
  expect(egress.send({ type: 'fetchPage.failed', request: 2, error: fault('fetch-failed', 'x') })).toMatchObject([
    { type: 'refuse', request: 2, error: { code: 'fetch-failed' } },
  ])
  egress.send(model(3))
  expect(egress.send({ type: 'forward.crashed', request: 3 })).toMatchObject([{ type: 'refuse', request: 3, error: { code: 'internal' } }])
  egress.send(fetching(4))
  expect(egress.send({ type: 'fetchPage.done', request: 4, reply: { x: 1 } })).toEqual([{ type: 'reply', request: 4, body: { x: 1 } }])
  expect(egress.context()).toMatchObject({ models: [], fetches: [] })
})

test('in flight is bounded; a cancelled request makes room', () => {
  const egress = start()
  for (let request = 1; request <= limits.modelInFlight; request += 1) egress.send(model(request))
  expect(egress.send(model(1000))).toMatchObject([{ type: 'refuse', request: 1000, error: { code: 'overloaded' } }])
  expect(egress.send({ type: 'cancelled', request: 1 })).toEqual([])
  expect(egress.send(model(1001))).toMatchObject([{ effect: 'forward' }])
  for (let request = 2000; request < 2000 + limits.fetchInFlight; request += 1) egress.send(fetching(request))
  expect(egress.send(fetching(3000))).toMatchObject([{ type: 'refuse', error: { code: 'overloaded' } }])
})

test('while the upstream cannot be opened, models are refused with the reason, fetches go on, and it is tried again', () => {
  const egress = start()
  egress.send({ type: 'openUpstream.failed', error: fault('model-unreachable', 'bad base') })
  expect(egress.state()).toEqual({ up: 'closed' })
  expect(egress.send(model(1))).toMatchObject([
    { type: 'refuse', error: { code: 'model-unreachable', message: 'bad base', retryAfterMs: limits.reopenMs } },
  ])
  expect(egress.send(fetching(2))).toMatchObject([{ effect: 'fetchPage' }])
  expect(egress.send({ type: 'xstate.after.reopen.egress.up.closed' } as never)).toMatchObject([{ effect: 'openUpstream' }])
  expect(egress.send(model(3))).toMatchObject([{ effect: 'forward' }])
})

test('a message without a request does nothing; when stopping nothing new is taken on', () => {
  const egress = start()
  expect(egress.send(model(null))).toEqual([])
  expect(egress.send({ type: 'stopping' })).toEqual([{ effect: 'closeUpstream', params: undefined }])
  expect(egress.send(model(1))).toEqual([])
})

const managed = (hosts: string[] | null): Event => ({
  type: 'part',
  ref: 'policy',
  kind: 'watch',
  body: { policy: { values: { coworkEgressAllowedHosts: hosts }, decidedBy: {}, failedClosed: false } },
})
const rulesLoaded: Event = { type: 'loadPolicy.loaded', rules: startRules, problem: null, registries: [] }
const change = (request: number, rule: RuleChange, session: string | null = null): Event => ({
  type: 'change-rule',
  body: { rule, session },
  from: from(request),
})

test('policy is put in force once rules and managed policy are known, whichever comes first, and again at every change', () => {
  for (const events of [
    [managed(['a.b']), rulesLoaded],
    [rulesLoaded, managed(['a.b'])],
  ] as const) {
    const egress = start()
    expect(egress.send(events[0])).toEqual([])
    expect(egress.send(events[1])).toMatchObject([
      { effect: 'applyPolicy', params: { inputs: { ...startRules, registries: [], managed: { hosts: ['a.b'] } } } },
    ])
    expect(egress.send(managed(null))).toMatchObject([{ effect: 'applyPolicy', params: { inputs: { managed: { hosts: null } } } }])
  }
})

test('a rule is in force before it is saved, and told when it is', () => {
  const egress = start()
  egress.send(managed(null))
  egress.send(rulesLoaded)
  const inForce = { member: { deny: ['a.b'] } }
  expect(egress.send(change(2, { change: 'deny', pattern: 'a.b' }))).toMatchObject([
    { effect: 'applyPolicy', params: { inputs: inForce } },
    { effect: 'saveRules', params: { request: 2, rules: inForce } },
  ])
  expect(egress.send({ type: 'saveRules.done', request: 2, reply: {} })).toEqual([{ type: 'reply', request: 2, body: {} }])
  expect(egress.send(change(3, { change: 'deny', pattern: 'a b' }))).toMatchObject([{ type: 'refuse', error: { code: 'bad-settings' } }])
})

test('the way out that policy names is put in force with it; a script counts before a proxy', () => {
  const said = (values: object, decidedBy: object = {}): Event => ({
    type: 'part',
    ref: 'policy',
    kind: 'watch',
    body: { policy: { values: { coworkEgressAllowedHosts: null, ...values }, decidedBy, failedClosed: false } },
  })
  const egress = start()
  egress.send(rulesLoaded)
  const proxyOf = (effects: unknown) =>
    (effects as { params: { inputs: { managed: { proxy: object } } } }[])[0]?.params.inputs.managed.proxy
  expect(proxyOf(egress.send(said({})))).toEqual({ url: null, pac: null, decidedBy: 'default' })
  const url = 'http://proxy.example:3128'
  const both = { egressProxyUrl: url, egressProxyPacUrl: 'http://proxy.example/p.pac' }
  const decided = { egressProxyUrl: 'm', egressProxyPacUrl: 'n' }
  expect(proxyOf(egress.send(said({ egressProxyUrl: url, egressProxyPacUrl: null }, decided)))).toEqual({ url, pac: null, decidedBy: 'm' })
  expect(proxyOf(egress.send(said(both, decided)))).toEqual({ url, pac: both.egressProxyPacUrl, decidedBy: 'n' })
})

test('who asks of the rules before they and the managed policy are known is answered from what they say, in order', () => {
  const egress = start()
  const show = (request: number) => ({ type: 'rules', body: {}, from: from(request) }) as const
  const asked = [show(1), change(2, { change: 'deny', pattern: 'a.b' }), show(3), change(4, { change: 'deny', pattern: 'c.d' }), show(5)]
  for (const question of asked) expect(egress.send(question)).toEqual([])
  expect(egress.send({ type: 'cancelled', request: 4 })).toEqual([])
  expect(egress.send(rulesLoaded)).toEqual([])
  const deny = { member: { deny: ['a.b'] } }
  expect(egress.send(managed(['x.y']))).toMatchObject([
    { effect: 'applyPolicy', params: { inputs: { ...deny, managed: { hosts: ['x.y'] } } } },
    { effect: 'showRules', params: { request: 1, view: { member: { deny: [] }, managed: { hosts: ['x.y'] } } } },
    { effect: 'saveRules', params: { request: 2, rules: deny } },
    { effect: 'showRules', params: { request: 3, view: deny } },
    { effect: 'showRules', params: { request: 5, view: deny } },
  ])
  expect(egress.context().policy.held).toEqual([])
})

test('no more questions wait than may', () => {
  const egress = start()
  for (let request = 0; request < limits.heldQuestions; request += 1)
    expect(egress.send({ type: 'rules', body: {}, from: from(request) })).toEqual([])
  expect(egress.send({ type: 'rules', body: {}, from: from(limits.heldQuestions) })).toMatchObject([
    { type: 'refuse', error: { code: 'overloaded' } },
  ])
})

test('rules that could not be read are not written over', () => {
  const egress = start()
  egress.send(managed(null))
  egress.send({ type: 'loadPolicy.loaded', rules: closedRules, problem: 'broken', registries: [] })
  expect(egress.send(change(1, { change: 'allow', pattern: 'a.b' }))).toMatchObject([
    { type: 'refuse', error: { code: 'bad-settings', cause: 'broken' } },
  ])
})

test("policy's actor that goes down is asked again; what it said stays in force", () => {
  const egress = start()
  egress.send(managed([]))
  expect(egress.send({ type: 'refused', ref: 'policy', kind: 'watch', error: fault('actor-down', 'x') })).toMatchObject([
    { effect: 'rest' },
  ])
  expect(egress.send({ type: 'rest.done' })).toMatchObject([{ type: 'send', to: 'policy', kind: 'watch' }])
  expect(egress.context().policy.managed).toMatchObject({ hosts: [] })
})

test('registries that changed since are put in force when the rules are shown', () => {
  const egress = start()
  egress.send(managed(null))
  egress.send(rulesLoaded)
  const registries = [{ manager: 'npm' as const, pattern: 'r.example:443', source: '/etc/npmrc' }]
  expect(egress.send({ type: 'rules', body: {}, from: from(1) })).toMatchObject([{ effect: 'showRules', params: { view: startRules } }])
  expect(egress.send({ type: 'showRules.done', request: 1, reply: { x: 1 }, registries })).toMatchObject([
    { effect: 'applyPolicy', params: { inputs: { registries } } },
    { type: 'reply', request: 1, body: { x: 1 } },
  ])
})
