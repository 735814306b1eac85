/**
 * What the checker plays around the agent loop: a prompt and a second one, an interrupt, a model that reads and writes, consent that
 * allows once, for the session, or not, tools that work, fail and crash, a journal that refuses.
 */
import { defineModel, type View } from '../../checker/model.ts'
import type { Context } from './context.ts'
import { validHistory } from './history.ts'
import { machine } from './machine.ts'

const from = (request: number) => ({ request, badge: { from: 'gateway', session: 's', limits: {} }, caps: [] })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
const use = (id: string, name: string, input: object) => ({ type: 'tool_use' as const, id, name, input })
const usage = { input: 1, output: 1 }

/** The slot that consent gives in this model. */
const granted = 5

const read = use('read', 'Read', { file_path: '/r/a.txt' })
const fetch = use('read', 'WebFetch', { url: 'https://a.example/' })
const write = use('write', 'Write', { file_path: '/r/b.txt', content: 'x' })

const requestOfPrompt = 100
const isOpen = ({ open }: View<Context>): boolean => open.some((request) => request >= requestOfPrompt && request < 300)

/** @param modelCalls answers with tool calls in one turn; @param changes whether policy changes meanwhile and a second prompt comes */
function modelOf(modelCalls: number, changes: boolean) {
  return defineModel<Context>({
    actor: 'conversation',
    machine,
    input: { params: { session: 's', folders: [{ name: 'r', root: '/r', mode: 'rw' }], hosts: [], blocked: {} }, slots: ['folder:r'] },
    stimuli: [
      { name: 'prompt', event: (_, request) => ({ type: 'prompt', body: { text: 'go' }, from: from(request) }) },
      {
        name: 'another prompt',
        when: ({ sent }) => changes && sent['prompt'] === 1,
        event: (_, request) => ({ type: 'prompt', body: { text: 'again' }, from: from(request) }),
      },
      { name: 'interrupt', request: false, when: isOpen, event: ({ open }) => ({ type: 'cancelled', request: open[0] }) },
      {
        name: 'restrict',
        when: ({ context }) => changes && context.turn !== null,
        event: (_, request) => ({ type: 'restrict', body: { blocked: { Write: 'policy' } }, from: from(request) }),
      },
    ],
    effects: {
      prepareTurn: () => [
        end({
          type: 'prepareTurn.ready',
          date: '2026-01-01',
          practice: true,
          serverTools: [],
          serverNotes: [],
          news: [],
          endedJobs: [],
          instructions: [],
        }),
        end({ type: 'prepareTurn.failed', error: fault('model-unreachable') }),
      ],
      callModel: (_, { context }) => [
        end({ type: 'callModel.done', content: [{ type: 'text', text: 'done' }], stopReason: 'end_turn', usage }),
        ...((context.turn?.modelCalls ?? 0) < modelCalls
          ? [read, fetch].map((first) => end({ type: 'callModel.done', content: [first, write], stopReason: 'tool_use', usage }))
          : []),
        end({ type: 'callModel.crashed', error: fault('internal') }),
      ],
      runTool: ({ id }: { id: string }) => [
        end(
          id === 'read'
            ? { type: 'runTool.done', answers: [{ body: { text: 'a', truncated: false, lines: 1, sha256: 'h' } }], durationMs: 1 }
            : { type: 'runTool.done', answers: [{ body: { bytes: 1, created: true, sha256: 'h' } }], durationMs: 1, endedJobs: [] },
        ),
        end({ type: 'runTool.failed', error: fault(id === 'read' ? 'not-found' : 'revoked'), output: '', durationMs: 1 }),
      ],
    },
    replies: ({ ref, kind }) => {
      const replied = (body: unknown, caps: readonly number[] = []) => ({ type: 'replied', ref, kind, body, caps })
      const refused = (code: string) => ({ type: 'refused', ref, kind, error: fault(code) })
      switch (kind) {
        case 'read':
          return [replied({ entries: [] }), refused('actor-down')]
        case 'append':
          return [replied({ seq: 1 }), refused('io-failed')]
        case 'preview':
          return [replied({ path: 'b.txt', diff: '+x', created: true }), refused('outside-folder')]
        default:
          return [
            replied({ decision: 'allow', scope: 'once', by: 'member' }, [granted]),
            replied({ decision: 'allow', scope: 'session', by: 'member' }, [granted]),
            refused('denied'),
          ]
      }
    },
    // The serial only makes refs unique, and how long things took is shown, not used.
    project: ({ serial: _serial, loadedSeq: _seq, ...context }) => context,
    projectPending: (item, { context }) => {
      if (item.what === 'timer') return item
      const ref = item.what === 'request' ? item.ref : String(item.params['ref'])
      // Of an earlier turn or question: its outcome finds nobody.
      const current = ref === 'load' || ref.split(':')[1] === String(context.serial)
      return item.what === 'request'
        ? [item.kind, item.cancelled === true, current, ref.split(':').slice(2)]
        : [item.name, item.params['id'], item.params['request'], current, ref.split(':').slice(2)]
    },
    always: {
      'a prompt that is open is being worked on or waits': ({ context, open }) =>
        open.every((request) => context.turn?.request === request || context.waiting?.request === request),
      'each tool call the model hears of is answered exactly once, in the message after it': ({ context }) =>
        validHistory(context.messages).every(({ role, content }, index, messages) => {
          const asked = content.flatMap((block) => (role === 'assistant' && block.type === 'tool_use' ? [block.id] : []))
          if (asked.length === 0) return true
          const answered = (messages[index + 1]?.content ?? []).flatMap((block) =>
            block.type === 'tool_result' ? [block.tool_use_id] : [],
          )
          return asked.length === answered.length && asked.every((id) => answered.filter((other) => other === id).length === 1)
        }),
      'a change runs only on a capability that consent gave': ({ pending }) =>
        pending.every(
          (item) =>
            item.what !== 'effect' ||
            item.name !== 'runTool' ||
            (item.params['calls'] as { to: unknown; kind: string }[]).every(({ to, kind }) => kind !== 'write' || to === granted),
        ),
      'nothing runs in a turn that is over': ({ context, pending }) =>
        context.turn !== null || pending.every((item) => item.what !== 'effect' || item.name !== 'runTool'),
    },
    sometimes: {
      'a change was allowed and made': ({ context }) =>
        context.messages.some(({ content }) =>
          content.some((block) => block.type === 'tool_result' && block.tool_use_id === 'write' && block.is_error !== true),
        ),
      'an approval for the session is used again': ({ context }) => context.turn?.calls.some(({ reusing }) => reusing) === true,
      'a change is asked for after a page was read, though it was allowed for the session': ({ context }) =>
        Object.keys(context.approvals).length > 0 &&
        context.turn?.calls.some(({ phase }) => phase === 'asking') === true &&
        context.turn.untrusted.length > 0,
      'a turn was interrupted and closed': ({ value, context, sent }) =>
        value === 'ready' && sent['interrupt'] === 1 && context.messages.length > 0,
    },
    steps: {
      'an interrupt ends the turn': (before, event, after) =>
        event.type !== 'cancelled' || before.context.turn?.request !== event['request'] || after.context.turn === null,
      'a result is shown once for each call, when it ends': (before, _event, _after, out) =>
        out.every(({ type, ...message }) => {
          const body = (message as { body?: { type?: string; id?: string } }).body
          if (type !== 'partTo' || body?.type !== 'tool_result') return true
          const phase = (view: typeof before) => view.context.turn?.calls.find(({ id }) => id === body.id)?.phase
          // What cannot be carried out ends as it is planned, and is shown when the others begin.
          const begins = !JSON.stringify(before.value).includes('working')
          return begins || phase(before) !== 'done'
        }),
      'once a page was read, nothing more runs on what was allowed before': (
        { context: { turn: before } },
        _event,
        { context: { turn } },
      ) =>
        turn === null ||
        turn.untrusted.length === 0 ||
        turn.calls.every(({ reusing, phase }, at) => !reusing || phase === 'done' || before?.calls[at]?.reusing === true),
      'the model hears of nothing that is not in the journal': (before, _event, after) =>
        before.value === after.value || !JSON.stringify(after.value).includes('calling') || after.context.staged === null,
    },
    leadsTo: {
      'a prompt is answered': { from: isOpen, to: (view) => !isOpen(view) },
      'an interrupted turn gives way to the next': {
        from: ({ value }) => value === 'closing',
        to: ({ value }) => value === 'ready' || JSON.stringify(value).includes('turn'),
      },
    },
    possible: { 'ready for a prompt': ({ value }) => value === 'ready' },
    onlyHere: ['a change runs only on a capability that consent gave'],
    mayEnd: ({ value, open }) => value === 'ready' && open.length === 0,
  })
}

export const model = modelOf(3, false)
export const fullModel = modelOf(2, true)
