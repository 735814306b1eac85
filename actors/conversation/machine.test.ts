import { describe, expect, test } from 'vitest'
import { type Command, createStepper } from '../../kernel/stepper.ts'
import { fault, type Outgoing } from '../../kernel/index.ts'
import { machine } from './machine.ts'

type Sent = Extract<Outgoing, { type: 'send' }>

/** The machine alone: what each event makes it want. */
function drive(): {
  give: (event: { type: string; [key: string]: unknown }) => Command[]
  state: () => unknown
  context: () => Record<string, unknown>
} {
  const stepper = createStepper(machine)
  let { snapshot } = stepper.initial({ params: { session: 's-1', folders: [{ name: 'sales', root: '/r', mode: 'rw' }] }, slots: [] })
  return {
    give(event) {
      const step = stepper.step(snapshot, event)
      snapshot = step.snapshot
      return step.commands
    },
    state: () => snapshot.value as unknown,
    context: () => snapshot.context as Record<string, unknown>,
  }
}
const from = { request: 7, badge: { from: 'consent', session: 's-1', limits: {} }, caps: [] }
const emitted = (commands: Command[]): Outgoing[] => commands.flatMap((command) => (command.do === 'emit' ? [command.message] : []))
const effectsIn = (commands: Command[]): string[] => commands.flatMap((command) => (command.do === 'effect' ? [command.name] : []))
const prompt = (request: number): { type: string; [key: string]: unknown } => ({
  type: 'prompt',
  body: { text: 'go' },
  from: { ...from, request },
})
const loaded = { type: 'replied', ref: 'load', kind: 'read', body: { entries: [] }, caps: [] }
const refOf = (commands: Command[]): string =>
  commands.flatMap((command) =>
    command.do === 'effect'
      ? [String(command.params['ref'])]
      : emitted([command]).flatMap((message) => ('ref' in message && message.ref ? [message.ref] : [])),
  )[0] ?? ''

describe('start', () => {
  test('a prompt that comes before the history waits for it; a second one is told so', () => {
    const it = drive()
    expect(it.give(prompt(1))).toEqual([])
    expect(emitted(it.give(prompt(2)))).toMatchObject([{ type: 'refuse', request: 2, error: { code: 'session-busy' } }])
    const begun = it.give(loaded)
    expect(effectsIn(begun)).toEqual(['prepareTurn'])
    expect(it.context()).toMatchObject({ waiting: null, turn: { request: 1 } })
  })

  test('a prompt taken back before the history is there never begins', () => {
    const it = drive()
    it.give(prompt(1))
    it.give({ type: 'cancelled', request: 1 })
    expect(it.give(loaded)).toEqual([])
    expect(it.state()).toBe('ready')
  })

  test('a journal that does not answer: the prompt hears of it, the history is asked for again', () => {
    const it = drive()
    it.give(prompt(1))
    const refused = it.give({ type: 'refused', ref: 'load', kind: 'read', error: fault('actor-down', 'gone') })
    expect(emitted(refused)).toMatchObject([{ type: 'refuse', request: 1, error: { code: 'actor-down' } }])
    expect(refused.some((command) => command.do === 'timer')).toBe(true)
    expect(emitted(it.give(prompt(2)))).toMatchObject([{ type: 'send', to: 'journal', kind: 'read' }])
    expect(effectsIn(it.give(loaded))).toEqual(['prepareTurn'])
  })

  test('a long history is read page by page', () => {
    const it = drive()
    const page = Array.from({ length: 500 }, (_, n) => ({
      seq: n + 1,
      ts: 0,
      type: 'message',
      entry: { role: 'user', content: [{ type: 'text', text: 'x' }] },
    }))
    expect(emitted(it.give({ ...loaded, body: { entries: page } }))).toMatchObject([{ kind: 'read', body: { after: 500 } }])
    expect(it.state()).toBe('loading')
    it.give(loaded)
    expect([it.state(), (it.context()['messages'] as unknown[]).length]).toEqual(['ready', 500])
  })
})

describe('a turn', () => {
  const begun = (): ReturnType<typeof drive> & { ref: string } => {
    const it = drive()
    it.give(loaded)
    return { ...it, ref: refOf(it.give(prompt(1))) }
  }

  test('the model is not called before the journal has the prompt', () => {
    const it = begun()
    const ready = it.give({ type: 'prepareTurn.ready', ref: it.ref, request: 1, date: '2026-11-24', practice: false })
    expect(emitted(ready)).toMatchObject([
      { type: 'partTo', body: { type: 'model' } },
      { type: 'send', to: 'journal', kind: 'append', body: { type: 'message', entry: { role: 'user' } } },
    ])
    expect(effectsIn(ready)).toEqual([])
    expect(effectsIn(it.give({ type: 'replied', ref: refOf(ready), kind: 'append', body: { seq: 1 }, caps: [] }))).toEqual(['callModel'])
  })

  test('a journal that refuses ends the turn, and nothing that was not kept is remembered', () => {
    const it = begun()
    const ready = it.give({ type: 'prepareTurn.ready', ref: it.ref, request: 1, date: '2026-11-24', practice: false })
    const refused = it.give({ type: 'refused', ref: refOf(ready), kind: 'append', error: fault('io-failed', 'disk full') })
    expect(emitted(refused)).toMatchObject([
      { type: 'partTo', body: { type: 'error' } },
      { type: 'reply', request: 1, body: { status: 'failed', error: { code: 'io-failed' } } },
    ])
    expect([it.state(), it.context()['messages']]).toEqual(['ready', []])
  })

  test('outcomes of something older are passed over', () => {
    const it = begun()
    expect(it.give({ type: 'prepareTurn.ready', ref: 'turn:99', request: 1, date: '', practice: false })).toEqual([])
    expect(it.give({ type: 'cancelled', request: 99 })).toEqual([])
    expect(it.state()).toEqual({ turn: 'preparing' })
  })

  test('interrupted before anything was said: nothing is kept, the next prompt begins', () => {
    const it = begun()
    it.give({ type: 'cancelled', request: 1 })
    expect([it.state(), it.context()['messages']]).toEqual(['ready', []])
    expect(effectsIn(it.give(prompt(2)))).toEqual(['prepareTurn'])
  })

  test('a crash of an effect ends the turn like any failure', () => {
    const it = begun()
    expect(emitted(it.give({ type: 'prepareTurn.crashed', ref: it.ref, request: 1, error: fault('internal', 'oops') }))).toMatchObject([
      {},
      { type: 'reply', body: { status: 'failed', error: { code: 'internal' } } },
    ])
  })
})

test('folders can come and go: new ones bring a slot, approvals end with theirs', () => {
  const it = drive()
  const folders = [
    { name: 'sales', root: '/r', mode: 'rw' },
    { name: 'notes', root: '/n', mode: 'ro' },
  ]
  expect(emitted(it.give({ type: 'folders', body: { folders, hosts: ['a.test'] }, from: { ...from, caps: [41] } }))).toEqual([
    { type: 'reply', request: 7, body: {} },
  ])
  expect(it.context()).toMatchObject({ folderSlots: { sales: 'folder:sales', notes: 41 }, hosts: ['a.test'] })
  it.give({ type: 'folders', body: { folders: folders.slice(1) }, from })
  expect(it.context()['folderSlots']).toEqual({ notes: 41 })
})

test('what is sent to ask for consent has no deadline: a member may take their time', () => {
  const it = drive()
  it.give(loaded)
  let ref = refOf(it.give(prompt(1)))
  ref = refOf(it.give({ type: 'prepareTurn.ready', ref, request: 1, date: '', practice: true }))
  ref = refOf(it.give({ type: 'replied', ref, kind: 'append', body: {}, caps: [] }))
  const answered = it.give({
    type: 'callModel.done',
    ref,
    request: 1,
    content: [{ type: 'tool_use', id: 'b', name: 'Bash', input: { command: 'x' } }],
    stopReason: 'tool_use',
    usage: { input: 1, output: 1 },
  })
  const working = it.give({ type: 'replied', ref: refOf(answered), kind: 'append', body: {}, caps: [] })
  const question = emitted(working).find((message): message is Sent => message.type === 'send')
  expect(question).toMatchObject({ to: 'consent', kind: 'ask', deadlineMs: null })
  expect(emitted(it.give({ type: 'cancelled', request: 1 }))).toMatchObject([
    { type: 'cancel', ref: question?.ref },
    { type: 'send', to: 'journal' },
  ])
})
