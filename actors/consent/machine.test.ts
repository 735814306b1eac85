import { describe, expect, test } from 'vitest'
import { createStepper } from '../../kernel/stepper.ts'
import { machine } from './machine.ts'
import type { Policy } from '../policy/protocol.ts'
import type { Context } from './state.ts'

const unrestricted = {
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
} as unknown as Policy

type Body = {
  kind: string
  instance: string
  id: string
  grant: number
  grants: { id: string; name: string; kind: string }[]
  folders: { name: string }[]
  options: { label: string }[]
}
type Sent = {
  type: string
  to?: string | number
  kind?: string
  body: Body
  ref?: string
  caps: { slot: number; limits?: { kinds?: string[] } }[]
  request?: number
  error?: unknown
}
type Rule = (message: Sent) => { body?: unknown; caps?: number[]; error?: unknown } | null

/** Consent with a stand-in for everyone it talks to: each answers by a rule, and all that left the machine is on record. */
function world(rules: Record<string, Rule> = {}) {
  const stepper = createStepper(machine)
  let snapshot = stepper.initial(undefined).snapshot
  let slot = 100
  let grant = 1
  const sent: Sent[] = []
  const events: { type: string; [field: string]: unknown }[] = []
  const answers: Record<string, Rule> = {
    spawn: (message) => ({ body: { id: `${message.body.kind}:${message.body.instance}` }, caps: [slot++] }),
    derive: () => ({ body: { grant: grant++ }, caps: [slot++] }),
    info: (message) => ({ body: { root: `/real/${String(message.to)}`, name: 'x', mode: 'rw' } }),
    sessions: () => ({ body: { sessions: [{ session: 's-old' }] } }),
    'ask-member': () => null,
    'tool-rule': () => ({ body: { decision: 'ask', rule: null, server: 'notes', title: 'Add' } }),
    ...rules,
  }
  function feed(event: { type: string; [field: string]: unknown }) {
    events.push(event)
    while (events.length > 0) {
      const step = stepper.step(snapshot, events.shift() as { type: string })
      snapshot = step.snapshot
      for (const command of step.commands) {
        if (command.do === 'effect')
          events.push({ type: `${command.name}.done`, ...command.params, name: 's-new', at: command.name === 'mint' ? 7 : 9 })
        if (command.do !== 'emit') continue
        const message = command.message as unknown as Sent
        sent.push(message)
        if (message.type !== 'send' || message.ref === undefined) continue
        const reply = answers[message.kind ?? ''] ? answers[message.kind ?? '']?.(message) : { body: {} }
        if (!reply) continue
        events.push(
          reply.error
            ? { type: 'refused', ref: message.ref, kind: message.kind, error: reply.error }
            : { type: 'replied', ref: message.ref, kind: message.kind, body: reply.body ?? {}, caps: reply.caps ?? [] },
        )
      }
    }
  }
  feed({ type: 'part', ref: 'policy', kind: 'watch', body: { policy: unrestricted } })
  let request = 0
  return {
    sent,
    feed,
    context: () => snapshot.context as Context,
    call(kind: string, body: unknown, session: string | null = null) {
      request++
      feed({ type: kind, body, from: { request, badge: { from: 'x', session, limits: {} }, caps: [] } })
      return request
    },
    answer: (id: number) => sent.find((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === id),
    of: (kind: string) => sent.filter((message) => message.kind === kind),
  }
}

const opened = (approve: string, mode = 'rw', rules = {}) => {
  const it = world(rules)
  it.call('open', { folders: [{ path: '/home/me/Sales 2026', mode }], hosts: ['example.com'], approve })
  return it
}
const write = (path = 'report.md') => ({
  tool: 'Write',
  title: `Write ${path}`,
  detail: '+x',
  target: { kind: 'write', folder: 'Sales-2026', path },
})
const tunnelKinds = ['connect', 'tunnel-data', 'authority']
const egressKinds = ['model', 'model-info', 'fetch', 'search', 'explain']
const exec = { tool: 'Bash', title: 'Run ls', detail: 'ls', target: { kind: 'exec', command: 'ls' } }

describe('open', () => {
  test('spawns the folder, then the conversation with exactly its capabilities, and hands it on', () => {
    const it = world()
    const id = it.call('open', { folders: [{ path: '/home/me/Sales 2026', mode: 'rw' }], hosts: ['example.com'], approve: 'ask' })
    expect(it.of('spawn').map(({ body }) => [body.kind, body.instance])).toEqual([
      ['fs-gate', 's-new.sales-2026'],
      ['conversation', 's-new'],
    ])
    const [, conversation] = it.of('spawn')
    expect(conversation?.body.grants.map((item) => item.name)).toEqual([
      'egress',
      'consent',
      'mcp',
      'workspace',
      'reader',
      'journal',
      'telemetry',
      'folder:Sales-2026',
    ])
    expect(conversation?.caps?.map(({ limits }) => limits?.kinds)).toEqual([
      ['model', 'model-info', 'fetch', 'search'],
      ['ask'],
      ['tools'],
      ['jobs', 'job-news', 'job-output', 'job-stop'],
      ['pdf'],
      ['append', 'read'],
      undefined,
      ['info', 'read', 'list', 'stat', 'glob', 'grep', 'preview', 'mark', 'others'],
    ])
    expect(it.of('derive').map(({ caps }) => caps?.[0]?.limits)).toEqual([
      { session: 's-new', mode: 'rw' },
      { session: 's-new', kinds: [...egressKinds, ...tunnelKinds], hosts: ['example.com', '@member', '?'] },
    ])
    expect(it.of('attach')[0]).toMatchObject({
      to: 'workspace',
      body: { session: 's-new', folders: [{ name: 'Sales-2026', mode: 'rw' }] },
      caps: [{ limits: { kinds: ['ninep', 'ninep-close'] } }],
    })
    expect(it.answer(id)).toMatchObject({
      type: 'reply',
      body: { session: 's-new', resumed: false, approve: 'ask', folders: [{ name: 'Sales-2026', mode: 'rw', root: '/real/100' }] },
      caps: [{ limits: { kinds: ['prompt', 'history'], session: 's-new' } }],
    })
  })

  test('a folder that cannot be connected takes the whole new session back', () => {
    const error = { code: 'not-found', message: 'no', remedy: 'x' }
    const it = world({ info: () => ({ error }) })
    const id = it.call('open', { folders: [{ path: '/nope', mode: 'rw' }], hosts: [] })
    expect(it.answer(id)).toMatchObject({ type: 'refuse', error })
    expect(it.of('stop').map(({ body }) => body.id)).toEqual(['fs-gate:s-new.nope'])
    expect(it.context()).toMatchObject({ sessions: {}, openings: {} })
  })

  test('a folder that is still being opened is asked again', () => {
    let asked = 0
    const it = world({ info: () => (asked++ < 3 ? { error: { code: 'not-now', message: '', remedy: '' } } : { body: { root: '/x' } }) })
    expect(it.answer(it.call('open', { folders: [{ path: '/x', mode: 'rw' }], hosts: [] }))?.type).toBe('reply')
    expect(asked).toBe(4)
  })

  test('a folder that changes its mode waits until its earlier actor is gone', () => {
    let ending = 0
    const it = opened('ask', 'rw', {
      spawn: (message: Sent) =>
        ending-- > 0
          ? { error: { code: 'already-exists', message: '', remedy: '' } }
          : { body: { id: `${message.body.kind}:${message.body.instance}` }, caps: [1] },
    })
    ending = 3
    const id = it.call('open', { session: 's-new', folders: [{ path: '/home/me/Sales 2026', mode: 'ro' }], hosts: [] })
    expect(it.answer(id)?.body.folders).toMatchObject([{ name: 'Sales-2026', mode: 'ro' }])
    expect(it.answer(it.call('ask', write(), 's-new'))).toMatchObject({ error: { code: 'read-only' } })
  })

  test('again: adds folders and hosts, keeps the conversation', () => {
    const it = opened('ask')
    const id = it.call('open', {
      session: 's-new',
      folders: [
        { path: '/home/me/Sales 2026', mode: 'rw' },
        { path: '/tmp/b', mode: 'ro' },
      ],
      hosts: ['b.org'],
      approve: 'all',
    })
    expect(it.of('spawn').length).toBe(3)
    expect(it.of('endow').length).toBe(1)
    expect(it.of('folders')[0]?.body.folders.map((folder) => folder.name)).toEqual(['Sales-2026', 'b'])
    expect(it.of('folders')[0]?.caps?.length).toBe(1)
    expect(it.answer(id)?.body).toMatchObject({ resumed: true, approve: 'all', hosts: ['example.com', 'b.org'] })
  })

  test('a conversation that does not answer is replaced', () => {
    let dead = false
    const it = opened('ask', 'rw', {
      history: () => (dead ? { error: { code: 'actor-down', message: '', remedy: '' } } : { body: { messages: 0 } }),
    })
    dead = true
    const id = it.call('open', { session: 's-new', folders: [], hosts: [] })
    expect(it.of('spawn').filter(({ body }) => body.kind === 'conversation').length).toBe(2)
    expect(it.answer(id)?.type).toBe('reply')
  })

  test('a session only the journal knows is resumed; an unknown name starts fresh', () => {
    for (const [session, resumed] of [
      ['s-old', true],
      ['mine', false],
    ] as const) {
      const it = world()
      const id = it.call('open', { session, folders: [], hosts: [] })
      expect(it.answer(id)?.body).toMatchObject({ session, resumed })
    }
  })

  test('a second open of the same session waits for the first', () => {
    const it = world({ info: () => null })
    it.call('open', { session: 'a', folders: [{ path: '/x', mode: 'rw' }], hosts: [] })
    const second = it.call('open', { session: 'a', folders: [], hosts: [] })
    expect(it.answer(second)).toBeUndefined()
    const waiting = it.of('info')[0]
    it.feed({ type: 'replied', ref: waiting?.ref, kind: 'info', body: { root: '/x' }, caps: [] })
    expect(it.answer(second)?.type).toBe('reply')
    expect(it.of('spawn').filter(({ body }) => body.kind === 'conversation').length).toBe(1)
  })

  test('nobody wants it any more: what was made is taken back', () => {
    const it = world({ info: () => null })
    const id = it.call('open', { folders: [{ path: '/x', mode: 'rw' }], hosts: [] })
    it.feed({ type: 'cancelled', request: id })
    it.feed({ type: 'replied', ref: it.of('info')[0]?.ref, kind: 'info', body: { root: '/x' }, caps: [] })
    expect(it.context()).toMatchObject({ sessions: {}, openings: {} })
    expect(it.of('stop').length).toBe(1)
    expect(it.answer(id)).toBeUndefined()
  })
})

describe('ask', () => {
  const cases: [string, string, object, string | null][] = [
    ['all', 'rw', write(), null],
    ['all', 'rw', exec, null],
    ['edits', 'rw', write(), null],
    ['none', 'rw', write(), 'denied'],
    ['none', 'rw', exec, 'denied'],
    ['all', 'ro', write(), 'read-only'],
    ['ask', 'ro', write(), 'read-only'],
    ['all', 'rw', { ...write(), target: { kind: 'write', folder: 'other', path: 'a' } }, 'outside-folder'],
    ['all', 'rw', write('../a'), 'bad-path'],
    ['all', 'rw', write('./'), 'bad-path'],
    ['all', 'rw', write('/etc/passwd'), 'bad-path'],
  ]
  test.each(cases)('mode %s, folder %s: %j', (approve, mode, wish, code) => {
    const it = opened(approve, mode)
    const answer = it.answer(it.call('ask', wish, 's-new'))
    if (code === null)
      expect(answer).toMatchObject({
        type: 'reply',
        body: { decision: 'allow', scope: 'once', by: `approve mode ${approve}` },
        caps: [{ limits: { uses: 1, session: 's-new' } }],
      })
    else expect(answer).toMatchObject({ type: 'refuse', error: { code } })
    expect(it.of('ask-member').length).toBe(0)
  })

  test('edits still asks before a command', () => {
    const it = opened('edits')
    expect(it.answer(it.call('ask', exec, 's-new'))).toBeUndefined()
    expect(it.of('ask-member')[0]?.body.options.map((option) => option.label)).toEqual([
      'Allow once',
      'Allow for this session: run commands in the workspace',
      'Deny',
    ])
  })

  const asked = (option: string, wish: object = write('./a//b.md')) => {
    const it = opened('ask', 'rw', { 'ask-member': () => ({ body: { option, by: 'member' } }) })
    return { it, answer: it.answer(it.call('ask', wish, 's-new')) }
  }

  test('once: one use, one path, nothing on record', () => {
    const { it, answer } = asked('allow-once')
    expect(answer?.caps?.[0]?.limits).toEqual({ kinds: ['write', 'edit', 'multi-edit'], session: 's-new', path: 'a/b.md', uses: 1 })
    const grants = it.answer(it.call('grants', { session: 's-new' }))
    expect(grants?.body.grants.map((grant) => grant.kind)).toEqual(['folder', 'fetch'])
  })

  test('for the session: derived, on record with its exact scope, and not asked again', () => {
    const { it, answer } = asked('allow-session')
    expect(answer).toMatchObject({ body: { scope: 'session', by: 'member' } })
    const again = it.answer(it.call('ask', write('other.md'), 's-new'))
    expect(again?.caps?.[0]?.slot).toBe(answer?.caps?.[0]?.slot)
    expect(it.of('ask-member').length).toBe(1)
    const list = it.answer(it.call('grants', { session: 's-new' }))?.body.grants
    const grant = list?.find((item) => item.kind === 'write')
    expect(grant).toMatchObject({ scope: 'write in Sales-2026/', by: 'member', at: 9, reason: 'Write ./a//b.md' })
    it.call('revoke', { session: 's-new', grant: grant?.id })
    expect(it.of('revoke').map(({ body }) => body.grant)).toEqual([Number(grant?.id)])
    it.call('ask', write('other.md'), 's-new')
    expect(it.of('ask-member').length).toBe(2)
  })

  test.each(['deny', 'something else'])('answer %s denies', (option) => {
    expect(asked(option).answer).toMatchObject({ type: 'refuse', error: { code: 'denied' } })
  })

  test('a conversation that gives up takes the question away; a capability derived too late is revoked', () => {
    const it = opened('ask', 'rw')
    const id = it.call('ask', exec, 's-new')
    const question = it.of('ask-member')[0]
    it.feed({ type: 'cancelled', request: id })
    expect(it.sent.at(-1)).toEqual({ type: 'cancel', ref: question?.ref })
    it.feed({ type: 'replied', ref: question?.ref, kind: 'derive', body: { grant: 77 }, caps: [5] })
    expect(it.of('revoke').map(({ body }) => body.grant)).toEqual([77])
  })

  test('no session of that name', () => {
    const it = world()
    expect(it.answer(it.call('ask', exec, 's-x'))).toMatchObject({ error: { code: 'no-such-session' } })
  })
})

describe('a tool of a tool server', () => {
  const wish = {
    tool: 'mcp__notes__add',
    title: 'Call Add of notes',
    detail: '{}',
    target: { kind: 'mcp', tool: 'mcp__notes__add', input: {} },
  }
  const other = { ...wish, tool: 'mcp__notes__drop', target: { ...wish.target, tool: 'mcp__notes__drop' } }
  const answering = (option: string) => ({ 'ask-member': () => ({ body: { option, by: 'member' } }) })

  test('allowed once: one call of exactly this tool', () => {
    const it = opened('ask', 'rw', answering('allow-once'))
    const asked = it.call('ask', wish, 's-new')
    expect(it.answer(asked)).toMatchObject({
      type: 'reply',
      body: { decision: 'allow', scope: 'once' },
      caps: [{ slot: 'mcp', limits: { kinds: ['call'], tools: ['mcp__notes__add'], session: 's-new', uses: 1 } }],
    })
  })

  test('allowed for the session: derived, on record, good for this tool and no other', () => {
    const it = opened('ask', 'rw', answering('allow-session'))
    it.call('ask', wish, 's-new')
    expect(it.of('derive').at(-1)?.caps).toMatchObject([{ slot: 'mcp', limits: { kinds: ['call'], tools: ['mcp__notes__add'] } }])
    expect(it.context().sessions['s-new']?.grants).toMatchObject([{ kind: 'mcp', tool: 'mcp__notes__add', scope: 'call mcp__notes__add' }])
    it.call('ask', wish, 's-new')
    expect(it.of('ask-member')).toHaveLength(1)
    it.call('ask', other, 's-new')
    expect(it.of('ask-member')).toHaveLength(2)
  })

  test('what the MCP host knows to be allowed is not asked, not even where nothing that asks is allowed', () => {
    const it = opened('none', 'rw', {
      'tool-rule': () => ({ body: { decision: 'allow', rule: 'mcp__notes__add: allow', server: 'notes', title: 'Add' } }),
    })
    expect(it.answer(it.call('ask', wish, 's-new'))).toMatchObject({
      type: 'reply',
      body: { scope: 'once', by: 'mcp__notes__add: allow' },
      caps: [{ limits: { uses: 1 } }],
    })
    expect(it.of('ask-member')).toEqual([])
  })

  test('mode none refuses it, mode edits asks, mode all does not', () => {
    expect((({ call, answer }) => answer(call('ask', wish, 's-new')))(opened('none'))).toMatchObject({ error: { code: 'denied' } })
    const edits = opened('edits')
    edits.call('ask', wish, 's-new')
    expect(edits.of('ask-member')).toHaveLength(1)
    const all = opened('all')
    expect(all.answer(all.call('ask', wish, 's-new'))).toMatchObject({ type: 'reply', body: { by: 'approve mode all' } })
  })

  test('what the MCP host refuses is refused with its words, and nobody is asked', () => {
    const error = { code: 'disabled-by-policy', message: 'no', remedy: 'none', rule: 'isLocalDevMcpEnabled = false' }
    const it = opened('all', 'rw', { 'tool-rule': () => ({ error }) })
    expect(it.answer(it.call('ask', wish, 's-new'))).toMatchObject({ type: 'refuse', error })
    expect(it.of('ask-member')).toEqual([])
  })
})

describe('taking back', () => {
  test('a folder: grant first, then its process, and the conversation is told', () => {
    const it = opened('ask')
    const folder = it.answer(it.call('grants', { session: 's-new' }))?.body.grants[0]
    it.call('revoke', { session: 's-new', grant: folder?.id })
    expect(it.sent.slice(-4).map(({ kind, type }) => kind ?? type)).toEqual(['revoke', 'stop', 'folders', 'reply'])
    expect(it.answer(it.call('ask', write(), 's-new'))).toMatchObject({ error: { code: 'outside-folder' } })
  })

  test('hosts: the old capability dies at once, one without hosts takes its place', () => {
    const it = opened('ask')
    const hosts = it.answer(it.call('grants', { session: 's-new' }))?.body.grants.find((grant) => grant.kind === 'fetch')
    const id = it.call('revoke', { session: 's-new', grant: hosts?.id })
    expect(it.of('revoke')[0]?.body.grant).toBe(Number(hosts?.id))
    expect(it.of('derive').at(-1)?.caps?.[0]?.limits).toMatchObject({ session: 's-new', hosts: ['@member', '?'] })
    expect(it.of('endow').length).toBe(1)
    expect(it.answer(id)?.type).toBe('reply')
  })

  test('a session: everything it had ends, open questions are answered', () => {
    const it = opened('ask')
    const question = it.call('ask', exec, 's-new')
    it.call('close', { session: 's-new' })
    expect(it.answer(question)).toMatchObject({ error: { code: 'cancelled' } })
    expect(it.of('stop').map(({ body }) => body.id)).toEqual(['conversation:s-new', 'fs-gate:s-new.sales-2026'])
    expect(it.of('detach').length).toBe(1)
    expect(it.context()).toMatchObject({ sessions: {}, asks: {} })
  })
})

describe('an actor that came back after a crash', () => {
  const back = (id: string) => ({ type: 'part', ref: 'restarts', kind: 'watch-restarts', body: { id } })

  test('the workspace gets the folders of every session again', () => {
    const it = opened('ask')
    const before = it.of('attach').length
    it.feed(back('vm-supervisor'))
    expect(it.of('attach').slice(before)).toMatchObject([it.of('attach')[0]?.body ? { body: it.of('attach')[0]?.body } : {}])
  })

  test('a conversation is told of a folder that was connected after it was spawned, and of no other', () => {
    const it = opened('ask')
    const id = it.context().sessions['s-new']?.conversation?.id ?? ''
    it.feed(back(id))
    expect(it.of('folders')).toEqual([])
    it.call('open', { session: 's-new', folders: [{ path: '/later', mode: 'ro' }], hosts: [] })
    const told = it.of('folders').length
    it.feed(back(id))
    expect(it.of('folders').slice(told)).toMatchObject([{ body: { folders: [{}, { name: 'later', mode: 'ro' }] }, caps: [{}] }])
  })
})

describe('on record', () => {
  const entries = (it: ReturnType<typeof world>) =>
    it.of('audit').map(({ body }) => body as unknown as { action: string; data: Record<string, unknown> })

  test('a capability is handed out when its record is on the disk, and not before', () => {
    let written: (() => void) | null = null
    const it = opened('all', 'rw', {
      audit: (message: Sent) => {
        if (JSON.stringify(message.body).includes('permission.allowed')) {
          written = () => it.feed({ type: 'replied', ref: message.ref, kind: 'audit', body: { n: 1 }, caps: [] })
          return null
        }
        return { body: { n: 1 } }
      },
    })
    const id = it.call('ask', write(), 's-new')
    expect(it.answer(id)).toBeUndefined()
    ;(written as unknown as () => void)()
    expect(it.answer(id)).toMatchObject({ type: 'reply', body: { decision: 'allow' } })
    expect(it.context().held).toEqual({})
  })

  test('what cannot be recorded is not carried out', () => {
    const error = { code: 'audit-failed', message: 'The audit log cannot be written.', cause: 'ENOSPC', remedy: 'x' }
    const it = opened('all', 'rw', {
      audit: (message: Sent) => (JSON.stringify(message.body).includes('permission') ? { error } : { body: {} }),
    })
    expect(it.answer(it.call('ask', write(), 's-new'))).toMatchObject({ type: 'refuse', error: { code: 'audit-failed', cause: 'ENOSPC' } })
  })

  test('questions, answers, refusals by rule, folders and sessions that come and go', () => {
    const it = opened('ask', 'ro', { 'ask-member': () => ({ body: { option: 'deny', by: 'member (terminal)' } }) })
    it.call('ask', write(), 's-new')
    it.call('ask', exec, 's-new')
    it.call('approve-mode', { session: 's-new', approve: 'all' })
    const { id = '' } = (it.context().sessions['s-new']?.folders ?? []).map(({ held }) => ({ id: String(held?.grant) }))[0] ?? {}
    it.call('revoke', { session: 's-new', grant: id })
    it.call('close', { session: 's-new' })
    expect(entries(it).map(({ action }) => action)).toEqual([
      'folder.connected',
      'session.opened',
      'permission.refused',
      'permission.asked',
      'permission.refused',
      'session.approve-mode',
      'folder.disconnected',
      'session.closed',
    ])
    expect(entries(it)[2]?.data).toMatchObject({ session: 's-new', tool: 'Write', code: 'read-only', target: { path: 'report.md' } })
    expect(entries(it)[4]?.data).toMatchObject({ tool: 'Bash', code: 'denied', rule: 'answer of member (terminal)' })
    expect(entries(it)[6]?.data).toMatchObject({ because: 'revoke', root: expect.any(String) })
  })
})
