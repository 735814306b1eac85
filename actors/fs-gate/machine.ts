/**
 * A connected folder's gate as a machine. Thin: the decisions about paths are made where the handles are, in the effects.
 *
 *   opening --opened--> serving --folder deleted--> lost
 *      |                                             |  ^
 *      +--failed-------------------------------------+  | failed
 *                         lost --after reopen--> opening
 *
 * Each request becomes the effect of its name. In `opening` it waits; after `stopping` it is refused `not-now` by the runtime, in `lost`
 * with the reason. No request is answered twice: an effect's outcome is the answer.
 */
import { assign, emit, enqueueActions, setup } from 'xstate'
import { type Fault, fault, type Inbound, type KernelEvent, type Limits, noRequest, type Outgoing } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { protocol } from './protocol.ts'

type Request = Inbound<typeof protocol>
type Mode = 'ro' | 'rw'

export type Context = {
  /** As given; once open, the real path. */
  root: string
  name: string
  mode: Mode
  /** Below it lies the folder's store of changes; null: none is kept. */
  changes: string | null
  /** Which open folder the effects shall use. */
  gate: number
  /** Requests that came while the folder was being opened, oldest first. */
  held: readonly Request[]
  /** Why the folder is not served, in state `lost`. */
  trouble: Fault | null
}

/** The effect that carries out each kind of request. */
export const tasks = {
  read: 'readFile',
  list: 'listFolder',
  stat: 'statPath',
  glob: 'globFiles',
  grep: 'grepFiles',
  preview: 'previewChange',
  write: 'writeFile',
  edit: 'editFile',
  'multi-edit': 'multiEdit',
  move: 'movePath',
  delete: 'deletePath',
  mark: 'markCall',
  others: 'tellOthers',
  changes: 'listChanges',
  undo: 'undoChanges',
  redo: 'redoChanges',
  ninep: 'serveNinep',
  'ninep-close': 'closeNinep',
} as const satisfies Record<Exclude<Request['type'], 'info'>, string>
type Task = (typeof tasks)[keyof typeof tasks]
type Outcome =
  | { type: 'openFolder.opened'; gate: number; root: string }
  | { type: 'openFolder.failed' | 'openFolder.crashed'; error: Fault }
  | { type: 'closeFolder.closed' | 'closeFolder.crashed' }
  | { type: `${Task}.done`; request: number; reply: unknown }
  | { type: `${Task}.failed`; request: number; error: Fault; gone?: boolean }
  | { type: `${Task}.crashed`; request: number; error: Fault }
type Events = Request | KernelEvent | Outcome
type Input = { params: Record<string, unknown>; slots: readonly string[] }

/** What every file effect gets: the folder, what the capability allows, the body, and who asks. */
export type TaskParams<Body> = { request: number; gate: number; grant: Limits; body: Body; from: string }
type Params<K extends Request['type']> = TaskParams<Extract<Request, { type: K }>['body']>

const dialect = setup({
  types: {} as { context: Context; events: Events; emitted: Outgoing; input: Input },
  delays: { reopen: limits.reopenMs },
  guards: {
    /** A message nobody waits for has no answer to give. */
    unasked: ({ event }) => 'from' in event && event.from.request === null,
    roomToHold: ({ context }) => context.held.length < limits.held,
    folderGone: ({ event }) => 'gone' in event && (event.gone ?? false),
  },
  actions: {
    // Effects: the runtime runs them by name.
    openFolder: (_, _params: { root: string; name: string; mode: Mode; changes: string | null }) => {},
    closeFolder: (_, _params: { gate: number }) => {},
    readFile: (_, _params: Params<'read'>) => {},
    listFolder: (_, _params: Params<'list'>) => {},
    statPath: (_, _params: Params<'stat'>) => {},
    globFiles: (_, _params: Params<'glob'>) => {},
    grepFiles: (_, _params: Params<'grep'>) => {},
    previewChange: (_, _params: Params<'preview'>) => {},
    writeFile: (_, _params: Params<'write'>) => {},
    editFile: (_, _params: Params<'edit'>) => {},
    multiEdit: (_, _params: Params<'multi-edit'>) => {},
    movePath: (_, _params: Params<'move'>) => {},
    deletePath: (_, _params: Params<'delete'>) => {},
    markCall: (_, _params: Params<'mark'>) => {},
    tellOthers: (_, _params: Params<'others'>) => {},
    listChanges: (_, _params: Params<'changes'>) => {},
    undoChanges: (_, _params: Params<'undo'>) => {},
    redoChanges: (_, _params: Params<'redo'>) => {},
    serveNinep: (_, _params: Params<'ninep'>) => {},
    closeNinep: (_, _params: Params<'ninep-close'>) => {},

    hold: assign(({ context, event }) => ('from' in event ? { held: [...context.held, event] } : {})),
    forgetHeld: assign(({ context, event }) =>
      event.type === 'cancelled' ? { held: context.held.filter(({ from }) => from.request !== event.request) } : {},
    ),
    noteOpen: assign(({ event }) => (event.type === 'openFolder.opened' ? { gate: event.gate, root: event.root, trouble: null } : {})),
    tellHeld: enqueueActions(({ context, enqueue }) => {
      const { root, name, mode } = context
      for (const { type, from } of context.held)
        if (type === 'info' && from.request !== null) enqueue.emit({ type: 'reply', request: from.request, body: { root, name, mode } })
    }),
    refuseHeld: enqueueActions(({ context, enqueue }) => {
      for (const { from } of context.held) if (from.request !== null) enqueue.emit(lost(context, from.request))
      enqueue.assign({ held: [] })
    }),
    noteTrouble: assign({ trouble: ({ event }) => errorOf(event) }),
    tellInfo: emit(({ context, event }): Outgoing => {
      const { root, name, mode } = context
      return { type: 'reply', request: requestOf(event), body: { root, name, mode } }
    }),
    answer: emit(
      ({ event }): Outgoing =>
        'reply' in event
          ? { type: 'reply', request: requestOf(event), body: event.reply }
          : { type: 'refuse', request: requestOf(event), error: errorOf(event) },
    ),
    refuseLost: emit(({ context, event }) => lost(context, requestOf(event))),
  },
})

/** What a request's effect is, and with what. */
const serve = dialect.enqueueActions(({ context, event, enqueue }) => {
  if ('from' in event && event.type !== 'info') enqueue(taskOf(context, event))
})
const serveHeld = dialect.enqueueActions(({ context, enqueue }) => {
  for (const request of context.held)
    if (request.type !== 'info' && (request.from.request !== null || withoutAnswer.has(request.type))) enqueue(taskOf(context, request))
  enqueue.assign({ held: [] })
})

/** Carried out also when nobody waits: a supervisor that is stopping, a mark that what follows needs. */
const withoutAnswer: ReadonlySet<string> = new Set(['ninep-close', 'mark'])

const unasked = { guard: 'unasked' } as const
const held = { guard: 'roomToHold', actions: 'hold' } as const
/** An answer to nobody goes nowhere. */
const answered = { actions: 'answer' } as const
const failed = [{ guard: 'folderGone', target: '#fs-gate.up.lost', actions: ['noteTrouble', 'answer'] }, { actions: 'answer' }] as const
const refused = { actions: 'refuseLost' } as const

export const machine = dialect.extend({ actions: { serve, serveHeld } }).createMachine({
  id: 'fs-gate',
  context: ({ input }) => ({ ...startParams(input.params), gate: -1, held: [], trouble: null }),
  initial: 'up',
  on: Object.fromEntries(
    Object.values(tasks).flatMap((task) =>
      (['done', 'failed', 'crashed'] as const).map((outcome) => [`${task}.${outcome}`, answered] as const),
    ),
  ),
  states: {
    up: {
      initial: 'opening',
      on: { stopping: 'stopped' },
      states: {
        opening: {
          entry: { type: 'openFolder', params: ({ context: { root, name, mode, changes } }) => ({ root, name, mode, changes }) },
          on: {
            ...forAll(held),
            info: held,
            cancelled: { actions: 'forgetHeld' },
            'openFolder.opened': { target: 'serving', actions: 'noteOpen' },
            'openFolder.failed': { target: 'lost', actions: 'noteTrouble' },
            'openFolder.crashed': { target: 'lost', actions: 'noteTrouble' },
          },
        },
        serving: {
          entry: ['tellHeld', 'serveHeld'],
          on: {
            ...forAll([unasked, { actions: 'serve' }] as const),
            info: { actions: 'tellInfo' },
            'ninep-close': { actions: 'serve' },
            mark: { actions: 'serve' },
            ...Object.fromEntries(Object.values(tasks).map((task) => [`${task}.failed`, failed] as const)),
          },
        },
        lost: {
          entry: [{ type: 'closeFolder', params: ({ context }) => ({ gate: context.gate }) }, 'refuseHeld'],
          after: { reopen: 'opening' },
          on: { ...forAll(refused), info: refused },
        },
      },
    },
    stopped: { entry: { type: 'closeFolder', params: ({ context }) => ({ gate: context.gate }) } },
  },
})

function requestOf(event: Events): number {
  if ('from' in event) return event.from.request ?? noRequest
  return 'request' in event ? event.request : noRequest
}

function errorOf(event: Events): Fault {
  return 'error' in event ? event.error : fault('internal', 'The request broke off inside the gate.')
}

/** One transition for every kind of request but `info`. */
function forAll<T>(transition: T): Record<keyof typeof tasks, T> {
  return Object.fromEntries(Object.keys(tasks).map((kind) => [kind, transition] as const)) as Record<keyof typeof tasks, T>
}

// The effect's name and the body's type belong together, which a union cannot say.
function taskOf(context: Context, { type, body, from }: Exclude<Request, { type: 'info' }>): { type: 'readFile'; params: Params<'read'> } {
  const params = { request: from.request ?? noRequest, gate: context.gate, grant: from.badge.limits, body, from: from.badge.from }
  return { type: tasks[type], params } as unknown as ReturnType<typeof taskOf>
}

function lost({ trouble }: Context, request: number): Outgoing {
  const error = trouble ?? fault('not-found', 'The folder is not there.')
  return { type: 'refuse', request, error: { ...error, retryAfterMs: limits.reopenMs } }
}

function startParams(params: Record<string, unknown>): { root: string; name: string; mode: Mode; changes: string | null } {
  const { changes } = params
  const store = typeof changes === 'string' && changes !== '' ? changes : null
  return { root: String(params['root']), name: String(params['name']), mode: params['mode'] === 'rw' ? 'rw' : 'ro', changes: store }
}
