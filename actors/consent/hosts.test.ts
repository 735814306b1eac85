/** Hosts of a session, on consent's machine: the question about one that is not listed, and the member's changes. */
import { describe, expect, test } from 'vitest'
import { type Command, createStepper } from '../../kernel/stepper.ts'
import type { Outgoing } from '../../kernel/types.ts'
import { canonicalHostPattern } from './host-overlap.ts'
import { machine } from './machine.ts'
import type { Context } from './state.ts'

type Sent = Extract<Outgoing, { type: 'send' }>
const policy = {
  values: {
    isEnabledForOrganization: true,
    allowedWorkspaceFolders: null,
    coworkEgressAllowedHosts: null,
    disabledBuiltinTools: [],
    builtinToolPolicy: {},
    otlpEndpoint: null,
    otlpContentCapture: [],
  },
  decidedBy: {},
  failedClosed: false,
}

/** A session that is open, and everyone it talks to answering at once, but for the member. */
function world(approve: string, hosts: string[] = []) {
  const stepper = createStepper(machine)
  let { snapshot } = stepper.initial(undefined)
  let [slot, grant, request] = [100, 1, 0]
  const out: Outgoing[] = []
  const replies: Record<string, () => { body: unknown; caps?: number[] } | null> = {
    spawn: () => ({ body: { id: 'conversation:s-new' }, caps: [slot++] }),
    derive: () => ({ body: { grant: grant++ }, caps: [slot++] }),
    'ask-member': () => null,
    explain: () => ({ body: { verdict: 'ask', allowed: false, rule: 'r', reason: 'x' } }),
  }
  function feed(event: { type: string; [field: string]: unknown }): void {
    const queue = [event]
    const take = (command: Command): void => {
      if (command.do === 'effect') queue.push({ type: `${command.name}.done`, ...command.params, name: 's-new', at: 1 })
      if (command.do !== 'emit') return
      out.push(command.message)
      if (command.message.type !== 'send' || command.message.ref === undefined) return
      const { kind, ref } = command.message
      const reply = replies[kind] ? replies[kind]() : { body: {} }
      if (reply) queue.push({ type: 'replied', ref, kind, caps: [], ...reply })
    }
    for (let next = queue.shift(); next; next = queue.shift()) {
      const step = stepper.step(snapshot, next)
      snapshot = step.snapshot
      step.commands.forEach(take)
    }
  }
  const call = (kind: string, body: unknown): number => {
    request += 1
    feed({ type: kind, body, from: { request, badge: { from: 'x', session: null, limits: {} }, caps: [] } })
    return request
  }
  feed({ type: 'part', ref: 'policy', kind: 'watch', body: { policy } })
  call('open', { folders: [], hosts, approve })
  const of = (kind: string) => out.filter((message): message is Sent => message.type === 'send' && message.kind === kind)
  return {
    call,
    feed,
    of,
    ask: (host = 'a.example', port = 443) => call('ask-host', { session: 's-new', host, port }),
    member(option: string) {
      feed({ type: 'replied', ref: of('ask-member').at(-1)?.ref, kind: 'ask-member', body: { option, by: 'page' }, caps: [] })
    },
    answer: (id: number) => out.findLast((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === id),
    cancels: () => out.filter(({ type }) => type === 'cancel'),
    hosts: () => (snapshot.context as Context).sessions['s-new']?.hosts,
    context: () => snapshot.context as Context,
  }
}

describe('a host nobody decided about', () => {
  test('is asked about whole: host, port, and what each answer is good for', () => {
    const it = world('ask')
    it.ask()
    expect(it.of('ask-member')[0]?.body).toMatchObject({
      session: 's-new',
      title: 'Reach a.example:443',
      options: [{ scope: 'once' }, { scope: 'session' }, { scope: 'always' }, { scope: null }],
    })
  })

  test('once: this request and no more', () => {
    const it = world('ask')
    const id = it.ask()
    it.member('allow-once')
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { scope: 'once', by: 'page' } })
    expect(it.hosts()).toEqual([])
  })

  test('for the session: it becomes a grant, with a capability that carries it', () => {
    const it = world('ask', ['b.example'])
    const id = it.ask()
    it.member('allow-session')
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { scope: 'session' } })
    expect(it.hosts()).toEqual(['b.example', 'a.example:443'])
    expect(it.of('derive').at(-1)?.caps?.[0]?.limits).toMatchObject({ hosts: ['b.example', 'a.example:443', '@member', '?'] })
    expect(it.of('endow')).toHaveLength(1)
    expect(it.of('revoke')).toEqual([])
    expect(it.answer(it.ask())).toMatchObject({ type: 'reply', body: { scope: 'session' } })
    expect(it.of('ask-member')).toHaveLength(1)
  })

  test('always: egress keeps the rule', () => {
    const it = world('edits')
    const id = it.ask()
    it.member('allow-always')
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { scope: 'always' } })
    expect(it.of('change-rule')[0]).toMatchObject({
      to: 'egress',
      body: { rule: { change: 'allow', pattern: 'a.example:443' }, session: null },
    })
  })

  test.each(['deny', 'something else'])('the answer %j is a no', (option) => {
    const it = world('ask')
    const id = it.ask()
    it.member(option)
    expect(it.answer(id)).toMatchObject({ type: 'refuse', error: { code: 'denied' } })
    expect(it.hosts()).toEqual([])
  })

  test.each(['none', 'all'])('is refused without a question in approve mode %s', (approve) => {
    const it = world(approve)
    expect(it.answer(it.ask())).toMatchObject({ type: 'refuse', error: { code: 'denied', rule: `approve mode ${approve}` } })
    expect(it.of('ask-member')).toEqual([])
  })

  test('nobody there, a session that is not, egress that gave up, a session that ends', () => {
    const it = world('ask')
    const id = it.ask()
    const { ref } = it.of('ask-member')[0] ?? {}
    it.feed({ type: 'refused', ref, kind: 'ask-member', error: { code: 'no-one-to-ask', message: 'x', remedy: 'y' } })
    expect(it.answer(id)).toMatchObject({ type: 'refuse', error: { code: 'no-one-to-ask' } })
    expect(it.answer(it.call('ask-host', { session: 's-other', host: 'a', port: 1 }))).toMatchObject({ error: { code: 'no-such-session' } })
    it.feed({ type: 'cancelled', request: it.ask() })
    expect(it.cancels()).toHaveLength(1)
    const open = it.ask('b.example')
    it.call('close', { session: 's-new' })
    expect(it.answer(open)).toMatchObject({ type: 'refuse', error: { code: 'cancelled' } })
    expect(it.cancels()).toHaveLength(2)
    expect(it.context().hostQuestions).toEqual({})
  })
})

test("the session's programs get its network, no more of egress, and the narrower one after each change", () => {
  const it = world('ask', ['b.example'])
  const given = () => it.of('network').map(({ to, body, caps }) => ({ to, body, limits: caps?.[0]?.limits, slot: caps?.[0]?.slot }))
  expect(given()).toEqual([
    {
      to: 'workspace',
      body: { session: 's-new' },
      limits: { kinds: ['connect', 'tunnel-data', 'authority'], session: 's-new' },
      slot: it.context().sessions['s-new']?.egress?.slot,
    },
  ])
  it.call('drop-host', { session: 's-new', host: 'b.example' })
  expect(given()).toHaveLength(2)
  expect(given()[1]?.slot).toBe(it.context().sessions['s-new']?.egress?.slot)
  it.feed({ type: 'part', ref: 'restarts', kind: 'watch-restarts', body: { id: 'vm-supervisor' } })
  expect(given()).toHaveLength(3)
})

describe('the member', () => {
  test('allows a host for a session, and takes it back: the old capability dies first', () => {
    const it = world('ask')
    expect(it.answer(it.call('allow-host', { session: 's-new', host: 'A.example.' }))).toMatchObject({ type: 'reply' })
    expect(it.hosts()).toEqual(['a.example'])
    expect(it.answer(it.call('drop-host', { session: 's-new', host: 'a.example' }))).toMatchObject({ type: 'reply' })
    expect(it.hosts()).toEqual([])
    expect(it.of('revoke').map(({ body }) => (body as { grant: number }).grant)).toEqual([1, 2])
    expect(it.of('derive').at(-1)?.caps?.[0]?.limits).toMatchObject({ hosts: ['@member', '?'] })
    expect(it.answer(it.call('drop-host', { session: 's-new', host: 'a.example' }))).toMatchObject({ error: { code: 'not-found' } })
    expect(it.answer(it.call('allow-host', { session: 's-new', host: '*.com' }))).toMatchObject({ error: { code: 'bad-settings' } })
    expect(it.answer(it.call('allow-host', { session: 's-x', host: 'a.b' }))).toMatchObject({ error: { code: 'no-such-session' } })
  })

  test("has an address explained as the session: with the session's own capability", () => {
    const it = world('ask')
    const id = it.call('explain-host', { session: 's-new', url: 'https://a.example/' })
    expect(it.of('explain')[0]?.to).toBe(it.context().sessions['s-new']?.egress?.slot)
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { verdict: 'ask' } })
  })
})

test.each([
  ['Bücher.example', 'xn--bcher-kva.example'],
  ['*.A.example:8443', '*.a.example:8443'],
  ['*', '*'],
  ['@packages', '@packages'],
  ['@member', null],
  ['?', null],
  ['*.com', null],
  ['https://a.example', null],
])('%s in one spelling: %s', (text, pattern) => {
  expect(canonicalHostPattern(text)).toBe(pattern)
})
