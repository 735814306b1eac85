/**
 * The agent loop.
 *
 *   loading -> ready <-----------------------------------------+
 *                | prompt                                      |
 *                v                                             |
 *   turn: preparing -> saving -> calling -> saving -> working --+-> saving -> calling ...
 *                                   |                           |
 *                                   +-> saving -> ending -------+
 *   cancelled, anywhere in a turn -> closing -> ready
 *
 * `saving` waits until what was said is in the journal; nothing happens because of a message that could still be lost.
 */
import { setup } from 'xstate'
import { asFault, fault } from '../../kernel/index.ts'
import type { Inbound, KernelEvent, Outgoing } from '../../kernel/index.ts'
import { allCallsDone, allowed, beginCalls, callFailed, callRan, previewed, questionRefused } from './call-steps.ts'
import { type Context, initialContext, newTurn, withFolders } from './context.ts'
import { type FolderNews, newsEvents } from './folder-news.ts'
import { replayed } from './history.ts'
import { type EndedJob, jobEvents, startedJobs } from './job-news.ts'
import { HISTORY_PAGE, HISTORY_RETRY_MS } from './limits.ts'
import { requestOf } from './model-request.ts'
import type { ModelAttempt } from './model-call.ts'
import type { ConversationEvent, protocol } from './protocol.ts'
import { reported, reportedInterrupt, type Stamp } from './report.ts'
import {
  afterAnswer,
  callLimitFault,
  endTurn,
  event as partEvent,
  failed,
  interruptTurn,
  type ModelAnswer,
  overCallLimit,
  type Step,
  saveRef,
  stagePrompt,
  stageResults,
  type ToolRun,
  withTurn,
} from './steps.ts'
import type { ServerTool } from './tools/server-tool.ts'
import type { Answer } from './tools/tool.ts'

type Tag = { ref: string; request: number }
type Outcome =
  | ({
      type: 'prepareTurn.ready'
      date: string
      practice: boolean
      promptId: string
      serverTools: ServerTool[]
      serverNotes: string[]
      /** None in runs recorded before folders told. */
      news?: FolderNews[]
      endedJobs?: EndedJob[]
      instructions?: Context['instructions']
    } & Tag)
  | ({ type: 'prepareTurn.failed'; error: unknown; promptId: string } & Tag)
  | ({ type: 'prepareTurn.crashed'; error: unknown } & Tag)
  | ({ type: 'callModel.done' } & ModelAnswer & Stamp & Tag)
  | ({ type: 'callModel.attempt' } & ModelAttempt & Stamp & Tag)
  | ({ type: 'callModel.failed' | 'callModel.crashed'; error: unknown } & Tag)
  | ({ type: 'runTool.done'; answers: Answer[]; durationMs: number; endedJobs?: EndedJob[] } & Stamp & Tag)
  | ({ type: 'runTool.failed'; error: unknown; output: string; durationMs: number; endedJobs?: EndedJob[] } & Stamp & Tag)
  | ({ type: 'runTool.crashed'; error: unknown } & Tag)
type Event = Inbound<typeof protocol> | KernelEvent | Outcome

const LOAD_REF = 'load'

const base = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing; input: { params: Record<string, unknown>; slots: readonly string[] } },
  actions: {
    prepareTurn: (_, _params: Tag & { folders: Context['folderSlots']; asksJobs: boolean }) => {},
    callModel: (_, _params: Tag & { body: ReturnType<typeof requestOf> }) => {},
    runTool: (_, _params: ToolRun) => {},
  },
  guards: {
    isRequest: ({ event }) => event.type === 'prompt' && event.from.request !== null,
    isFreeRequest: ({ context, event }) => event.type === 'prompt' && event.from.request !== null && context.waiting === null,
    hasWaiting: ({ context }) => context.waiting !== null,
    isWaiting: ({ context, event }) => event.type === 'cancelled' && context.waiting?.request === event.request,
    isCurrent: ({ context, event }) => event.type === 'cancelled' && context.turn?.request === event.request,
    isMine: ({ context, event }) => 'ref' in event && event.ref === turnRef(context),
    isLoad: ({ event }) => 'ref' in event && event.ref === LOAD_REF,
    isLastPage: ({ event }) => event.type === 'replied' && event.ref === LOAD_REF && pageOf(event.body).length < HISTORY_PAGE,
    isSave: ({ context, event }) => 'ref' in event && event.ref === saveRef(context),
    nothingStaged: ({ context }) => context.staged === null || context.staged.left === 0,
    endsNext: ({ context }) => context.turn?.ending != null,
    callsNext: ({ context }) => context.turn?.calls.length === 0,
    callsOverLimit: ({ context }) => context.turn?.calls.length === 0 && overCallLimit(context),
    allCallsDone: ({ context }) => allCallsDone(context),
  },
  delays: { historyRetry: HISTORY_RETRY_MS },
})

/** An action that takes a step: the new context, what leaves, and the effects it starts. */
function stepping(take: (context: Context, event: Event) => Step): ReturnType<typeof base.enqueueActions> {
  return base.enqueueActions(({ context, event, enqueue }) => {
    const { context: next, out, runs } = take(context, event)
    enqueue.assign(() => next)
    for (const message of out) enqueue.emit(message)
    for (const params of runs) enqueue({ type: 'runTool', params })
  })
}

/** A step that telemetry hears of as well. */
const telling = (take: (context: Context, event: Event) => Step) =>
  stepping((context, event) => reported(take(context, event), event, context))

const changing = (change: (context: Context, event: Event) => Context) =>
  stepping((context, event) => ({ context: change(context, event), out: [], runs: [] }))
const emitting = (say: (context: Context, event: Event) => readonly Outgoing[]) =>
  stepping((context, event) => ({ context, out: say(context, event), runs: [] }))

export const machine = base
  .extend({
    actions: {
      readHistory: emitting(({ loadedSeq }) => [
        { type: 'send', to: 'journal', kind: 'read', body: { after: loadedSeq, limit: HISTORY_PAGE }, ref: LOAD_REF },
      ]),
      addPage: changing((context, event) => {
        const page = event.type === 'replied' ? pageOf(event.body) : []
        return { ...context, messages: [...page.reduce(replayed, context.messages)], loadedSeq: page.at(-1)?.seq ?? context.loadedSeq }
      }),
      refuseWaiting: stepping((context, event) => {
        const error = event.type === 'refused' ? event.error : fault('internal', 'The history could not be read.')
        return {
          context: { ...context, waiting: null },
          out: context.waiting ? [{ type: 'refuse', request: context.waiting.request, error }] : [],
          runs: [],
        }
      }),
      keepWaiting: changing((context, event) =>
        event.type === 'prompt' && event.from.request !== null
          ? { ...context, waiting: { request: event.from.request, text: event.body.text } }
          : context,
      ),
      dropWaiting: changing((context) => ({ ...context, waiting: null })),
      refuseBusy: emitting(({ session }, event) =>
        event.type === 'prompt' && event.from.request !== null
          ? [{ type: 'refuse', request: event.from.request, error: fault('session-busy', `Session ${session} is working on a prompt.`) }]
          : [],
      ),
      beginTurn: changing((context) =>
        context.waiting ? { ...context, waiting: null, serial: context.serial + 1, turn: newTurn(context, context.waiting) } : context,
      ),
      showModel: telling((context, event) => {
        const { turn, model } = context
        if (!turn || event.type !== 'prepareTurn.ready') return { context, out: [], runs: [] }
        const told: ConversationEvent[] = [
          { type: 'model', name: model, practice: event.practice },
          ...newsEvents(event.news ?? []),
          ...jobEvents(event.endedJobs ?? []),
        ]
        return { context, out: told.map((one) => partEvent(turn.request, one)), runs: [] }
      }),
      stagePrompt: changing((context, event) => {
        if (event.type !== 'prepareTurn.ready') return stagePrompt(context)
        const { date, serverTools, serverNotes, news, endedJobs, instructions = [] } = event
        return stagePrompt(withTurn({ ...context, serverTools, serverNotes, instructions }, { date }), news, endedJobs)
      }),
      appendStaged: emitting((context) =>
        (context.staged?.entries ?? []).map(
          (entry): Outgoing => ({ type: 'send', to: 'journal', kind: 'append', body: entry, ref: saveRef(context) }),
        ),
      ),
      countSave: changing((context) =>
        context.staged ? { ...context, staged: { ...context.staged, left: context.staged.left - 1 } } : context,
      ),
      commitStaged: changing((context) => (context.staged ? { ...context, messages: context.staged.messages, staged: null } : context)),
      countCall: changing((context) =>
        withTurn({ ...context, serial: context.serial + 1 }, { modelCalls: (context.turn?.modelCalls ?? 0) + 1 }),
      ),
      tellAttempt: telling((context) => ({ context, out: [], runs: [] })),
      takeAnswer: telling((context, event) =>
        event.type === 'callModel.done' ? afterAnswer(context, event) : { context, out: [], runs: [] },
      ),
      beginCalls: telling(beginCalls),
      /** Whichever call brought it, it is news to the session. */
      noteJobs: stepping((context, event) => {
        const ended = event.type === 'runTool.done' || event.type === 'runTool.failed' ? (event.endedJobs ?? []) : []
        const { turn } = context
        if (!turn || ended.length === 0) return { context, out: [], runs: [] }
        const out = jobEvents(ended).map((one) => partEvent(turn.request, one))
        return { context: withTurn(context, { endedJobs: [...turn.endedJobs, ...ended] }), out, runs: [] }
      }),
      takeRun: telling((context, event) =>
        event.type === 'runTool.done' ? callRan(context, event.ref, event.answers, event.durationMs) : { context, out: [], runs: [] },
      ),
      takeRunFailure: telling((context, event) => {
        if (event.type === 'runTool.failed') return callFailed(context, event.ref, event.error, event.output, event.durationMs)
        return event.type === 'runTool.crashed' ? callFailed(context, event.ref, event.error, '', 0) : { context, out: [], runs: [] }
      }),
      takeReply: telling((context, event) => {
        if (event.type !== 'replied') return { context, out: [], runs: [] }
        return event.kind === 'ask' ? allowed(context, event.ref, event.body, event.caps[0]) : previewed(context, event.ref, event.body)
      }),
      takeRefusal: telling((context, event) =>
        event.type === 'refused' ? questionRefused(context, event.ref, event.error) : { context, out: [], runs: [] },
      ),
      stageResults: changing(stageResults),
      fail: telling((context, event) => ({ context: failed(context, asFault('error' in event ? event.error : null)), out: [], runs: [] })),
      failOverLimit: changing((context) => failed(context, callLimitFault())),
      endTurn: stepping((context) => ({ context: { ...context, turn: null }, out: endTurn(context), runs: [] })),
      interruptTurn: stepping((context) => reportedInterrupt(interruptTurn(context), context)),
      setFolders: stepping((context, event) => {
        if (event.type !== 'folders') return { context, out: [], runs: [] }
        const { request, caps } = event.from
        return {
          context: withFolders(context, event.body, caps),
          out: request === null ? [] : [{ type: 'reply', request, body: {} }],
          runs: [],
        }
      }),
      setBlocked: stepping((context, event) => {
        if (event.type !== 'restrict') return { context, out: [], runs: [] }
        const { request } = event.from
        return {
          context: { ...context, ...event.body },
          out: request === null ? [] : [{ type: 'reply', request, body: {} }],
          runs: [],
        }
      }),
      countHistory: emitting(({ messages }, event) =>
        event.type === 'history' && event.from.request !== null
          ? [{ type: 'reply', request: event.from.request, body: { messages: messages.length } }]
          : [],
      ),
    },
  })
  .createMachine({
    id: 'conversation',
    context: ({ input }) => initialContext(input),
    initial: 'loading',
    on: {
      folders: { actions: 'setFolders' },
      restrict: { actions: 'setBlocked' },
      history: { actions: 'countHistory' },
    },
    states: {
      loading: {
        entry: 'readHistory',
        on: {
          prompt: [{ guard: 'isFreeRequest', actions: 'keepWaiting' }, { actions: 'refuseBusy' }],
          cancelled: { guard: 'isWaiting', actions: 'dropWaiting' },
          replied: [
            { guard: 'isLastPage', target: 'ready', actions: 'addPage' },
            { guard: 'isLoad', actions: ['addPage', 'readHistory'] },
          ],
          refused: { guard: 'isLoad', target: 'unloaded', actions: 'refuseWaiting' },
        },
      },
      // A prompt does not wait for the timer: it asks again at once.
      unloaded: {
        after: { historyRetry: 'loading' },
        on: { prompt: { guard: 'isRequest', target: 'loading', actions: 'keepWaiting' } },
      },
      ready: {
        always: { guard: 'hasWaiting', target: 'turn', actions: 'beginTurn' },
        on: { prompt: { guard: 'isRequest', target: 'turn', actions: ['keepWaiting', 'beginTurn'] } },
      },
      turn: {
        initial: 'preparing',
        on: {
          prompt: { actions: 'refuseBusy' },
          cancelled: { guard: 'isCurrent', target: 'closing', actions: 'interruptTurn' },
        },
        states: {
          preparing: {
            entry: {
              type: 'prepareTurn',
              params: ({ context }) => ({ ...tagOf(context), folders: context.folderSlots, asksJobs: startedJobs(context.messages) }),
            },
            on: {
              'prepareTurn.ready': { guard: 'isMine', target: 'saving', actions: ['showModel', 'stagePrompt'] },
              'prepareTurn.failed': { guard: 'isMine', target: 'ending', actions: 'fail' },
              'prepareTurn.crashed': { guard: 'isMine', target: 'ending', actions: 'fail' },
            },
          },
          saving: {
            entry: 'appendStaged',
            always: { guard: 'nothingStaged', target: 'saved', actions: 'commitStaged' },
            on: {
              replied: { guard: 'isSave', actions: 'countSave' },
              refused: { guard: 'isSave', target: 'ending', actions: 'fail' },
            },
          },
          saved: {
            always: [
              { guard: 'endsNext', target: 'ending' },
              { guard: 'callsOverLimit', target: 'ending', actions: 'failOverLimit' },
              { guard: 'callsNext', target: 'calling' },
              { target: 'working' },
            ],
          },
          calling: {
            entry: [
              'countCall',
              {
                type: 'callModel',
                params: ({ context }) => ({
                  ...tagOf(context),
                  body: requestOf(context),
                }),
              },
            ],
            on: {
              'callModel.attempt': { guard: 'isMine', actions: 'tellAttempt' },
              'callModel.done': { guard: 'isMine', target: 'saving', actions: 'takeAnswer' },
              'callModel.failed': { guard: 'isMine', target: 'ending', actions: 'fail' },
              'callModel.crashed': { guard: 'isMine', target: 'ending', actions: 'fail' },
            },
          },
          working: {
            entry: 'beginCalls',
            always: { guard: 'allCallsDone', target: 'saving', actions: 'stageResults' },
            on: {
              'runTool.done': { actions: ['noteJobs', 'takeRun'] },
              'runTool.failed': { actions: ['noteJobs', 'takeRunFailure'] },
              'runTool.crashed': { actions: 'takeRunFailure' },
              replied: { actions: 'takeReply' },
              refused: { actions: 'takeRefusal' },
            },
          },
          ending: { entry: 'endTurn', always: '#conversation.ready' },
        },
      },
      // The prompt is over for its sender; what was said and done still goes to the journal.
      closing: {
        entry: 'appendStaged',
        always: { guard: 'nothingStaged', target: 'ready', actions: 'commitStaged' },
        on: {
          prompt: [{ guard: 'isFreeRequest', actions: 'keepWaiting' }, { actions: 'refuseBusy' }],
          cancelled: { guard: 'isWaiting', actions: 'dropWaiting' },
          replied: { guard: 'isSave', target: 'ready', actions: 'commitStaged' },
          refused: { guard: 'isSave', target: 'ready', actions: 'commitStaged' },
        },
      },
    },
  })

type Page = readonly { seq: number; type: string; entry: unknown }[]

function pageOf(body: unknown): Page {
  return (body as { entries: Page }).entries
}

function turnRef({ serial }: Context): string {
  return `turn:${serial}`
}

function tagOf(context: Context): Tag {
  return { ref: turnRef(context), request: context.turn?.request ?? -1 }
}
