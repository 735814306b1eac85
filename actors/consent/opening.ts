/**
 * Opening a session, step by step:
 *
 *   mint name and time -> known to the journal? | still alive?
 *     -> per new folder: spawn its fs-gate, ask its real root, derive the folder's grant
 *     -> derive the egress capability -> spawn the conversation (or tell it about new folders)
 *     -> attach the workspace, reply with the conversation
 *
 * One task runs at a time. A refusal takes back what this opening made: the whole session if it is new, the added folders otherwise.
 */
import { fault } from '../../kernel/index.ts'
import type { Delegation, Fault, Outgoing } from '../../kernel/index.ts'
import { attachNetwork, conversationEgress, egressLimits, ownHosts, permitted } from './egress-capability.ts'
import { maxFolders, maxHosts, maxSessions, maxTries } from './limits.ts'
import { folderKey, folderName } from './names.ts'
import type { Policy } from '../policy/protocol.ts'
import { folderLimit, outsideAllowed, restrictions, switchedOff } from './policy-rules.ts'
import { dropFolder, endSession } from './sessions.ts'
import {
  changeFolder,
  type Context,
  type Folder,
  type OpenBody,
  type Opening,
  refuse,
  type Session,
  type Step,
  stay,
  type Task,
  tell,
  andThen,
  type Want,
  withSession,
  without,
} from './state.ts'

/** Kinds of a folder that change nothing; a conversation holds these from the start. */
const readKinds = ['info', 'read', 'list', 'stat', 'glob', 'grep', 'preview', 'mark', 'others'] as const

export function open(context: Context, request: number, from: string, body: OpenBody): Step {
  if (context.policy === null) return stay({ ...context, early: [...context.early, { kind: 'open', request, body, from }] })
  const off = switchedOff(context.policy)
  if (off) return stay(context, refuse(request, off))
  const busy = body.session !== undefined && Object.values(context.openings).some(({ session }) => session === body.session)
  if (busy) return stay({ ...context, waiting: [...context.waiting, { request, body, from }] })
  const ref = `open:${context.next}`
  const opening: Opening = {
    ref,
    request,
    body,
    from,
    session: body.session ?? null,
    resumed: false,
    fresh: false,
    tries: 0,
    tasks: [{ do: 'mint' }],
    added: [],
    abandoned: false,
    answer: 'session',
  }
  return run({ ...context, next: context.next + 1, openings: { ...context.openings, [ref]: opening } }, ref)
}

/** Gives the session's conversation an egress capability for the hosts the session has now, and answers `request` with nothing more. */
export function renewEgress(context: Context, request: number, session: Session): Step {
  const ref = `open:${context.next}`
  const tasks: Task[] = [{ do: 'derive-egress' }, ...(session.conversation ? [{ do: 'endow-egress' } as const] : [])]
  const body: OpenBody = { session: session.id, folders: [], hosts: [] }
  const opening: Opening = {
    ref,
    request,
    body,
    from: '',
    session: session.id,
    resumed: true,
    fresh: false,
    tries: 0,
    tasks,
    added: [],
    abandoned: false,
    answer: 'plain',
  }
  return run({ ...context, next: context.next + 1, openings: { ...context.openings, [ref]: opening } }, ref)
}

/** Starts the task at the head, or finishes when none is left. */
function run(context: Context, ref: string): Step {
  const opening = context.openings[ref]
  if (!opening) return stay(context)
  const [task] = opening.tasks
  if (!task) return finish(context, opening)
  if (task.do === 'mint') return stay(context, { type: 'effect', name: 'mint', ref })
  const session = context.sessions[opening.session ?? '']
  if (task.do === 'look-up') return stay(context, { type: 'send', to: 'journal', kind: 'sessions', body: {}, ref })
  if (!session) return fail(context, opening, fault('no-such-session', 'The session was closed while it was being opened.'))
  return stay(context, message(task, session, ref, opening, context))
}

function message(
  task: Exclude<Task, { do: 'mint' | 'look-up' }>,
  session: Session,
  ref: string,
  opening: Opening,
  { policy, changes }: Context,
): Outgoing {
  const send = (to: string | number, kind: string, body: unknown, caps: Delegation[] = []): Outgoing => ({
    type: 'send',
    to,
    kind,
    body,
    ref,
    ...(caps.length > 0 ? { caps } : {}),
  })
  const folder = 'folder' in task ? session.folders.find(({ name }) => name === task.folder) : undefined
  switch (task.do) {
    case 'probe':
      return send(session.conversation?.slot ?? 'conversation', 'history', {})
    case 'spawn-folder': {
      const params = { root: folder?.path, name: task.folder, mode: folder?.mode, ...(changes === null ? {} : { changes }) }
      return send('kernel', 'spawn', {
        kind: 'fs-gate',
        instance: `${session.id}.${folderKey(task.folder)}`,
        params,
        session: session.id,
        grants: [],
      })
    }
    case 'inform-folder':
      return send(folder?.actor?.slot ?? task.folder, 'info', {})
    case 'derive-folder':
      return send('kernel', 'derive', {}, [
        {
          slot: folder?.actor?.slot ?? task.folder,
          limits: { session: session.id, ...(folder ? { mode: folder.mode } : {}) },
          reason: `folder ${task.folder}/ connected ${folder?.mode === 'rw' ? 'for reading and writing' : 'read-only'}`,
        },
      ])
    case 'derive-egress': {
      const limits = egressLimits(session, policy)
      const own = ownHosts(session, policy)
      const reason = `model API, hosts of the egress rules${own.length === 0 ? '' : `, and ${own.join(', ')}`}`
      return send('kernel', 'derive', {}, [{ slot: 'egress', limits, reason }])
    }
    case 'endow-egress':
      return send('kernel', 'endow', { id: session.conversation?.id ?? '', name: 'egress' }, [conversationEgress(session)])
    case 'stop-conversation':
      return send('kernel', 'stop', { id: session.conversation?.id ?? '' })
    case 'spawn-conversation':
      return spawnConversation(session, ref, policy)
    case 'tell-folders': {
      const folders = connected(session)
      const added = folders.filter(({ name }) => opening.added.includes(name))
      return send(
        session.conversation?.slot ?? 'conversation',
        'folders',
        { folders: folders.map(view) },
        added.map(readable(session.id, policy)),
      )
    }
    default:
      return task satisfies never
  }
}

function spawnConversation(session: Session, ref: string, policy: Policy | null): Outgoing {
  const { id, model } = session
  const hosts = ownHosts(session, policy)
  const restricted = policy ? restrictions(policy) : {}
  const folders = connected(session)
  const given: { name: string; reason: string; cap: Delegation }[] = [
    {
      name: 'egress',
      reason: 'asks the model; fetches from the hosts the member allowed',
      cap: conversationEgress(session),
    },
    { name: 'consent', reason: 'asks before it changes anything', cap: { slot: 'self', limits: { kinds: ['ask'], session: id } } },
    {
      name: 'mcp',
      reason: 'knows the tools of tool servers; may call none',
      cap: { slot: 'mcp', limits: { kinds: ['tools'], session: id } },
    },
    {
      name: 'workspace',
      reason: 'reads what its commands in the background write, and ends them',
      cap: { slot: 'workspace', limits: { kinds: ['jobs', 'job-news', 'job-output', 'job-stop'], session: id } },
    },
    { name: 'reader', reason: 'has single pages of a PDF file read', cap: { slot: 'reader', limits: { kinds: ['pdf'], session: id } } },
    { name: 'journal', reason: 'keeps its history', cap: { slot: 'journal', limits: { kinds: ['append', 'read'], session: id } } },
    { name: 'telemetry', reason: 'reports and records what it does', cap: { slot: 'telemetry', limits: { session: id } } },
    ...folders.map((folder) => ({ name: `folder:${folder.name}`, reason: `reads ${folder.name}/`, cap: readable(id, policy)(folder) })),
  ]
  return {
    type: 'send',
    to: 'kernel',
    kind: 'spawn',
    ref,
    body: {
      kind: 'conversation',
      instance: id,
      params: {
        session: id,
        folders: folders.map(view),
        hosts,
        ...restricted,
        now: session.openedAt,
        ...(model === null ? {} : { model }),
      },
      session: id,
      grants: given.map(({ name, reason }) => ({ name, reason })),
    },
    caps: given.map(({ cap }) => cap),
  }
}

export const connected = (session: Session): Folder[] => session.folders.filter(({ held, root }) => held !== null && root !== '')
export const view = ({ name, root, mode }: Folder): { name: string; root: string; mode: 'ro' | 'rw' } => ({ name, root, mode })
export const readable =
  (session: string, policy: Policy | null) =>
  ({ held, name, mode }: Folder): Delegation => ({
    slot: held?.slot ?? name,
    limits: { kinds: permitted(policy, readKinds), mode, session },
  })

/** The name and time arrived: now the rest of the way is known, but for what the journal or a dead conversation say. */
export function minted(context: Context, ref: string, name: string, at: number): Step {
  const asked = context.openings[ref]
  if (!asked) return stay(context)
  const opening: Opening = { ...asked, body: { ...asked.body, folders: asked.body.folders.map((want) => capped(context.policy, want)) } }
  const id = opening.session ?? name
  const known = context.sessions[id]
  if (!known && Object.keys(context.sessions).length >= maxSessions)
    return fail(context, opening, fault('overloaded', `${maxSessions} sessions are open.`, { remedy: 'Close one first.' }))
  const base: Session = known ?? {
    id,
    folders: [],
    hosts: [],
    approve: 'ask',
    model: null,
    openedAt: at,
    conversation: null,
    egress: null,
    outgrown: [],
    grants: [],
  }
  const added = newFolders(base, opening, at)
  const replaced = base.folders.filter((folder) =>
    opening.body.folders.some(({ path, mode }) => folder.path === path && folder.mode !== mode),
  )
  const hosts = [...new Set([...base.hosts, ...opening.body.hosts])]
  if (base.folders.length + added.length - replaced.length > maxFolders || hosts.length > maxHosts)
    return fail(
      context,
      opening,
      fault('overloaded', 'Too many folders or hosts for one session.', { rule: `at most ${maxFolders} folders, ${maxHosts} hosts` }),
    )
  const model = opening.body.model ?? base.model
  const approve = opening.body.approve ?? base.approve
  const wider = base.egress === null || hosts.length !== base.hosts.length
  const renew = base.conversation !== null && (model !== base.model || replaced.length > 0)
  // `renew` is settled before the probe, so a conversation that has to end is not asked whether it lives.
  const tasks: Task[] = [
    ...(known || opening.body.session === undefined ? [] : [{ do: 'look-up' } as const]),
    ...(base.conversation && !renew ? [{ do: 'probe' } as const] : []),
    ...added.flatMap((folder): Task[] => folderTasks(folder.name)),
    ...(wider ? [{ do: 'derive-egress' } as const] : []),
    ...(wider && base.conversation && !renew ? [{ do: 'endow-egress' } as const] : []),
    // As late as can be: a folder that cannot be connected must not cost the member the conversation.
    ...(renew ? [{ do: 'stop-conversation' } as const] : []),
    ...conversationTasks(base.conversation !== null && !renew, added.length > 0),
  ]
  const opened: Opening = {
    ...opening,
    session: id,
    fresh: !known,
    resumed: known !== undefined,
    tasks,
    added: added.map((folder) => folder.name),
  }
  const started: Context = { ...context, sessions: { ...context.sessions, [id]: base }, openings: { ...context.openings, [ref]: opened } }
  const dropped = replaced.reduce((step, folder) => andThen(step, (now) => dropFolder(now, id, folder.name)), stay(started))
  return andThen(dropped, (now) =>
    run(
      withSession(now, id, (session) => ({ ...session, hosts, model, approve, folders: [...session.folders, ...added] })),
      ref,
    ),
  )
}

/** Read-only where policy says so. The real path decides once it is known; this spares the member a refusal. */
function capped(policy: Policy | null, want: Want): Want {
  return policy && folderLimit(policy, want.path) === 'ro' ? { ...want, mode: 'ro' } : want
}

const folderTasks = (folder: string): Task[] => [
  { do: 'spawn-folder', folder },
  { do: 'inform-folder', folder },
  { do: 'derive-folder', folder },
]
const conversationTasks = (alive: boolean, added: boolean): Task[] => {
  if (!alive) return [{ do: 'spawn-conversation' }]
  return added ? [{ do: 'tell-folders' }] : []
}

/** Folders the session does not have in that mode yet; one that only changes its mode keeps its name. */
function newFolders(session: Session, { body, from }: Opening, at: number): Folder[] {
  const added: Folder[] = []
  for (const { path, mode } of body.folders) {
    const same = session.folders.find((folder) => folder.path === path)
    if (same?.mode === mode || added.some((folder) => folder.path === path)) continue
    const taken = [...session.folders, ...added].map(({ name }) => name)
    added.push({ name: same?.name ?? folderName(path, taken), path, mode, root: '', actor: null, held: null, by: from, at })
  }
  return added
}

/** The running task's reply. Replies are the kernel's or another actor's: anything unexpected in them ends the opening. */
export function taskDone(context: Context, ref: string, body: unknown, caps: readonly number[]): Step {
  const opening = context.openings[ref]
  const [task, ...rest] = opening?.tasks ?? []
  if (!opening || !task) return stay(context)
  const id = opening.session ?? ''
  const reply = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const advance = (now: Context, more: Partial<Opening> = {}): Step => {
    const moved: Context = { ...now, openings: { ...now.openings, [ref]: { ...opening, ...more, tries: 0, tasks: rest } } }
    return opening.abandoned
      ? fail(moved, { ...opening, ...more }, fault('cancelled', 'The session was not wanted any more.'))
      : run(moved, ref)
  }
  const [slot] = caps
  const unexpected = (): Step => fail(context, opening, fault('internal', `The reply to "${task.do}" is not as agreed.`))
  switch (task.do) {
    case 'look-up': {
      const sessions = Array.isArray(reply['sessions']) ? reply['sessions'] : []
      return advance(context, {
        resumed: sessions.some((item: unknown) => typeof item === 'object' && item !== null && 'session' in item && item.session === id),
      })
    }
    case 'spawn-folder':
      if (slot === undefined) return unexpected()
      return advance(updateFolder(context, id, task.folder, (folder) => ({ ...folder, actor: { id: String(reply['id']), slot } })))
    case 'inform-folder': {
      const root = reply['root']
      if (typeof root !== 'string' || root === '') return unexpected()
      const limit = context.policy ? folderLimit(context.policy, root) : null
      const mode = context.sessions[id]?.folders.find(({ name }) => name === task.folder)?.mode
      if (context.policy && (limit === null || (limit === 'ro' && mode === 'rw')))
        return fail(context, opening, outsideAllowed(context.policy, root, limit))
      return advance(updateFolder(context, id, task.folder, (folder) => ({ ...folder, root })))
    }
    case 'derive-folder':
    case 'derive-egress': {
      const grant = reply['grant']
      if (slot === undefined || typeof grant !== 'number') return unexpected()
      const held = { grant, slot }
      if (task.do === 'derive-egress') {
        const derivedNow = withSession(context, id, (session) => ({
          ...session,
          egress: held,
          outgrown: session.egress ? [...session.outgrown, session.egress] : session.outgrown,
        }))
        const session = derivedNow.sessions[id]
        const given = session ? attachNetwork(derivedNow, session) : stay(derivedNow)
        return andThen(given, advance)
      }
      return advance(updateFolder(context, id, task.folder, (folder) => ({ ...folder, held })))
    }
    case 'stop-conversation':
      return advance(withSession(context, id, (session) => ({ ...session, conversation: null })))
    case 'spawn-conversation':
      if (slot === undefined) return unexpected()
      return advance(
        withSession(context, id, (session) => ({
          ...session,
          conversation: { id: String(reply['id']), slot, folders: connected(session).map(({ name }) => name) },
        })),
      )
    case 'mint':
    case 'probe':
    case 'endow-egress':
    case 'tell-folders':
      return advance(context)
    default:
      return task satisfies never
  }
}

const updateFolder = (context: Context, id: string, name: string, change: (folder: Folder) => Folder): Context =>
  withSession(context, id, (session) => changeFolder(session, name, change))

/** The running task was refused. A conversation that does not answer a probe is replaced; anything else ends the opening. */
export function taskRefused(context: Context, ref: string, error: Fault): Step {
  const opening = context.openings[ref]
  const [task, ...rest] = opening?.tasks ?? []
  if (!opening || !task) return stay(context)
  const id = opening.session ?? ''
  if (isPassing(task, error) && !opening.abandoned && opening.tries < maxTries) {
    const waiting: Context = { ...context, openings: { ...context.openings, [ref]: { ...opening, tries: opening.tries + 1 } } }
    return stay(waiting, { type: 'effect', name: 'pause', ref })
  }
  if (task.do === 'probe' && !opening.abandoned) {
    const others = rest.filter((later) => later.do !== 'tell-folders' && later.do !== 'endow-egress')
    const tasks: Task[] = [...others, { do: 'stop-conversation' }, { do: 'spawn-conversation' }]
    return run({ ...context, openings: { ...context.openings, [ref]: { ...opening, tasks } } }, ref)
  }
  if (task.do === 'stop-conversation' && !opening.abandoned) {
    const gone = withSession(context, id, (session) => ({ ...session, conversation: null }))
    return run({ ...gone, openings: { ...gone.openings, [ref]: { ...opening, tasks: rest } } }, ref)
  }
  return fail(context, opening, error)
}

/** A folder's actor that is still opening, or an earlier actor of the same name that is still ending: both are over in a moment. */
function isPassing(task: Task, error: Fault): boolean {
  if (task.do === 'inform-folder') return error.code === 'not-now'
  return (task.do === 'spawn-folder' || task.do === 'spawn-conversation') && error.code === 'already-exists'
}

/** The pause before the running task is tried once more is over. */
export function taskAgain(context: Context, ref: string): Step {
  const opening = context.openings[ref]
  if (!opening?.abandoned) return run(context, ref)
  return fail(context, opening, fault('cancelled', 'The session was not wanted any more.'))
}

/** The gateway's client left while its session opened: what runs is let end, then everything new is taken back. */
export function abandon(context: Context, request: number): Step {
  const waiting = context.waiting.filter((item) => item.request !== request)
  const early = context.early.filter((item) => item.request !== request)
  const opening = Object.values(context.openings).find((item) => item.request === request)
  if (!opening) return stay({ ...context, waiting, early })
  return stay({ ...context, waiting, early, openings: { ...context.openings, [opening.ref]: { ...opening, abandoned: true } } })
}

function finish(context: Context, opening: Opening): Step {
  const session = context.sessions[opening.session ?? '']
  const done: Context = { ...context, openings: without(context.openings, opening.ref) }
  if (opening.answer === 'plain') return next(stay(done, { type: 'reply', request: opening.request, body: {} }), opening.session ?? '')
  if (!session?.conversation) return fail(done, opening, fault('no-such-session', 'The session was closed while it was being opened.'))
  const attached = session.folders.filter(({ name, held }) => held && (opening.fresh || opening.added.includes(name)))
  const attach = opening.fresh || attached.length > 0 ? attachFolders(done, session, attached) : stay(done)
  return andThen(attach, (now) =>
    next(
      stay(now, {
        type: 'reply',
        request: opening.request,
        body: {
          session: session.id,
          folders: session.folders.map(view),
          hosts: ownHosts(session, context.policy),
          approve: session.approve,
          resumed: opening.resumed,
        },
        caps: [
          {
            slot: session.conversation?.slot ?? 'conversation',
            limits: { kinds: ['prompt', 'history'], session: session.id },
            reason: `session ${session.id}`,
          },
        ],
      }),
      session.id,
    ),
  )
}

/** The workspace may serve these folders to the session's programs. */
export function attachFolders(context: Context, { id }: Session, attached: readonly Folder[]): Step {
  const caps = attached.flatMap(({ held }) => (held ? [{ slot: held.slot, limits: { kinds: ['ninep', 'ninep-close'], session: id } }] : []))
  return tell(context, 'workspace', 'attach', { session: id, folders: attached.map(({ name, mode }) => ({ name, mode })) }, caps)
}

function fail(context: Context, opening: Opening, error: Fault): Step {
  const id = opening.session ?? ''
  const done: Context = { ...context, openings: without(context.openings, opening.ref) }
  const undone = opening.fresh
    ? endSession(done, id)
    : opening.added.reduce((step, name) => andThen(step, (now) => dropFolder(now, id, name)), stay(done))
  const answered = opening.abandoned ? undone : { ...undone, out: [...undone.out, refuse(opening.request, error)] }
  return next(answered, id)
}

/** An opening ended; the first one that waits for the same session begins. */
function next(step: Step, id: string): Step {
  return andThen(step, (context) => {
    const first = context.waiting.find(({ body }) => body.session === id)
    if (!first) return stay(context)
    return open({ ...context, waiting: context.waiting.filter((item) => item !== first) }, first.request, first.from, first.body)
  })
}
