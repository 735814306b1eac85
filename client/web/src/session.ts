/**
 * The page's state: the session on screen, and what the member does to it. Stores are named `$x`; components read them,
 * and everything that happens goes through the functions here.
 */
import { atom, computed } from 'nanostores'
import { call, stayConnected } from './connection.ts'
import { $draft } from './interface.ts'
import { createTranscript, type Transcript } from './transcript.ts'
import type {
  Approve,
  Asked,
  Fault,
  FolderView,
  Grant,
  ListedSession,
  Opened,
  Question,
  Resolution,
  SessionEvent,
  ToolServer,
  Vm,
} from './types.ts'

export const $session = atom<string | null>(null)
export const $title = atom<string | null>(null)
export const $transcript = atom<Transcript>(createTranscript())
export const $running = atom(false)
/** What waits for a turn to end, each for that of its session. Null: of the one that is being made. */
const $waiting = atom<readonly { id: number; session: string | null; text: string }[]>([])
/** Those of the session on screen. */
export const $queue = computed([$waiting, $session], (waiting, on) => waiting.filter(({ session }) => session === on))
export const $questions = atom<readonly Asked[]>([])
export const $grants = atom<readonly Grant[]>([])
export const $servers = atom<readonly ToolServer[]>([])
export const $folders = atom<readonly FolderView[]>([])
/** Paths connected for writing lately, the last first. */
export const $recent = atom<readonly string[]>([])
export const $approve = atom<Approve>('ask')
export const $model = atom<{ name: string; practice: boolean } | null>(null)
export const $vm = atom<Vm | null>(null)
export const $sessions = atom<readonly ListedSession[]>([])
/** Said once, politely, to screen readers and shown for a moment. */
export const $said = atom<{ id: number; text: string } | null>(null)
/** Details shown with a question, by tool call: the diff stays readable afterwards. */
export const $details = atom<Readonly<Record<string, string>>>({})

let count = 0
let lastSeq = 0
/** Events that arrive before the replay they follow. */
let early: SessionEvent[] | null = null
let opening: Promise<unknown> = Promise.resolve()
/** A prompt on its way. `session`: the one it was written in, null for one to be made; `isLeft`: something else is on screen since then. */
type Started = { text: string; session: string | null; approve: Approve; isGivenUp: boolean; isLeft: boolean; behind: readonly string[] }
/** That of the session on screen. */
let starting: Started | null = null
/** Settles when the page is connected for the first time and shows the session of its address: what is asked for before waits for it. */
let begins: () => void = () => {}
const begun = new Promise<void>((resolve) => (begins = resolve))

export const say = (text: string): void => $said.set({ id: ++count, text })
const fail = (error: unknown): void => {
  const { message, remedy } = error as Fault
  say(`${message} ${remedy ?? ''}`)
}

export function start(): Promise<void> {
  const wanted = new URLSearchParams(location.hash.slice(1)).get('s')
  return stayConnected({
    notified,
    asked: { 'session/request_permission': question },
    stands: () => begin($session.get() ?? wanted),
    brokeOff: () => $questions.set([]),
  })
}

async function begin(session: string | null): Promise<void> {
  void call('vm/watch').catch(() => {})
  void call<{ name: string; practice: boolean } | { mode: string }>('model')
    .then((model) => 'mode' in model && $model.set({ name: '', practice: model.mode === 'practice' }))
    .catch(() => {})
  void refreshServers()
  void refreshRecent()
  await refreshSessions()
  if (session !== null) await enter(() => ({ session })).catch(fail)
  begins()
}

function notified(method: string, params: unknown): void {
  if (method === '_bulkhead/vm') $vm.set((params as { status: Vm }).status)
  else if (method === '_bulkhead/event') {
    const event = params as SessionEvent
    if (early) early.push(event)
    else if (event.session === $session.get()) happened(event)
    else {
      if (event.type === 'result') sendNext(event.session)
      refreshSoon()
    }
  } else if (method === '_bulkhead/permission_resolved') {
    const { id, by, option } = params as Resolution
    $questions.set($questions.get().filter((asked) => asked.id !== id))
    if (by) say(`${option === 'deny' ? 'Denied' : 'Allowed'} by ${by}.`)
  }
}

function happened(event: SessionEvent): void {
  if (!event.passing && event.seq <= lastSeq) return
  lastSeq = Math.max(lastSeq, event.seq)
  $transcript.get().apply(event)
  follow(event)
}

/** What an event means beside the conversation. */
function follow(event: SessionEvent): void {
  switch (event.type) {
    case 'session':
      if (event.model) $model.set(event.model)
      if (event.folders) $folders.set(event.folders)
      if (event.folders || event.hosts) void refreshGrants()
      return
    case 'prompt':
      $running.set(true)
      $title.set($title.get() ?? event.text.slice(0, 80))
      refreshSoon()
      return
    case 'permission':
      refreshSoon()
      void refreshGrants()
      return
    case 'grants':
      void refreshGrants()
      return
    case 'tool_call':
      // A new session is on record by now.
      if (!$sessions.get().some(({ session }) => session === event.session)) refreshSoon()
      return
    case 'result':
      $running.set(false)
      say(endings[event.status])
      refreshSoon()
      sendNext(event.session)
      return
    default:
  }
}

const endings = {
  done: 'Finished.',
  refused: 'Ended: something it needed was not allowed.',
  failed: 'Ended with an error.',
  cancelled: 'Interrupted.',
} as const

/** One question; resolves when it is answered here, or settled elsewhere. */
function question(params: unknown, signal: AbortSignal): Promise<unknown> {
  const {
    sessionId,
    toolCall,
    _meta: meta,
  } = params as {
    sessionId: string
    toolCall: { toolCallId: string }
    _meta: { bulkhead: Question }
  }
  const { bulkhead } = meta
  $details.set({ ...$details.get(), [toolCall.toolCallId]: bulkhead.detail })
  return new Promise((resolve) => {
    const settle = (outcome: object): void => {
      $questions.set($questions.get().filter(({ id }) => id !== bulkhead.id))
      resolve({ outcome })
    }
    const asked: Asked = {
      ...bulkhead,
      session: sessionId,
      toolCall: toolCall.toolCallId,
      answer: (optionId) => {
        $said.set(null)
        settle({ outcome: 'selected', optionId })
      },
    }
    signal.addEventListener('abort', () => settle({ outcome: 'cancelled' }))
    $questions.set([...$questions.get(), asked])
    say('Needs you: a permission is asked for.')
  })
}

/** Opens a session and shows what happened in it. */
export function openSession(session: string): Promise<string> {
  leave()
  return enter(() => ({ session }))
}

/** What is on its way goes on without being shown, and what waits behind it. */
function leave(): void {
  if (!starting) return
  starting.behind = $waiting.get().flatMap(({ session, text }) => (session === null ? [text] : []))
  $waiting.set($waiting.get().filter(({ session }) => session !== null))
  starting.isLeft = true
  starting = null
}

/** Gives the session on screen something, or makes one that has it. */
const onScreen = (more: object): Promise<string> =>
  enter(() => {
    const session = $session.get()
    return session === null ? { approve: $approve.get(), ...more } : { session, ...more }
  })

/** One after the other: `asked` is looked at when what was asked for before is on screen. */
function enter(asked: () => object): Promise<string> {
  const work = opening.then(async () => {
    early = []
    try {
      const opened = await call<Opened>('open', asked())
      await show(opened)
      return opened.session
    } finally {
      early = null
    }
  })
  opening = work.catch(() => {})
  return work
}

async function show(opened: Opened): Promise<void> {
  await refreshSessions()
  const known = $sessions.get().find(({ session }) => session === opened.session)
  const { events, seq, complete } = await call<{ events: SessionEvent[]; seq: number; complete: boolean }>('replay', {
    session: opened.session,
  })
  const transcript = createTranscript()
  if (!complete) transcript.note('Earlier messages are not kept here any more.')
  for (const event of events) transcript.apply(event)
  transcript.flush()
  const prompts = events.flatMap((event) => (event.type === 'prompt' ? [event.text] : []))
  const last = events.findLast(({ type }) => type === 'prompt' || type === 'result')
  const running = last?.type === 'prompt' && (known?.running ?? false)
  lastSeq = seq
  $session.set(opened.session)
  $title.set(known?.title ?? prompts[0]?.slice(0, 80) ?? null)
  $transcript.set(transcript)
  $running.set(running || starting !== null)
  if (starting) $waiting.set($waiting.get().map((item) => (item.session === null ? { ...item, session: opened.session } : item)))
  $folders.set(opened.folders)
  $approve.set(opened.approve as Approve)
  history.replaceState(null, '', `#s=${opened.session}`)
  for (const event of early ?? []) if (event.session === opened.session) happened(event)
  early = null
  // Its turn ended while nobody here was told.
  if (!$running.get()) sendNext(opened.session)
  await refreshGrants()
}

/** Leaves the session on screen for a new task; it goes on. */
export function newTask(): void {
  leave()
  $session.set(null)
  $title.set(null)
  $transcript.set(createTranscript())
  $running.set(false)
  $folders.set([])
  $grants.set([])
  $approve.set('ask')
  lastSeq = 0
  history.replaceState(null, '', location.pathname)
}

/** Sends a prompt now, or, while a turn runs, after it. */
export function prompt(text: string): void {
  if ($running.get()) return $waiting.set([...$waiting.get(), { id: ++count, session: $session.get(), text }])
  // A live region that goes from `Finished.` to `Finished.` says nothing the second time.
  $said.set(null)
  send(text)
}

function send(text: string): void {
  $running.set(true)
  const started: Started = { text, session: $session.get(), approve: $approve.get(), isGivenUp: false, isLeft: false, behind: [] }
  starting = started
  void sent(started).catch((error: unknown) => {
    if (started.isGivenUp) return
    // Sent, it may have been heard: only what was not can be sent again.
    if (starting === started) {
      giveBack(text)
      starting = null
    }
    if (!started.isLeft) $running.set(false)
    fail(error)
  })
}

async function sent(started: Started): Promise<void> {
  await begun
  await opening
  if (started.isGivenUp) return
  const session = started.session ?? (started.isLeft ? await aside(started) : ($session.get() ?? (await onScreen({}))))
  if (started.isGivenUp) return
  if (starting === started) starting = null
  await call('prompt', { session, text: started.text, stays: true })
}

/** A session that is not shown. */
async function aside({ approve, behind }: Started): Promise<string> {
  const { session } = await call<Opened>('open', { approve })
  $waiting.set([...$waiting.get(), ...behind.map((text) => ({ id: ++count, session, text }))])
  return session
}

/** What was not sent can be sent again. */
const giveBack = (text: string): void => void ($draft.get() === '' && $draft.set(text))

/** What waits for that session's turn to end; null: for that of the one that is being made. */
function sendNext(session: string | null): void {
  const next = $waiting.get().find((item) => item.session === session)
  if (!next) return
  unqueue(next.id)
  // What ended just now is still being said.
  if (session === $session.get()) send(next.text)
  else void call('prompt', { session, text: next.text, stays: true }).catch(fail)
}

export const unqueue = (id: number): void => $waiting.set($waiting.get().filter((item) => item.id !== id))

export function interrupt(): void {
  const session = $session.get()
  if (starting) {
    starting.isGivenUp = true
    giveBack(starting.text)
    starting = null
    $running.set(false)
    say('Interrupted.')
    sendNext(session)
  } else if (session !== null && $running.get()) void call('cancel', { session }).catch(fail)
}

/** Nothing happens when `signal` is aborted before the page is connected. */
export async function connectFolder(path: string, mode: 'ro' | 'rw', signal: AbortSignal): Promise<void> {
  await begun
  if (signal.aborted) return
  await onScreen({ folders: [{ path, mode }] })
  say(`Connected ${path}.`)
  void refreshRecent()
}

/** The same. */
export async function allowHost(host: string, signal: AbortSignal): Promise<void> {
  await begun
  if (signal.aborted) return
  await onScreen({ hosts: [host] })
  say(`Allowed ${host}.`)
}

export async function revoke(grant: Grant): Promise<void> {
  const session = $session.get()
  if (session === null) return
  try {
    await call('revoke', { session, grant: grant.id })
    say(`Taken back: ${grant.scope}. It is in effect now.`)
    await refreshGrants()
  } catch (error) {
    fail(error)
  }
}

export async function setApprove(approve: Approve): Promise<void> {
  await begun
  await opening
  const session = $session.get()
  try {
    if (session !== null) await call('approve-mode', { session, approve })
    $approve.set(approve)
  } catch (error) {
    fail(error)
  }
}

export const restartWorkspace = (): void => void call('vm/restart').catch(fail)

async function refreshGrants(): Promise<void> {
  const session = $session.get()
  if (session === null) return
  const { grants } = await call<{ grants: Grant[] }>('grants', { session }).catch(() => ({ grants: [] }))
  if ($session.get() === session) $grants.set(grants)
}

async function refreshServers(): Promise<void> {
  const { servers } = await call<{ servers: ToolServer[] }>('mcp/servers').catch(() => ({ servers: [] }))
  $servers.set(servers)
}

async function refreshRecent(): Promise<void> {
  const { folders } = await call<{ folders: { root: string }[] }>('folders/recent').catch(() => ({ folders: [] }))
  $recent.set(folders.map(({ root }) => root))
}

async function refreshSessions(): Promise<void> {
  const { sessions } = await call<{ sessions: ListedSession[] }>('sessions').catch(() => ({ sessions: $sessions.get() }))
  $sessions.set(sessions)
}

let refreshing: ReturnType<typeof setTimeout> | null = null
function refreshSoon(): void {
  refreshing ??= setTimeout(() => {
    refreshing = null
    void refreshSessions()
    void refreshServers()
  }, 300)
}
