/**
 * What sessions changed in a folder, listed or taken back for the member:
 *
 *   which folders have a store? -> per folder: its gate, or one started for this -> ask it -> end the one started -> next -> reply
 *
 * A folder whose session is gone is served for as long as the request takes, if policy still lets it be connected for writing.
 */
import { type Fault, fault, type Outgoing } from '../../kernel/index.ts'
import { folderLimit, outsideAllowed, switchedOff } from './policy-rules.ts'
import { andThen, type Context, type History, type HistoryBody, type KnownFolder, refuse, type Step, stay, tell, without } from './state.ts'

export const historyRef = (ref: string): boolean => ref.startsWith('history:')

export function history(context: Context, request: number, kind: History['kind'], body: HistoryBody): Step {
  if (context.policy === null) return stay({ ...context, early: [...context.early, { kind, request, body }] })
  const off = switchedOff(context.policy)
  if (off) return stay(context, refuse(request, off))
  const ref = `history:${context.next}`
  const started: History = { ref, request, kind, body, at: null, queue: [], answers: [], refusals: [] }
  return stay(
    { ...context, next: context.next + 1, histories: { ...context.histories, [ref]: started } },
    { type: 'effect', name: 'recall', ref },
  )
}

/** The folders that have a store, newest first. */
export function recalled(context: Context, ref: string, folders: readonly KnownFolder[]): Step {
  const asked = context.histories[ref]
  if (!asked) return stay(context)
  if (asked.kind === 'recent') {
    const answer = { folders: folders.map(({ root, name, at }) => ({ root, name, at })) }
    return stay(dropped(context, ref), { type: 'reply', request: asked.request, body: answer })
  }
  const queue = chosen(context, asked.body, folders)
  const several = asked.kind === 'redo' || typeof asked.body.to === 'number'
  if (queue.length === 0 || (several && queue.length > 1)) {
    const cause = folders.length === 0 ? 'no folder has changed yet' : `folders: ${folders.map(({ root }) => root).join(', ')}`
    const error = fault('nothing-to-undo', queue.length === 0 ? 'No such folder has changes.' : 'Several folders have changes.', {
      cause,
      remedy: 'Name the folder with --folder.',
    })
    return stay(dropped(context, ref), refuse(asked.request, error))
  }
  return next(context, { ...asked, queue })
}

/** By the path given; by the key a change's id begins with; else all. Those of open sessions first. */
function chosen(context: Context, { folder, what, to, session }: HistoryBody, folders: readonly KnownFolder[]): KnownFolder[] {
  const id = what ?? (typeof to === 'string' ? to : undefined)
  const key = id === undefined ? undefined : /^([0-9a-f]+)-\d+$/.exec(id)?.[1]
  const open = session === undefined ? null : context.sessions[session]?.folders.map(({ path }) => path)
  return folders.filter(
    (known) =>
      (folder === undefined || known.root === folder) &&
      (key === undefined || known.key.startsWith(key)) &&
      (!open || open.includes(known.root)),
  )
}

function next(context: Context, asked: History): Step {
  const [folder, ...queue] = asked.queue
  if (!folder) return finish(context, asked)
  const live = Object.values(context.sessions)
    .flatMap(({ folders }) => folders)
    .find(({ path, mode, actor }) => path === folder.root && mode === 'rw' && actor)
  if (live?.actor) return ask(context, { ...asked, queue, at: { root: folder.root, name: folder.name, slot: live.actor.slot, own: null } })
  const { policy } = context
  const limit = policy ? folderLimit(policy, folder.root) : null
  if (!policy || limit !== 'rw') {
    const error = policy ? outsideAllowed(policy, folder.root, limit === 'rw' ? null : limit) : fault('not-now', 'Policy is not known yet.')
    return next(context, { ...asked, queue, refusals: [...asked.refusals, { root: folder.root, error }] })
  }
  const at = { root: folder.root, name: folder.name, slot: null, own: '' }
  const params = { root: folder.root, name: folder.name, mode: 'rw', changes: context.changes }
  return stay(
    { ...context, next: context.next + 1, histories: { ...context.histories, [asked.ref]: { ...asked, queue, at } } },
    {
      type: 'send',
      to: 'kernel',
      kind: 'spawn',
      ref: asked.ref,
      body: { kind: 'fs-gate', instance: `undo.${context.next}`, params, session: null, grants: [] },
    },
  )
}

function ask(context: Context, asked: History): Step {
  const { kind, body, at, ref } = asked
  const { folder: _, ...rest } = body
  const message: Outgoing = { type: 'send', to: at?.slot ?? '', kind, body: rest, ref, deadlineMs: null }
  return stay({ ...context, histories: { ...context.histories, [ref]: asked } }, message)
}

export function historyReplied(context: Context, ref: string, kind: string, body: unknown, caps: readonly number[]): Step {
  const asked = context.histories[ref]
  const [slot] = caps
  const id = typeof body === 'object' && body !== null && 'id' in body ? String(body.id) : ''
  // Nobody waits any more: what was started for it ends.
  if (!asked?.at) return kind === 'spawn' ? tell(context, 'kernel', 'stop', { id }) : stay(context)
  if (kind === 'spawn') {
    if (slot === undefined) return historyRefused(context, ref, fault('internal', 'The reply to "spawn" is not as agreed.'))
    return ask(context, { ...asked, at: { ...asked.at, slot, own: id } })
  }
  const { root, name } = asked.at
  const answer = { root, name, ...(body as Record<string, unknown>) }
  return after(context, { ...asked, answers: [...asked.answers, answer] })
}

export function historyRefused(context: Context, ref: string, error: Fault): Step {
  const asked = context.histories[ref]
  if (!asked?.at) return stay(context)
  return after(context, { ...asked, refusals: [...asked.refusals, { root: asked.at.root, error }] })
}

function after(context: Context, asked: History): Step {
  const own = asked.at?.own
  const ended = own ? tell(context, 'kernel', 'stop', { id: own }) : stay(context)
  return andThen(ended, (now) => next(now, { ...asked, at: null }))
}

/** A folder without the turn asked for refuses; that matters only when no other had it. */
function finish(context: Context, { ref, request, answers, refusals }: History): Step {
  const done = dropped(context, ref)
  const [first] = refusals
  if (answers.length === 0 && first) {
    const telling = refusals.find(({ error }) => error.code !== 'nothing-to-undo') ?? first
    return stay(done, refuse(request, telling.error))
  }
  const failed = refusals.filter(({ error }) => error.code !== 'nothing-to-undo')
  return stay(done, { type: 'reply', request, body: { folders: answers, failed } })
}

/** The member gave up: the gate is told, and one started for this ends. */
export function historyWithdrawn(context: Context, request: number): Step {
  const asked = Object.values(context.histories).find((item) => item.request === request)
  if (!asked) return stay(context)
  const cancelled = stay(dropped(context, asked.ref), { type: 'cancel', ref: asked.ref })
  const own = asked.at?.own
  return own ? andThen(cancelled, (now) => tell(now, 'kernel', 'stop', { id: own })) : cancelled
}

const dropped = (context: Context, ref: string): Context => ({ ...context, histories: without(context.histories, ref) })
