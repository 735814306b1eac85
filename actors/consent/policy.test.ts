import { describe, expect, test } from 'vitest'
import { createStepper } from '../../kernel/stepper.ts'
import type { Policy } from '../policy/protocol.ts'
import { machine } from './machine.ts'
import type { Context } from './state.ts'

type Body = {
  kind: string
  instance: string
  id: string
  grant: number
  rawApiBodies: boolean
  hosts: string[]
  folders: { name: string; mode: string }[]
  params: { root: string; hosts: string[]; blocked: Record<string, string> }
}
type Sent = {
  type: string
  to?: string | number
  kind?: string
  body: Body
  ref?: string
  caps: { slot: number | string; limits: { kinds: string[]; hosts: string[] } }[]
  request?: number
  error?: unknown
}
type Event = { type: string; [field: string]: unknown }
type Values = Partial<Policy['values']>

const policyOf = (values: Values): Policy => ({
  values: {
    isEnabledForOrganization: true,
    allowedWorkspaceFolders: null,
    coworkEgressAllowedHosts: null,
    disabledBuiltinTools: [],
    builtinToolPolicy: {},
    untrustedContentAsksAgain: true,
    otlpEndpoint: null,
    otlpContentCapture: [],
    ...values,
  } as Policy['values'],
  decidedBy: Object.fromEntries(Object.keys(values).map((key) => [key, 'managed settings, /m'])),
  failedClosed: false,
})

/** Consent among peers that say yes; `hold` keeps the answers of a kind back. */
function world(values: Values | null = {}) {
  const stepper = createStepper(machine)
  let snapshot = stepper.initial(undefined).snapshot
  let slot = 100
  let grant = 1
  let request = 0
  const sent: Sent[] = []
  const held: Sent[] = []
  const holding = new Set<string>()
  const answers: { [kind: string]: (message: Sent) => { body?: unknown; caps?: number[] } | null } = {
    spawn: (message) => ({ body: { id: `${message.body.kind}:${message.body.instance}` }, caps: [slot++] }),
    derive: () => ({ body: { grant: grant++ }, caps: [slot++] }),
    info: (message) => ({ body: { root: roots.get(Number(message.to)) ?? '/work/a' } }),
    sessions: () => ({ body: { sessions: [] } }),
    'ask-member': () => null,
    'tool-rule': () => ({ body: { decision: toolDecision, rule: null, server: 'notes', title: 'Add' } }),
  }
  const roots = new Map<number, string>()
  let toolDecision = 'ask'
  const reply = (message: Sent): Event | null => {
    const answer = answers[message.kind ?? ''] ? answers[message.kind ?? '']?.(message) : { body: {} }
    if (answer && message.body?.kind === 'fs-gate') roots.set(answer.caps?.[0] ?? 0, message.body.params.root)
    return answer ? { type: 'replied', ref: message.ref, kind: message.kind, body: answer.body ?? {}, caps: answer.caps ?? [] } : null
  }
  const answersTo = (message: Sent): Event[] => [reply(message)].filter((event) => event !== null)
  function feed(first: Event) {
    const events = [first]
    for (let event = events.shift(); event; event = events.shift()) {
      const step = stepper.step(snapshot, event)
      snapshot = step.snapshot
      for (const command of step.commands) {
        if (command.do === 'effect') events.push({ type: `${command.name}.done`, ...command.params, name: 's-new', at: 7, folders: [] })
        if (command.do !== 'emit') continue
        const message = command.message as Sent
        sent.push(message)
        if (message.type !== 'send' || message.ref === undefined || message.kind === 'watch') continue
        if (holding.has(message.kind ?? '')) held.push(message)
        else events.push(...answersTo(message))
      }
    }
  }
  const self = {
    feed,
    hold: (kind: string) => void holding.add(kind),
    allowTools: () => void (toolDecision = 'allow'),
    release() {
      holding.clear()
      for (const message of held.splice(0)) for (const event of answersTo(message)) feed(event)
    },
    context: () => snapshot.context as Context,
    policy: (now: Values) => feed({ type: 'part', ref: 'policy', kind: 'watch', body: { policy: policyOf(now) } }),
    call(kind: string, body: unknown, session: string | null = null) {
      request++
      feed({ type: kind, body, from: { request, badge: { from: 'x', session, limits: {} }, caps: [] } })
      return request
    },
    open: (paths: string[], hosts: string[] = [], approve = 'all', mode = 'rw') =>
      self.call('open', { folders: paths.map((path) => ({ path, mode })), hosts, approve }),
    answer: (id: number) => sent.find((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === id),
    of: (kind: string) => sent.filter((message) => message.kind === kind),
    sent,
    forget: () => void sent.splice(0),
  }
  if (values) self.policy(values)
  return self
}

const exec = { tool: 'Bash', title: 'Run ls', detail: 'ls', target: { kind: 'exec', command: 'ls' } }
const mcp = { tool: 'mcp__notes__add', title: 'Add', detail: '', target: { kind: 'mcp', tool: 'mcp__notes__add' } }
const write = (tool = 'Write') => ({ tool, title: 'x', detail: '', target: { kind: 'write', folder: 'a', path: 'f' } })

describe('the switch for the organization', () => {
  test('off: nothing opens, and the refusal says who decided', () => {
    const it = world({ isEnabledForOrganization: false })
    expect(it.answer(it.open(['/work/a']))).toMatchObject({
      type: 'refuse',
      error: { code: 'policy-denied', rule: expect.stringContaining('managed settings, /m') },
    })
    expect(it.of('spawn')).toEqual([])
  })

  test('turned off: sessions end, and open again when it is back', () => {
    const it = world()
    it.open(['/work/a'])
    it.forget()
    it.policy({ isEnabledForOrganization: false })
    expect(it.of('stop').map(({ body }) => body.id)).toEqual(['conversation:s-new', 'fs-gate:s-new.a'])
    expect(it.of('revoke').length).toBeGreaterThan(0)
    expect(it.context().sessions).toEqual({})
    it.policy({})
    expect(it.answer(it.open(['/work/a']))?.type).toBe('reply')
  })

  test('turned off while a session opens: refused at once, taken back when what runs has ended', () => {
    const it = world()
    it.hold('info')
    const id = it.open(['/work/a'])
    it.policy({ isEnabledForOrganization: false })
    expect(it.answer(id)).toMatchObject({ type: 'refuse', error: { code: 'policy-denied' } })
    it.release()
    expect(it.of('stop').map(({ body }) => body.id)).toEqual(['fs-gate:s-new.a'])
    expect(it.context()).toMatchObject({ sessions: {}, openings: {} })
  })
})

test.each(['changes', 'undo', 'redo', 'recent'])('%s waits until policy has told, unless it is given up', (kind) => {
  const w = world(null)
  const [request, other] = [w.call(kind, {}), w.call(kind, {})]
  w.feed({ type: 'cancelled', request: other })
  expect(w.answer(request)).toBeUndefined()
  w.policy({})
  // There is no folder.
  const empty = kind === 'recent' ? { type: 'reply', body: { folders: [] } } : { type: 'refuse', error: { code: 'nothing-to-undo' } }
  expect([w.answer(request), w.answer(other)]).toMatchObject([empty, undefined])
  const off = world(null)
  const refused = off.call(kind, {})
  off.policy({ isEnabledForOrganization: false })
  expect(off.answer(refused)).toMatchObject({ type: 'refuse', error: { code: 'policy-denied' } })
})

test('nothing opens before policy has told; then it does', () => {
  const it = world(null)
  const id = it.open(['/work/a'])
  const gone = it.open(['/work/b'])
  it.feed({ type: 'cancelled', request: gone })
  expect(it.answer(id)).toBeUndefined()
  it.policy({})
  expect(it.answer(id)?.type).toBe('reply')
  expect(it.answer(gone)).toBeUndefined()
})

test('policy goes down: what it said stays in force, and it is asked again', () => {
  const it = world({ isEnabledForOrganization: false })
  it.forget()
  it.feed({ type: 'refused', ref: 'policy', kind: 'watch', error: { code: 'actor-down' } })
  expect(it.of('watch')).toHaveLength(1)
  expect(it.answer(it.open([]))?.type).toBe('refuse')
})

describe('folders', () => {
  const only = {
    allowedWorkspaceFolders: [
      { path: '/work', mode: 'rw' as const, isDefaultSelected: false },
      { path: '/work/locked', mode: 'ro' as const, isDefaultSelected: false },
    ],
  }

  test('outside the list: refused with the rule, nothing left behind', () => {
    const it = world(only)
    expect(it.answer(it.open(['/home/ada']))).toMatchObject({
      error: { code: 'policy-denied', rule: expect.stringContaining('allowedWorkspaceFolders'), cause: expect.stringContaining('/work') },
    })
    expect(it.answer(it.open(['/workshop']))?.type).toBe('refuse')
    expect(it.context().sessions).toEqual({})
  })

  test('inside: as asked; inside a read-only part: read-only', () => {
    const it = world(only)
    expect(it.answer(it.open(['/work/a', '/work/locked/b']))).toMatchObject({ body: { folders: [{ mode: 'rw' }, { mode: 'ro' }] } })
  })

  test('a link into the read-only part is judged by its real path', () => {
    const it = world(only)
    it.hold('info')
    const id = it.open(['/work/link'])
    it.feed({ type: 'replied', ref: it.of('info')[0]?.ref, kind: 'info', body: { root: '/work/locked/b' }, caps: [] })
    expect(it.answer(id)).toMatchObject({ error: { code: 'policy-denied', remedy: expect.stringContaining(':ro') } })
  })

  test('a new list disconnects at once what is not on it, and re-connects read-only what is capped', () => {
    const it = world()
    it.open(['/work/a', '/home/b', '/work/locked/c'])
    const [a, b, c] = it.context().sessions['s-new']?.folders ?? []
    it.forget()
    it.policy(only)
    const revoked = it.of('revoke').map(({ body }) => body.grant)
    expect(revoked).toEqual(expect.arrayContaining([b?.held?.grant, c?.held?.grant]))
    expect(revoked).not.toContain(a?.held?.grant)
    expect(it.context().sessions['s-new']?.folders.map(({ name, mode }) => [name, mode])).toEqual([
      ['a', 'rw'],
      ['c', 'ro'],
    ])
    expect(
      it
        .of('folders')
        .at(-1)
        ?.body.folders.map(({ name }: { name: string }) => name),
    ).toEqual(['a', 'c'])
  })
})

describe('hosts', () => {
  test('a session gets what both lists allow', () => {
    const it = world({ coworkEgressAllowedHosts: ['*.example.com'] })
    expect(it.answer(it.open([], ['a.example.com', 'other.org']))).toMatchObject({ body: { hosts: ['a.example.com'] } })
    expect(it.of('derive')[0]?.caps[0]?.limits.hosts).toEqual(['a.example.com', '@member', '?'])
    expect(it.of('spawn').at(-1)?.body.params.hosts).toEqual(['a.example.com'])
  })

  test('a narrower list revokes what there is; a wider one gives the member’s hosts back', () => {
    const it = world()
    it.open([], ['a.example.com', 'other.org'])
    const before = it.context().sessions['s-new']?.egress?.grant
    it.forget()
    it.policy({ coworkEgressAllowedHosts: [] })
    expect(it.of('revoke').map(({ body }) => body.grant)).toEqual([before])
    expect(it.of('derive').at(-1)?.caps[0]?.limits.hosts).toEqual(['@member', '?'])
    expect(it.of('endow')).toHaveLength(1)
    expect(it.of('folders').at(-1)?.body.hosts).toEqual([])
    it.forget()
    it.policy({})
    expect(it.of('revoke')).toEqual([])
    expect(it.of('derive').at(-1)?.caps[0]?.limits.hosts).toEqual(['a.example.com', 'other.org', '@member', '?'])
  })

  test('a narrower list while the session opens: the conversation ends up with the narrow one', () => {
    const it = world()
    it.hold('spawn')
    const id = it.open([], ['a.example.com'])
    it.policy({ coworkEgressAllowedHosts: [] })
    it.release()
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { hosts: [] } })
    expect(it.of('derive').map(({ caps }) => caps[0]?.limits.hosts)).toEqual([
      ['a.example.com', '@member', '?'],
      ['@member', '?'],
    ])
    expect(it.of('endow')).toHaveLength(1)
  })
})

describe('tools', () => {
  test('a blocked tool is refused whatever the mode, and its kinds are not handed out', () => {
    const it = world({ disabledBuiltinTools: ['Bash', 'WebFetch', 'WebSearch', 'Grep'], builtinToolPolicy: { Edit: 'blocked' } })
    it.open(['/work/a'])
    expect(it.answer(it.call('ask', exec, 's-new'))).toMatchObject({
      error: { code: 'policy-denied', rule: expect.stringContaining('disabledBuiltinTools') },
    })
    expect(it.answer(it.call('ask', write('Edit'), 's-new'))?.type).toBe('refuse')
    expect(it.answer(it.call('ask', write(), 's-new'))?.caps[0]?.limits.kinds).toEqual(['write'])
    const spawned = it.of('spawn').at(-1)
    const { grants } = (spawned?.body ?? { grants: [] }) as unknown as { grants: { name: string }[] }
    const given = grants.map(({ name }) => name)
    const [egress, folder] = ['egress', 'folder:a'].map((name) => spawned?.caps?.[given.indexOf(name)])
    expect(folder?.limits.kinds).not.toContain('grep')
    expect(egress).toBeDefined()
    expect(it.of('derive').find(({ caps }) => caps[0]?.slot === 'egress')?.caps[0]?.limits.kinds).toEqual([
      'model',
      'model-info',
      'explain',
      'connect',
      'tunnel-data',
      'authority',
    ])
    expect(Object.keys(it.of('spawn').at(-1)?.body.params.blocked ?? {})).toEqual(['Bash', 'Edit', 'Grep', 'WebFetch', 'WebSearch'])
  })

  test('ask: no approve mode answers for the member', () => {
    const it = world({ builtinToolPolicy: { Bash: 'ask' } })
    it.open(['/work/a'])
    it.call('ask', exec, 's-new')
    expect(it.of('ask-member')).toHaveLength(1)
    expect(it.answer(it.call('ask', write(), 's-new'))?.type).toBe('reply')
  })

  test('a tool of a tool server: `ask` asks also where it is allowed for good, and a lasting approval dies with its own tool only', () => {
    const it = world({ builtinToolPolicy: { mcp__notes__add: 'ask' } })
    it.allowTools()
    it.open([])
    it.call('ask', mcp, 's-new')
    const [question] = it.of('ask-member')
    it.feed({ type: 'replied', ref: question?.ref, kind: 'ask-member', body: { option: 'allow-session', by: 'member' }, caps: [] })
    const grants = () => it.context().sessions['s-new']?.grants.map(({ tool }) => tool)
    it.policy({ disabledBuiltinTools: ['Bash', 'Write', 'Edit'] })
    expect(grants()).toEqual(['mcp__notes__add'])
    it.policy({ disabledBuiltinTools: ['mcp__notes__add'] })
    expect(grants()).toEqual([])
    expect(it.answer(it.call('ask', mcp, 's-new'))).toMatchObject({ error: { code: 'policy-denied' } })
  })

  test('blocked later: standing approvals die, open questions end in a refusal, the conversation is told', () => {
    const it = world()
    it.open(['/work/a'], [], 'ask')
    it.call('ask', exec, 's-new')
    const answer = (ref?: string) =>
      it.feed({ type: 'replied', ref, kind: 'ask-member', body: { option: 'allow-session', by: 'member' }, caps: [] })
    answer(it.of('ask-member')[0]?.ref)
    const [grant] = it.context().sessions['s-new']?.grants ?? []
    const open = it.call('ask', write(), 's-new')
    it.policy({ disabledBuiltinTools: ['Bash', 'Write'] })
    expect(it.of('revoke').map(({ body }) => body.grant)).toContain(grant?.grant)
    answer(it.of('ask-member').at(-1)?.ref)
    expect(it.answer(open)).toMatchObject({ error: { code: 'policy-denied' } })
    expect(it.of('restrict')[0]?.body).toEqual({
      blocked: { Bash: expect.stringContaining('disabledBuiltinTools'), Write: expect.any(String) },
      rawApiBodies: false,
    })
  })

  test('telemetry may carry what goes to the model: the conversation is told, while there is a collector', () => {
    const it = world()
    it.open(['/work/a'], [], 'ask')
    it.policy({ otlpContentCapture: ['rawApiBodies'] })
    expect(it.of('restrict')).toEqual([])
    it.policy({ otlpContentCapture: ['rawApiBodies'], otlpEndpoint: 'https://collector.example' })
    it.policy({ otlpEndpoint: 'https://collector.example' })
    expect(it.of('restrict').map(({ body }) => body.rawApiBodies)).toEqual([true, false])
  })
})

describe('asked for one by one', () => {
  const ask = (it: ReturnType<typeof world>, target: object) =>
    it.call('ask', { tool: 'x', title: 't', detail: 'd', target: { kind: 'write', folder: 'a', ...target } }, 's-new')

  test.each([
    [{ path: 'x', act: 'delete' }, 'edits', { kinds: ['delete'], path: 'x', uses: 1 }],
    [{ path: 'x', act: 'move', to: 'y', mass: 21 }, 'edits', { kinds: ['move'], path: '', tools: ['mass'], uses: 1 }],
    [{ path: '.envrc', protected: 'protected path: .envrc' }, 'edits', { path: '.envrc', tools: ['protected'], uses: 1 }],
    [{ path: '.envrc', protected: 'protected path: .envrc' }, 'all', { path: '.envrc', tools: ['protected'], uses: 1 }],
  ])('%j in mode %s', (target, mode, limits) => {
    const it = world()
    it.open(['/work/a'], [], mode)
    const call = ask(it, target)
    const question = it.of('ask-member').at(-1)
    expect(question?.body).toMatchObject({ options: [{ id: 'allow-once' }, { id: 'deny' }] })
    it.feed({ type: 'replied', ref: question?.ref, kind: 'ask-member', body: { option: 'allow-once', by: 'member' }, caps: [] })
    expect(it.answer(call)?.caps[0]?.limits).toMatchObject(limits)
  })

  test('a move is limited to the folder both its ends are in', () => {
    const it = world()
    it.open(['/work/a'], [], 'edits')
    expect(it.answer(ask(it, { path: 'x/y/f', act: 'move', to: 'x/z/f' }))?.caps[0]?.limits).toMatchObject({
      kinds: ['move'],
      path: 'x',
      uses: 1,
    })
    expect(it.answer(ask(it, { path: 'x/y/f', act: 'move' }))).toMatchObject({ error: { code: 'bad-path' } })
  })
})

describe('after words of others came into the turn', () => {
  const untrusted = ['a page of a.example']
  const member = (option: string) => ({ option, by: 'member' })
  const answerWith = (it: ReturnType<typeof world>, option: string): void => {
    const question = it.of('ask-member').at(-1)
    it.feed({ type: 'replied', ref: question?.ref, kind: 'ask-member', body: member(option), caps: [] })
  }
  const allowedForSession = (wish: object) => {
    const it = world()
    it.open(['/work/a'], [], 'ask')
    it.call('ask', wish, 's-new')
    answerWith(it, 'allow-session')
    it.forget()
    return it
  }

  test.each([
    ['a command', exec],
    ['a write', write()],
    ['a tool of a server', mcp],
  ])('%s that was allowed for the session is asked again, with what was read; a yes is for this once', (_what, wish) => {
    const it = allowedForSession(wish)
    const id = it.call('ask', { ...wish, untrusted }, 's-new')
    expect(it.answer(id)).toBeUndefined()
    const [question] = it.of('ask-member')
    expect(question?.body).toMatchObject({
      detail: expect.stringMatching(/^Read before this, [^\n]*: a page of a\.example\.\n/),
      options: [{ id: 'allow-once' }, { id: 'deny' }],
    })
    answerWith(it, 'allow-once')
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { scope: 'once' }, caps: [{ limits: { uses: 1 } }] })
    // In a turn without such words it is covered as before.
    expect(it.answer(it.call('ask', wish, 's-new'))).toMatchObject({ type: 'reply', body: { scope: 'session' } })
  })

  test('an answer that was not offered is a no', () => {
    const it = allowedForSession(exec)
    const id = it.call('ask', { ...exec, untrusted }, 's-new')
    answerWith(it, 'allow-session')
    expect(it.answer(id)).toMatchObject({ type: 'refuse', error: { code: 'denied' } })
  })

  test('a tool that is allowed for good is asked for', () => {
    const it = world()
    it.open([], [], 'ask')
    it.allowTools()
    expect(it.answer(it.call('ask', mcp, 's-new'))?.type).toBe('reply')
    const id = it.call('ask', { ...mcp, untrusted }, 's-new')
    expect(it.answer(id)).toBeUndefined()
    answerWith(it, 'deny')
    expect(it.answer(id)).toMatchObject({ type: 'refuse', error: { code: 'denied' } })
  })

  test('an approve mode is the member’s word for all of the session; policy can have it as before', () => {
    const everything = world()
    everything.open(['/work/a'], [], 'all')
    expect(everything.answer(everything.call('ask', { ...exec, untrusted }, 's-new'))?.type).toBe('reply')
    const it = allowedForSession(exec)
    it.policy({ untrustedContentAsksAgain: false })
    expect(it.answer(it.call('ask', { ...exec, untrusted }, 's-new'))).toMatchObject({ type: 'reply', body: { scope: 'session' } })
  })
})
