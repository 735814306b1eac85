/** Runs commands in sessions and tells the host how they go. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chown, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { initialCredit, maxCommand, type GuestMessage, type HostMessage, type SignalName, type TerminalSize } from '../wire.ts'
import { commandCgroup, inCgroup, killCgroup, processesOf, ranOutOfMemory, removeIfEmpty, signalCgroup } from './cgroups.ts'
import { environment } from './environment.ts'
import { close } from './fifos.ts'
import { Input } from './input.ts'
import { keptPath } from './kept-files.ts'
import { maxArgument, maxCommands, maxSessionCommands, termGraceMs } from './limits.ts'
import type { Carried, OutputPump } from './output-pump.ts'
import { encodeFilter, filterFor } from './seccomp.ts'
import { inSession, type Session, type Sessions } from './sessions.ts'
import { commandsDir, outputsDir } from './slots.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { TerminalOutput } from './terminal-output.ts'

type Exec = Extract<HostMessage, { t: 'exec' }>
type Running = {
  session: string
  /** Null: the pump carries it. */
  output: TerminalOutput | null
  /** Null: it has none, and reads an end at once. */
  input: Input | null
  terminal: Terminal | null
  cgroup: string
  child: ChildProcess
  timedOut: boolean
  timer: NodeJS.Timeout | undefined
}
/** In the root image's writable layer, where every session can read it and none can write. */
const filterFile = '/usr/local/lib/bulkhead/seccomp.bpf'

/** Call once before the first command. */
export async function prepareFilter(): Promise<void> {
  await mkdir('/usr/local/lib/bulkhead', { recursive: true })
  await writeFile(filterFile, encodeFilter(filterFor(process.arch === 'arm64' ? 'aarch64' : 'x86_64')), { mode: 0o644 })
}

type Send = (message: GuestMessage, payload?: Uint8Array) => void

/**
 * `$1` where to start, `$2` what to run, `$3` where to start if that is gone ('' for: then not at all). Descriptor 3 tells the
 * agent where the command ended; it moves out of the way of scripts that use 3 themselves.
 */
const wrapper = `
exec {BULKHEAD_FD}>&3 3>&-
if ! cd -- "$1" 2>/dev/null; then
  if [ -z "$3" ] || ! cd -- "$3"; then echo '!' >&$BULKHEAD_FD; exit 126; fi
fi
trap 'builtin pwd -P >&$BULKHEAD_FD' EXIT
BULKHEAD_COMMAND=$2
set --
unset OLDPWD
eval "$BULKHEAD_COMMAND"
`

export class Commands {
  readonly #sessions: Sessions
  readonly #send: Send
  readonly #pump: OutputPump
  /** null while one is being started. */
  readonly #running = new Map<number, Running | null>()
  /** What came for a command before it was running. */
  readonly #early = new Map<number, (() => void)[]>()

  constructor(sessions: Sessions, pump: OutputPump, send: Send) {
    this.#sessions = sessions
    this.#pump = pump
    this.#send = send
  }

  /** `command`: UTF-8. Answers by messages, the last of which is also what it resolves with; never rejects. */
  async exec(request: Exec, command: Uint8Array): Promise<GuestMessage> {
    const { id } = request
    const answer = (message: GuestMessage): GuestMessage => {
      this.#send(message)
      return message
    }
    const failed = (code: Extract<GuestMessage, { t: 'failed' }>['code'], message: string): GuestMessage => {
      this.#running.delete(id)
      this.#early.delete(id)
      return answer({ t: 'failed', re: 'exec', id, session: request.session, code, message })
    }
    if (this.#running.has(id)) return answer({ t: 'failed', re: 'exec', id, code: 'bad-message', message: 'the id is in use' })
    if (command.length > maxCommand) return failed('bad-message', `the command is longer than ${maxCommand} bytes`)
    const others = [...this.#running.values()].filter((one) => one?.session === request.session)
    if (this.#running.size >= maxCommands || others.length >= maxSessionCommands) return failed('busy', 'too many commands at a time')
    this.#running.set(id, null)
    try {
      const session = await this.#sessions.get(request.session)
      if (session === null) return failed('no-such-session', `there is no session ${request.session}`)
      const result = await this.#run(request, session, Buffer.from(command).toString('utf8'))
      return result === 'bad-cwd' ? failed('bad-cwd', `there is no folder ${request.cwd}`) : answer(result)
    } catch (error) {
      return failed('failed', error instanceof Error ? error.message : String(error))
    } finally {
      this.#running.delete(id)
      this.#early.delete(id)
    }
  }

  stdin(id: number, bytes: Uint8Array, end: boolean): void {
    this.#with(id, ({ input }) => {
      if (input !== null) input.write(bytes, end)
      else if (bytes.length > 0) this.#send({ t: 'took', id, bytes: bytes.length })
    })
  }

  resize(id: number, size: TerminalSize): void {
    // One that ended meanwhile has no size.
    this.#with(id, ({ terminal }) => void terminal?.resize(size).catch(() => {}))
  }

  signal(id: number, signal: SignalName): void {
    this.#with(id, ({ cgroup, child }) => {
      if (signal === 'SIGKILL') {
        // First itself: it may not be in its group yet, and would enter it after the group was killed.
        child.kill('SIGKILL')
        void killCgroup(cgroup)
      } else signalCgroup(cgroup, signal, child.pid ?? 0)
    })
  }

  credit(id: number, bytes: number): void {
    this.#with(id, ({ output }) => output?.give(bytes))
  }

  #with(id: number, act: (running: Running) => void): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    if (running !== null) return act(running)
    const early = this.#early.get(id) ?? []
    this.#early.set(id, early)
    early.push(() => this.#with(id, act))
  }

  async #run(request: Exec, session: Session, command: string): Promise<GuestMessage | 'bad-cwd'> {
    const { id } = request
    const start = performance.now()
    const cgroup = await commandCgroup(session.slot.cgroup, id)
    const script = command.length > maxArgument ? await writeScript(session, id, command) : null
    const home = homeFolder(session)
    const shell = [
      'bash',
      '-lc',
      wrapper,
      'bash',
      request.cwd ?? session.cwd ?? home,
      script === null ? command : `. ${script}`,
      request.cwd === undefined ? home : '',
    ]
    const ids = ['--reuid', String(session.uid), '--regid', String(session.uid), '--clear-groups']
    const rights = ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all', '--seccomp-filter', filterFile]
    const inside = ['setpriv', ...ids, ...rights, ...(request.tty === undefined ? [] : ['setsid', '--ctty']), ...shell]
    const [file, args] = inCgroup(cgroup, inSession(session, inside))
    const { child, ...ends } = await this.#start(request, session, (stdio) =>
      spawn(file, args, { stdio, cwd: '/', env: environment(session, request), detached: true }),
    )
    const running: Running = { session: session.name, ...ends, cgroup, child, timedOut: false, timer: undefined }
    const told = lastLine(child)
    const exited = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    if (child.pid !== undefined) this.#send({ t: 'started', id, pid: child.pid })
    if (request.timeoutMs > 0) running.timer = this.#startTimer(running, request.timeoutMs)
    this.#running.set(id, running)
    for (const act of this.#early.get(id) ?? []) act()

    try {
      const { code, signal } = await exited
      // The shell may have ended at SIGTERM while something it started has not: nothing outlives its time.
      if (running.timedOut) await killCgroup(cgroup)
      const line = await told()
      const carried = await this.#rest(id, running)
      if (line === '!') return 'bad-cwd'
      clearTimeout(running.timer)
      if (line.startsWith('/')) session.cwd = line.slice(0, 4096)
      await session.slot.kept.add(keptPath(session.slot.dir, id), carried.kept)
      const oom = await ranOutOfMemory(cgroup)
      const durationMs = Math.round(performance.now() - start)
      return {
        t: 'exit',
        id,
        code,
        signal: code === null ? signal : null,
        timedOut: running.timedOut,
        oom,
        durationMs,
        cwd: session.cwd ?? home,
        piped: carried.sent,
      }
    } finally {
      clearTimeout(running.timer)
      running.output?.discard()
      running.terminal?.close()
      this.#pump.drop(id)
      if (script !== null) await rm(join(session.slot.dir, 'commands', String(id)), { force: true })
      this.#tidy(cgroup)
    }
  }

  /** Starts it on pipes, or on a terminal of its own. */
  async #start(
    { id, tty, stdin, keep }: Exec,
    session: Session,
    launch: (stdio: ('pipe' | 'ignore' | number)[]) => ChildProcess,
  ): Promise<{ child: ChildProcess } & Pick<Running, 'output' | 'input' | 'terminal'>> {
    const took = (bytes: number): void => this.#send({ t: 'took', id, bytes })
    if (tty !== undefined) {
      const terminal = await openTerminal(session, tty)
      const { master, slave } = terminal
      try {
        const child = launch([slave, slave, slave, 'pipe'])
        const output = new TerminalOutput(initialCredit, master, (bytes) => this.#send({ t: 'out', id, stream: 'stdout' }, bytes))
        // What ends a terminal's input is a character.
        return { child, output, input: new Input(master, took, () => master.write('\u0004')), terminal }
      } catch (error) {
        terminal.close()
        throw error
      } finally {
        close(slave)
      }
    }
    const file = keep === true ? keptPath(session.slot.dir, id) : null
    const kept = (): void => this.#send({ t: 'kept', id, path: join(outputsDir, String(id)) })
    const child = await this.#pump.open(id, session.uid, initialCredit, file, kept, (out, err) =>
      launch([stdin === true ? 'pipe' : 'ignore', out, err, 'pipe']),
    )
    const pipe = child.stdin
    return { child, output: null, input: pipe === null ? null : new Input(pipe, took, () => pipe.end()), terminal: null }
  }

  /** Resolves when the last of its output is on its way, or others live on and nothing has come from them for a moment. */
  async #rest(id: number, { output, cgroup }: Running): Promise<Carried> {
    const leftBehind = (): boolean => processesOf(cgroup).length > 0
    if (output === null) return this.#pump.finish(id, leftBehind)
    await output.finish(leftBehind)
    return { sent: 0, kept: 0 }
  }

  /** SIGTERM to all of the command, a moment later SIGKILL to what is left. */
  #startTimer(running: Running, timeoutMs: number): NodeJS.Timeout {
    return setTimeout(
      () => {
        running.timedOut = true
        signalCgroup(running.cgroup, 'SIGTERM', running.child.pid ?? 0)
        running.timer = setTimeout(() => void killCgroup(running.cgroup), termGraceMs)
      },
      Math.min(timeoutMs, 2 ** 31 - 1),
    )
  }

  /** Removes the command's group, or leaves it to the processes the command left running, and looks again now and then. */
  #tidy(cgroup: string): void {
    if (removeIfEmpty(cgroup) || processesOf(cgroup).length === 0) return
    setTimeout(() => this.#tidy(cgroup), 5_000).unref()
  }
}

/** Commands start in the session's only folder if there is just one. */
function homeFolder(session: Session): string {
  const [only, ...more] = session.folders.keys()
  return only !== undefined && more.length === 0 ? join(session.home, 'mnt', only) : session.home
}

/** Where the session cannot put anything of its own in the way. Returns the path inside. */
async function writeScript({ slot, uid }: Session, id: number, command: string): Promise<string> {
  const path = join(slot.dir, 'commands', String(id))
  await writeFile(path, command, { flag: 'wx', mode: 0o400 })
  await chown(path, uid, uid)
  return join(commandsDir, String(id))
}

/** What the shell last wrote on descriptor 3, once it is gone. Background processes may keep it open, so its end is not waited for. */
function lastLine(child: ChildProcess): () => Promise<string> {
  let text = ''
  const stream = child.stdio[3]
  if (stream && 'on' in stream) {
    const readable = stream as NodeJS.ReadableStream
    readable.on('data', (chunk) => (text = (text + String(chunk)).slice(-8192)))
    readable.on('error', () => {})
  }
  return async () => {
    // It was written before the exit; one round of the event loop reads it.
    for (let tries = 0; tries < 5 && !text.endsWith('\n'); tries++) await new Promise((resolve) => setTimeout(resolve, tries))
    return text.trimEnd().split('\n').at(-1) ?? ''
  }
}
