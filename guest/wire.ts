/**
 * The language of the link between the host's supervisor and the guest's agent: messages in frames (`frames.ts`) on four virtio-serial ports.
 *
 *   control port: sessions, commands, terminals       files port: 9P2000.L messages, one a frame
 *   output port: what commands write                  connections port: what programs connect to (agent/net-wire.ts)
 *
 * Used on both sides, so it depends on nothing else. Each side believes nothing of the other: sizes are checked before anything is
 * kept, headers are rebuilt field by field from what the JSON said, unknown ones are dropped by the parsers (null).
 */
import { type GuestEvent, parseGuestEvent } from './events.ts'

export const protocolVersion = 6

export const controlPort = 'bulkhead.control'
export const filesPort = 'bulkhead.files'
export const outputPort = 'bulkhead.output'
export const connectionsPort = 'bulkhead.connections'

/** Bytes of output a command may send before the first `credit` message, both streams together. */
export const initialCredit = 2 * 1024 * 1024
/** Credit is given back in pieces of this size at least, of which the first has several, so that nobody waits for it: what it costs should not count. */
export const creditPiece = 512 * 1024
/** Longest command, in UTF-8 bytes. */
export const maxCommand = 512 * 1024
/** Bytes of input under way to a command: what its process does not take waits, and so does the sender. */
export const inputWindow = 256 * 1024
/** Largest piece of input in one frame. */
export const inputPiece = 64 * 1024
/** Environment variables one command may be given, and the characters of all of them together. */
const maxVariables = 256
const maxVariableChars = 32 * 1024
/** 9P message size the guest's kernel asks for: payload limit of the files port with room to spare. */
export const ninepMessageSize = 256 * 1024
/** A 9P message of this tag gets no answer: whoever sent it has given one already. No client has so many messages under way that it would use it. */
export const silentTag = 0xfffe
/**
 * How long a change on either side of a connected folder may take to be seen on the other, ms, by who opens or looks at the file after it. Nothing is
 * kept beyond that; the bound is for the way there on a busy emulated machine.
 */
export const folderStalenessMs = 1_000
/** User ids of sessions, both included. */
export const firstUid = 20_000
export const lastUid = 59_999

/** `generation`: which grant of the folder this is; a mount of another one is stale and made anew. */
export type FolderMount = { name: string; mode: 'ro' | 'rw'; generation: number }
export type Stream = 'stdout' | 'stderr'
/** Of a terminal, in characters. */
export type TerminalSize = { cols: number; rows: number }
export type SignalName = 'SIGHUP' | 'SIGINT' | 'SIGQUIT' | 'SIGTERM' | 'SIGKILL' | 'SIGUSR1' | 'SIGUSR2' | 'SIGSTOP' | 'SIGCONT'

/** Control port, host to guest. */
export type HostMessage =
  /** Starts afresh: sessions of an earlier epoch are ended; answered by `ready`. May be resent. */
  | { t: 'hello'; epoch: string }
  /**
   * What a machine needs that may be a copy of another's memory: the time (epoch ms), and fresh randomness (`seed`, 64 bytes in hex), from
   * which it also makes a new machine id. Answered by `awake`. Without a seed only the clock is set.
   */
  | { t: 'wake'; ms: number; seed?: string }
  /** Makes what sessions will need and runs a command once, before the memory is saved; answered by `warmed`. */
  | { t: 'warm' }
  /** Makes the session, or sets its folders to exactly these; answered by `sessioned` or `failed`. */
  | { t: 'session'; session: string; uid: number; folders: FolderMount[] }
  /** The payload is a certificate (PEM) that programs of the session are to trust beside the system's, in place of the one before. */
  | { t: 'trust'; session: string }
  /** Ends everything of the session; answered by `unsessioned`. */
  | { t: 'unsession'; session: string }
  /**
   * Runs the payload (UTF-8) with `bash`: `started`, `out`…, `exit`; `failed` may come instead of any of them and ends it.
   * `timeoutMs` 0: no limit. `id` must not be in use. Without `cwd` (absolute): where the
   * session's last command ended, at first its only folder or else its home. `stdin`: keep it open for `stdin` messages. `tty`: run it on a
   * terminal of this size, which is also its input; all it writes is `stdout` then. `env`: variables it gets besides the session's own.
   * `keep`: what it writes beyond the first part also goes into a file (`kept`) that the session can read. `umask`: what its new files lack of
   * rights, 022 without.
   */
  | {
      t: 'exec'
      id: number
      session: string
      cwd?: string
      timeoutMs: number
      stdin?: boolean
      tty?: TerminalSize
      env?: Record<string, string>
      keep?: boolean
      umask?: number
      trace?: string
    }
  /** Payload goes to the command's input, at most `inputWindow` bytes ahead of what was `took`; `end` closes it. */
  | { t: 'stdin'; id: number; end?: boolean }
  /** The command's terminal has another size. */
  | { t: 'resize'; id: number; cols: number; rows: number }
  /** SIGKILL ends the command's whole process tree; others go to its process group. */
  | { t: 'signal'; id: number; signal: SignalName }
  /** Allows `bytes` more of a terminal's output; of other commands', on the output port. */
  | { t: 'credit'; id: number; bytes: number }
  /** `ms`: the time, by which the guest sets its clock right. */
  | { t: 'ping'; n: number; ms: number }
  /** Ends all sessions and powers the machine off. */
  | { t: 'shutdown' }

/** Output port, host to guest: credit of a command, both streams together; and a question whether the port works. */
export type OutputOrder = { t: 'credit'; id: number; bytes: number } | { t: 'echo'; id: number }
/** Output port, guest to host: what a command wrote, as `out` of the control port; the answer. */
export type OutputMessage = { t: 'out'; id: number; stream: Stream } | { t: 'echo'; id: number }

/** Control port, guest to host. */
export type GuestMessage =
  /**
   * The answer to `hello`, with its epoch. With epoch `none` and unasked: the agent has just started (or lost its place in the
   * stream), knows of no session and waits for a `hello`. `bootMs`: guest uptime when the agent was ready. `stages`: when each
   * boot stage ended, ms of uptime, in order.
   */
  | { t: 'ready'; protocol: number; epoch: string; agent: string; kernel: string; bootMs: number; stages: Record<string, number> }
  | { t: 'sessioned'; session: string }
  | { t: 'unsessioned'; session: string }
  | { t: 'failed'; re: 'session' | 'exec'; session?: string; id?: number; code: FailureCode; message: string }
  /** `pid` as the guest's agent sees it. */
  | { t: 'started'; id: number; pid: number }
  /** Payload: bytes the command wrote, in order per stream; may split a UTF-8 character. */
  | { t: 'out'; id: number; stream: Stream }
  /** That much of its input was taken. */
  | { t: 'took'; id: number; bytes: number }
  /** From its beginning on, all the command writes is in this file, as its session sees it. */
  | { t: 'kept'; id: number; path: string }
  /**
   * After the last `out` of this port; `piped` bytes of output came, or are still to come, over the output port. `code` null when a signal
   * ended it. `oom`: the kernel killed something of it for memory. `cwd`: where it ended.
   */
  | {
      t: 'exit'
      id: number
      code: number | null
      signal: string | null
      timedOut: boolean
      oom: boolean
      durationMs: number
      cwd: string
      piped: number
    }
  /** `busy`: processes of sessions run, commands under way or not. */
  | { t: 'pong'; n: number; busy: boolean }
  | { t: 'awake' }
  /** `problem`: what could not be made ready, or ''. */
  | { t: 'warmed'; problem: string }
  /** Something happened in the session; `missed`: so many before it were not told, because too many came. */
  | { t: 'event'; session: string; event: GuestEvent; missed: number }
  /** For the host's log only. */
  | { t: 'log'; level: 'info' | 'warn' | 'error'; message: string }

export type FailureCode = 'no-such-session' | 'bad-message' | 'mount-failed' | 'bad-cwd' | 'busy' | 'failed'

/**
 * Files port, both ways. `c` names one mount's connection (`channelName`); payload of `msg`: one 9P message, size field included. An `echo`
 * comes back with its payload: the host's proof that the port works.
 */
export type FilesMessage = { c: string; op: 'msg' | 'close' | 'echo' }

/** `<session>/<folder>#<n>`: the n-th connection of that folder's mount. */
export function channelName(session: string, folder: string, n: number): string {
  return `${session}/${folder}#${n}`
}

/** The parts of a channel name, or null if it is none. */
export function parseChannelName(c: string): { session: string; folder: string; n: number } | null {
  const slash = c.indexOf('/')
  const hash = c.lastIndexOf('#')
  if (slash < 1 || hash < slash) return null
  const session = c.slice(0, slash)
  const folder = c.slice(slash + 1, hash)
  const digits = c.slice(hash + 1)
  if (!isSessionName(session) || !isFolderName(folder) || !/^[0-9]{1,9}$/.test(digits)) return null
  return { session, folder, n: Number(digits) }
}

const utf8 = new TextEncoder()

/** Session names are path components, user names and cgroup names in the guest. */
function isSessionName(value: unknown): value is string {
  return typeof value === 'string' && /^[a-z0-9][a-z0-9_-]{0,63}$/i.test(value)
}

/** One path component: not hidden in `.`/`..`, no separators, no control characters, at most 255 bytes. */
export function isFolderName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    value !== '.' &&
    value !== '..' &&
    value.isWellFormed() &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
    !/[/\\\u0000-\u001f\u007f]/.test(value) &&
    utf8.encode(value).length <= 255
  )
}

/** The header as a message the guest acts on, or null. */
export function parseHostMessage(header: unknown): HostMessage | null {
  const o = asRecord(header)
  if (o === null) return null
  switch (o.t) {
    case 'hello':
      return isToken(o.epoch) ? { t: 'hello', epoch: o.epoch } : null
    case 'wake':
      if (!isCount(o.ms) || (o.seed !== undefined && !isSeed(o.seed))) return null
      return o.seed === undefined ? { t: 'wake', ms: o.ms } : { t: 'wake', ms: o.ms, seed: o.seed }
    case 'warm':
      return { t: 'warm' }
    case 'session': {
      const folders = parseFolders(o.folders)
      if (!isSessionName(o.session) || !isCount(o.uid) || o.uid < firstUid || o.uid > lastUid || folders === null) return null
      return { t: 'session', session: o.session, uid: o.uid, folders }
    }
    case 'trust':
      return isSessionName(o.session) ? { t: 'trust', session: o.session } : null
    case 'unsession':
      return isSessionName(o.session) ? { t: 'unsession', session: o.session } : null
    case 'exec': {
      if (!isCount(o.id) || !isSessionName(o.session) || !isCount(o.timeoutMs)) return null
      if (o.cwd !== undefined && !isAbsolutePath(o.cwd)) return null
      if (o.stdin !== undefined && typeof o.stdin !== 'boolean') return null
      if (o.trace !== undefined && !(typeof o.trace === 'string' && /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(o.trace))) return null
      if (o.keep !== undefined && typeof o.keep !== 'boolean') return null
      if (o.umask !== undefined && !(isCount(o.umask) && o.umask <= 0o777)) return null
      const tty = o.tty === undefined ? undefined : parseSize(o.tty)
      const env = o.env === undefined ? undefined : parseVariables(o.env)
      if (tty === null || env === null) return null
      return {
        t: 'exec',
        id: o.id,
        session: o.session,
        timeoutMs: o.timeoutMs,
        ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
        ...(o.stdin === undefined ? {} : { stdin: o.stdin }),
        ...(tty === undefined ? {} : { tty }),
        ...(env === undefined ? {} : { env }),
        ...(o.keep === undefined ? {} : { keep: o.keep }),
        ...(o.umask === undefined ? {} : { umask: o.umask }),
        ...(o.trace === undefined ? {} : { trace: o.trace }),
      }
    }
    case 'resize': {
      const size = parseSize(o)
      return isCount(o.id) && size !== null ? { t: 'resize', id: o.id, ...size } : null
    }
    case 'stdin':
      if (!isCount(o.id) || (o.end !== undefined && typeof o.end !== 'boolean')) return null
      return o.end === undefined ? { t: 'stdin', id: o.id } : { t: 'stdin', id: o.id, end: o.end }
    case 'signal':
      return isCount(o.id) && isSignal(o.signal) ? { t: 'signal', id: o.id, signal: o.signal } : null
    case 'credit':
      return isCount(o.id) && isCount(o.bytes) ? { t: 'credit', id: o.id, bytes: o.bytes } : null
    case 'ping':
      return isCount(o.n) && isCount(o.ms) ? { t: 'ping', n: o.n, ms: o.ms } : null
    case 'shutdown':
      return { t: 'shutdown' }
    default:
      return null
  }
}

/** The header as a message the host acts on, or null. Texts are cut to what a log line or an error may hold. */
export function parseGuestMessage(header: unknown): GuestMessage | null {
  const o = asRecord(header)
  if (o === null) return null
  switch (o.t) {
    case 'ready': {
      const stages = parseStages(o.stages)
      if (!isCount(o.protocol) || !isToken(o.epoch) || !isText(o.agent) || !isText(o.kernel) || !isCount(o.bootMs) || stages === null)
        return null
      return { t: 'ready', protocol: o.protocol, epoch: o.epoch, agent: cut(o.agent), kernel: cut(o.kernel), bootMs: o.bootMs, stages }
    }
    case 'sessioned':
    case 'unsessioned':
      return isSessionName(o.session) ? { t: o.t, session: o.session } : null
    case 'failed': {
      if ((o.re !== 'session' && o.re !== 'exec') || !isFailureCode(o.code) || !isText(o.message)) return null
      if (o.session !== undefined && !isSessionName(o.session)) return null
      if (o.id !== undefined && !isCount(o.id)) return null
      return {
        t: 'failed',
        re: o.re,
        code: o.code,
        message: cut(o.message),
        ...(o.session === undefined ? {} : { session: o.session }),
        ...(o.id === undefined ? {} : { id: o.id }),
      }
    }
    case 'started':
      return isCount(o.id) && isCount(o.pid) ? { t: 'started', id: o.id, pid: o.pid } : null
    case 'out':
      return isCount(o.id) && (o.stream === 'stdout' || o.stream === 'stderr') ? { t: 'out', id: o.id, stream: o.stream } : null
    case 'took':
      return isCount(o.id) && isCount(o.bytes) ? { t: 'took', id: o.id, bytes: o.bytes } : null
    case 'kept':
      return isCount(o.id) && isAbsolutePath(o.path) ? { t: 'kept', id: o.id, path: o.path } : null
    case 'exit': {
      const { id, code, signal, timedOut, oom, durationMs, cwd, piped } = o
      if (!isCount(id) || !isCount(durationMs) || !isCount(piped)) return null
      if (typeof timedOut !== 'boolean' || typeof oom !== 'boolean' || !isAbsolutePath(cwd)) return null
      if (code !== null && !(isCount(code) && code <= 255)) return null
      if (signal !== null && !isText(signal)) return null
      return { t: 'exit', id, code, signal: signal === null ? null : signal.slice(0, 16), timedOut, oom, durationMs, cwd, piped }
    }
    case 'pong':
      return isCount(o.n) && typeof o.busy === 'boolean' ? { t: 'pong', n: o.n, busy: o.busy } : null
    case 'awake':
      return { t: 'awake' }
    case 'warmed':
      return isText(o.problem) ? { t: 'warmed', problem: cut(o.problem) } : null
    case 'event': {
      const event = parseGuestEvent(o.event)
      return isSessionName(o.session) && isCount(o.missed) && event !== null
        ? { t: 'event', session: o.session, event, missed: o.missed }
        : null
    }
    case 'log':
      if ((o.level !== 'info' && o.level !== 'warn' && o.level !== 'error') || !isText(o.message)) return null
      return { t: 'log', level: o.level, message: cut(o.message) }
    default:
      return null
  }
}

/** The header as a message of the output port, or null. */
export function parseOutputMessage(header: unknown): OutputMessage | null {
  const o = asRecord(header)
  if (o === null || !isCount(o.id)) return null
  if (o.t === 'echo') return { t: 'echo', id: o.id }
  return o.t === 'out' && (o.stream === 'stdout' || o.stream === 'stderr') ? { t: 'out', id: o.id, stream: o.stream } : null
}

/** The header as a files message, or null. */
export function parseFilesMessage(header: unknown): FilesMessage | null {
  const o = asRecord(header)
  if (o === null || typeof o.c !== 'string' || parseChannelName(o.c) === null) return null
  return o.op === 'msg' || o.op === 'close' || o.op === 'echo' ? { c: o.c, op: o.op } : null
}

function asRecord(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(value)
}

function isSeed(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{128}$/.test(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isAbsolutePath(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('/') && value.length <= 4096 && !value.includes('\0')
}

function cut(text: string): string {
  return text.slice(0, 4096)
}

const signals: readonly string[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGKILL',
  'SIGUSR1',
  'SIGUSR2',
  'SIGSTOP',
  'SIGCONT',
] satisfies SignalName[]
function isSignal(value: unknown): value is SignalName {
  return typeof value === 'string' && signals.includes(value)
}

const failureCodes: readonly string[] = [
  'no-such-session',
  'bad-message',
  'mount-failed',
  'bad-cwd',
  'busy',
  'failed',
] satisfies FailureCode[]
function isFailureCode(value: unknown): value is FailureCode {
  return typeof value === 'string' && failureCodes.includes(value)
}

/** The size as a terminal takes it (16 bits each, none empty), or null. */
function parseSize(value: unknown): TerminalSize | null {
  const o = asRecord(value)
  if (o === null || !isCount(o.cols) || !isCount(o.rows)) return null
  if (o.cols < 1 || o.rows < 1 || o.cols > 0xffff || o.rows > 0xffff) return null
  return { cols: o.cols, rows: o.rows }
}

/**
 * The variables, or null if one cannot be set: names as shells have them, no NUL in a value. `LD_…` and the shell's start files are left to
 * the session's own programs to set: they would run before the command does.
 */
export function parseVariables(value: unknown): Record<string, string> | null {
  const o = asRecord(value)
  if (o === null) return null
  const entries = Object.entries(o)
  let chars = 0
  const known: [string, string][] = []
  for (const [name, text] of entries) {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(name) || /^(LD_|BASH_ENV$|ENV$|BULKHEAD_)/.test(name)) return null
    if (typeof text !== 'string' || text.includes('\0') || !text.isWellFormed()) return null
    chars += name.length + text.length
    known.push([name, text])
  }
  return known.length > maxVariables || chars > maxVariableChars ? null : Object.fromEntries(known)
}

function parseFolders(value: unknown): FolderMount[] | null {
  if (!Array.isArray(value) || value.length > 64) return null
  const folders: FolderMount[] = []
  for (const item of value) {
    const o = asRecord(item)
    if (o === null || !isFolderName(o.name) || (o.mode !== 'ro' && o.mode !== 'rw')) return null
    const { generation } = o
    if (typeof generation !== 'number' || !Number.isSafeInteger(generation) || generation < 0) return null
    if (folders.some((folder) => folder.name === o.name)) return null
    folders.push({ name: o.name, mode: o.mode, generation })
  }
  return folders
}

function parseStages(value: unknown): Record<string, number> | null {
  const o = asRecord(value)
  if (o === null) return null
  const entries = Object.entries(o).filter((entry): entry is [string, number] => isToken(entry[0]) && isCount(entry[1]))
  return Object.fromEntries(entries.slice(0, 32))
}
