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
import { type Fault, type From, fault, type Inbound, type KernelEvent, type Limits, noRequest, type Outgoing } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { protocol } from './protocol.ts'

type Request = Inbound<typeof protocol>
type Mode = 'ro' | 'rw'

export type Context = {
  /** As given; once open, the real path. */
  root: string
  name: string
  mode: Mode
  /** Which open folder the effects shall use. */
  gate: number
  /** Requests that came while the folder was being opened, oldest first. */
  held: readonly Request[]
  /** Why the folder is not served, in state `lost`. */
  trouble: Fault | null
}

type Task =
  | 'readFile'
  | 'listFolder'
  | 'statPath'
  | 'globFiles'
  | 'grepFiles'
  | 'previewChange'
  | 'writeFile'
  | 'editFile'
  | 'serveNinep'
  | 'closeNinep'
type Outcome =
  | { type: 'openFolder.opened'; gate: number; root: string }
  | { type: 'openFolder.failed' | 'openFolder.crashed'; error: Fault }
  | { type: 'closeFolder.closed' | 'closeFolder.crashed' }
  | { type: `${Task}.done`; request: number; reply: unknown }
  | { type: `${Task}.failed`; request: number; error: Fault; gone?: boolean }
  | { type: `${Task}.crashed`; request: number; error: Fault }
type Events = Request | KernelEvent | Outcome
type Input = { params: Record<string, unknown>; slots: readonly string[] }

/** What every file effect gets: the folder, what the capability allows, and the body. */
export type TaskParams<Body> = { request: number; gate: number; grant: Limits; body: Body }
type Params<K extends Request['type']> = TaskParams<Extract<Request, { type: K }>['body']>

const fsGate = setup({
  types: {} as { context: Context; events: Events; emitted: Outgoing; input: Input },
  delays: { reopen: limits.reopenMs },
  guards: {
    /** A message nobody waits for has no answer to give. */
    unasked: ({ event }) => 'from' in event && event.from.request === null,
    unheard: ({ event }) => 'request' in event && event.request === noRequest,
    roomToHold: ({ context }) => context.held.length < limits.held,
    folderGone: ({ event }) => 'gone' in event && (event.gone ?? false),
  },
  actions: {
    // Effects: the runtime runs them by name.
    openFolder: (_, _params: { root: string; name: string; mode: Mode }) => {},
    closeFolder: (_, _params: { gate: number }) => {},
    readFile: (_, _params: Params<'read'>) => {},
    listFolder: (_, _params: Params<'list'>) => {},
    statPath: (_, _params: Params<'stat'>) => {},
    globFiles: (_, _params: Params<'glob'>) => {},
    grepFiles: (_, _params: Params<'grep'>) => {},
    previewChange: (_, _params: Params<'preview'>) => {},
    writeFile: (_, _params: Params<'write'>) => {},
    editFile: (_, _params: Params<'edit'>) => {},
    serveNinep: (_, _params: Params<'ninep'> & { from: string }) => {},
    closeNinep: (_, _params: Params<'ninep-close'> & { from: string }) => {},

    hold: assign(({ context, event }) => ('from' in event ? { held: [...context.held, event] } : {})),
    release: enqueueActions(({ context, enqueue }) => {
      for (const request of context.held) enqueue.raise(request)
      enqueue.assign({ held: [] })
    }),
    forgetHeld: assign(({ context, event }) =>
      event.type === 'cancelled' ? { held: context.held.filter(({ from }) => from.request !== event.request) } : {},
    ),
    noteOpen: assign(({ event }) => (event.type === 'openFolder.opened' ? { gate: event.gate, root: event.root, trouble: null } : {})),
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
    refuseLost: emit(({ context, event }): Outgoing => {
      const trouble = context.trouble ?? fault('not-found', 'The folder is not there.')
      return { type: 'refuse', request: requestOf(event), error: { ...trouble, retryAfterMs: limits.reopenMs } }
    }),
  },
})

const unasked = { guard: 'unasked' } as const
const held = { guard: 'roomToHold', actions: 'hold' } as const
const answered = [{ guard: 'unheard' }, { actions: 'answer' }] as const
const failed = [{ guard: 'folderGone', target: '#fs-gate.up.lost', actions: ['noteTrouble', 'answer'] }, { actions: 'answer' }] as const
const refused = [unasked, { actions: 'refuseLost' }] as const

export const machine = fsGate.createMachine({
  id: 'fs-gate',
  context: ({ input }) => ({ ...startParams(input.params), gate: -1, held: [], trouble: null }),
  initial: 'up',
  on: {
    'readFile.done': answered,
    'readFile.failed': answered,
    'readFile.crashed': answered,
    'listFolder.done': answered,
    'listFolder.failed': answered,
    'listFolder.crashed': answered,
    'statPath.done': answered,
    'statPath.failed': answered,
    'statPath.crashed': answered,
    'globFiles.done': answered,
    'globFiles.failed': answered,
    'globFiles.crashed': answered,
    'grepFiles.done': answered,
    'grepFiles.failed': answered,
    'grepFiles.crashed': answered,
    'previewChange.done': answered,
    'previewChange.failed': answered,
    'previewChange.crashed': answered,
    'writeFile.done': answered,
    'writeFile.failed': answered,
    'writeFile.crashed': answered,
    'editFile.done': answered,
    'editFile.failed': answered,
    'editFile.crashed': answered,
    'serveNinep.done': answered,
    'serveNinep.failed': answered,
    'serveNinep.crashed': answered,
    'closeNinep.done': answered,
    'closeNinep.failed': answered,
    'closeNinep.crashed': answered,
  },
  states: {
    up: {
      initial: 'opening',
      on: { stopping: 'stopped' },
      states: {
        opening: {
          entry: { type: 'openFolder', params: ({ context }) => ({ root: context.root, name: context.name, mode: context.mode }) },
          on: {
            info: held,
            read: held,
            list: held,
            stat: held,
            glob: held,
            grep: held,
            preview: held,
            write: held,
            edit: held,
            ninep: held,
            'ninep-close': held,
            cancelled: { actions: 'forgetHeld' },
            'openFolder.opened': { target: 'serving', actions: 'noteOpen' },
            'openFolder.failed': { target: 'lost', actions: 'noteTrouble' },
            'openFolder.crashed': { target: 'lost', actions: 'noteTrouble' },
          },
        },
        serving: {
          entry: 'release',
          on: {
            info: [unasked, { actions: 'tellInfo' }],
            read: [unasked, { actions: { type: 'readFile', params: ({ context, event }) => task(context, event.from, event.body) } }],
            list: [unasked, { actions: { type: 'listFolder', params: ({ context, event }) => task(context, event.from, event.body) } }],
            stat: [unasked, { actions: { type: 'statPath', params: ({ context, event }) => task(context, event.from, event.body) } }],
            glob: [unasked, { actions: { type: 'globFiles', params: ({ context, event }) => task(context, event.from, event.body) } }],
            grep: [unasked, { actions: { type: 'grepFiles', params: ({ context, event }) => task(context, event.from, event.body) } }],
            preview: [
              unasked,
              { actions: { type: 'previewChange', params: ({ context, event }) => task(context, event.from, event.body) } },
            ],
            write: [unasked, { actions: { type: 'writeFile', params: ({ context, event }) => task(context, event.from, event.body) } }],
            edit: [unasked, { actions: { type: 'editFile', params: ({ context, event }) => task(context, event.from, event.body) } }],
            ninep: [
              unasked,
              {
                actions: {
                  type: 'serveNinep',
                  params: ({ context, event }) => ({ ...task(context, event.from, event.body), from: event.from.badge.from }),
                },
              },
            ],
            // Also without an answer: a supervisor that is stopping need not wait.
            'ninep-close': {
              actions: {
                type: 'closeNinep',
                params: ({ context, event }) => ({ ...task(context, event.from, event.body), from: event.from.badge.from }),
              },
            },
            'readFile.failed': failed,
            'listFolder.failed': failed,
            'statPath.failed': failed,
            'globFiles.failed': failed,
            'grepFiles.failed': failed,
            'previewChange.failed': failed,
            'writeFile.failed': failed,
            'editFile.failed': failed,
          },
        },
        lost: {
          entry: [{ type: 'closeFolder', params: ({ context }) => ({ gate: context.gate }) }, 'release'],
          after: { reopen: 'opening' },
          on: {
            info: refused,
            read: refused,
            list: refused,
            stat: refused,
            glob: refused,
            grep: refused,
            preview: refused,
            write: refused,
            edit: refused,
            ninep: refused,
            'ninep-close': refused,
          },
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

function task<Body>(context: Context, from: From, body: Body): TaskParams<Body> {
  return { request: from.request ?? noRequest, gate: context.gate, grant: from.badge.limits, body }
}

function startParams(params: Record<string, unknown>): { root: string; name: string; mode: Mode } {
  return { root: String(params['root']), name: String(params['name']), mode: params['mode'] === 'rw' ? 'rw' : 'ro' }
}
