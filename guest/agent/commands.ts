/** Runs commands in sessions and tells the host how they go. */
import { chown, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { initialCredit, maxCommand, type GuestMessage, type HostMessage, type SignalName, type TerminalSize } from '../wire.ts'
import { commandCgroup, killCgroup, processesOf, ranOutOfMemory, removeIfEmpty, signalCgroup, signalProcess } from './cgroups.ts'
import { environment } from './environment.ts'
import type { Events } from './events.ts'
import { type Fifos, openWriter } from './fifos.ts'
import { Input } from './input.ts'
import { keptPath } from './kept-files.ts'
import type { Launch, Launcher } from './launcher.ts'
import { maxArgument, maxCommands, maxSessionCommands, termGraceMs, usualUmask } from './limits.ts'
import type { Carried, OutputPump } from './output-pump.ts'
import { encodeFilter, filterFor, quietFilterFor } from './seccomp.ts'
import type { Session, Sessions } from './sessions.ts'
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
  /** 0 before it has begun. */
  pid: number
  timedOut: boolean
  timer: NodeJS.Timeout | undefined
}
/** What commands go through. */
export type CommandParts = { sessions: Sessions; launcher: Launcher; pump: OutputPump; fifos: Fifos; events: Events; send: Send }

/** Writes the filters commands run under; resolves with their paths. */
export async function prepareFilters(): Promise<{ filter: string; quiet: string }> {
  const paths = { filter: '/run/bulkhead/seccomp.bpf', quiet: '/run/bulkhead/quiet.bpf' }
  const architecture = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  await writeFile(paths.filter, encodeFilter(filterFor(architecture)), { mode: 0o600 })
  await writeFile(paths.quiet, encodeFilter(quietFilterFor(architecture)), { mode: 0o600 })
  return paths
}

type Send = (message: GuestMessage, payload?: Uint8Array) => void

/**
 * `$1` where to start, `$2` what to run, `$3` where to start if that is gone ('' for: then not at all), `$4` if that is not to be entered either.
 * Descriptor 3 tells the agent where the command ended; it moves out of the way of scripts that use 3 themselves.
 */
const wrapper = `
exec {BULKHEAD_FD}>&3 3>&-
if ! cd -- "$1" 2>/dev/null; then
  if [ -z "$3" ] || ! { cd -- "$3" 2>/dev/null || cd -- "$4"; }; then echo '!' >&$BULKHEAD_FD; exit 126; fi
fi
trap 'builtin pwd -P >&$BULKHEAD_FD' EXIT
BULKHEAD_COMMAND=$2
set --
unset OLDPWD
eval "$BULKHEAD_COMMAND"
`

export class Commands {
  readonly #parts: CommandParts
  /** null while one is being started. */
  readonly #running = new Map<number, Running | null>()
  /** What came for a command before it was running. */
  readonly #early = new Map<number, (() => void)[]>()

  constructor(parts: CommandParts) {
    this.#parts = parts
  }

  /** `command`: UTF-8. Answers by messages, the last of which is also what it resolves with; never rejects. */
  async exec(request: Exec, command: Uint8Array): Promise<GuestMessage> {
    const { id } = request
    const answer = (message: GuestMessage): GuestMessage => {
      this.#parts.send(message)
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
      const session = await this.#parts.sessions.get(request.session)
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
      else if (bytes.length > 0) this.#parts.send({ t: 'took', id, bytes: bytes.length })
    })
  }

  resize(id: number, size: TerminalSize): void {
    // One that ended meanwhile has no size.
    this.#with(id, ({ terminal }) => void terminal?.resize(size).catch(() => {}))
  }

  signal(id: number, signal: SignalName): void {
    this.#with(id, ({ cgroup, pid }) => {
      if (signal !== 'SIGKILL') return signalCgroup(cgroup, signal)
      // First itself: it may not be in its group yet, and would enter it after the group was killed.
      if (pid > 0) signalProcess(pid, 'SIGKILL')
      void killCgroup(cgroup)
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
      '/bin/bash',
      '-lc',
      wrapper,
      'bash',
      request.cwd ?? session.cwd ?? home,
      script === null ? command : `. ${script}`,
      request.cwd === undefined ? home : '',
      // The folder may have been taken away.
      session.home,
    ]
    const { streams, begun, over, ...ends } = await this.#open(request, session)
    const running: Running = { session: session.name, ...ends, cgroup, pid: 0, timedOut: false, timer: undefined }
    const launch: Launch = {
      id,
      cgroup,
      holder: session.slot.holder.pid,
      uid: session.uid,
      umask: request.umask ?? usualUmask,
      streams,
      command: shell,
      env: environment(session, request),
    }
    const exited = this.#parts.launcher.run(launch, (pid) => {
      begun()
      running.pid = pid
      this.#parts.send({ t: 'started', id, pid })
      if (request.timeoutMs > 0) running.timer = this.#startTimer(running, request.timeoutMs)
      this.#running.set(id, running)
      for (const act of this.#early.get(id) ?? []) act()
    })

    try {
      const { code, signal, line } = await exited
      // The shell may have ended at SIGTERM while something it started has not: nothing outlives its time.
      if (running.timedOut) await killCgroup(cgroup)
      const carried = await this.#rest(id, running)
      if (line === '!') return 'bad-cwd'
      clearTimeout(running.timer)
      if (line.startsWith('/')) session.cwd = line.slice(0, 4096)
      await session.slot.kept.add(keptPath(session.slot.dir, id), carried.kept)
      const oom = await ranOutOfMemory(cgroup)
      if (oom) this.#parts.events.tell(session.name, 'out_of_memory', {})
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
      over()
      this.#parts.pump.drop(id)
      if (script !== null) await rm(join(session.slot.dir, 'commands', String(id)), { force: true })
      this.#tidy(cgroup)
    }
  }

  /** Its streams: pipes, or a terminal of its own. `begun`: to be called when it has them; `over`: in any case. */
  async #open(
    { id, tty, stdin, keep }: Exec,
    session: Session,
  ): Promise<Pick<Running, 'output' | 'input' | 'terminal'> & { streams: Launch['streams']; begun: () => void; over: () => void }> {
    const { send, pump, fifos } = this.#parts
    const took = (bytes: number): void => send({ t: 'took', id, bytes })
    if (tty !== undefined) {
      const terminal = await openTerminal(session, tty)
      const { master, path, taken } = terminal
      const output = new TerminalOutput(initialCredit, master, (bytes) => send({ t: 'out', id, stream: 'stdout' }, bytes))
      // What ends a terminal's input is a character.
      const input = new Input(master, took, () => master.write('\u0004'))
      const over = (): void => {
        taken()
        terminal.close()
      }
      return { output, input, terminal, streams: { terminal: path }, begun: taken, over }
    }
    const stdout = await fifos.take(session.uid)
    const stderr = await fifos.take(session.uid)
    const file = keep === true ? keptPath(session.slot.dir, id) : null
    pump.open(id, stdout, stderr, initialCredit, file, () => send({ t: 'kept', id, path: join(outputsDir, String(id)) }))
    const opened = { output: null, terminal: null }
    const nothing = (): void => {}
    if (stdin !== true) return { ...opened, input: null, streams: { stdin: null, stdout, stderr }, begun: nothing, over: nothing }
    const from = await fifos.take(session.uid)
    const { writer, readerIsThere } = openWriter(from)
    const over = (): void => {
      readerIsThere()
      writer.destroy()
    }
    const input = new Input(writer, took, () => writer.end())
    return { ...opened, input, streams: { stdin: from, stdout, stderr }, begun: readerIsThere, over }
  }

  /** Resolves when the last of its output is on its way, or others live on and nothing has come from them for a moment. */
  async #rest(id: number, { output, cgroup }: Running): Promise<Carried> {
    const leftBehind = (): boolean => processesOf(cgroup).length > 0
    if (output === null) return this.#parts.pump.finish(id, leftBehind)
    await output.finish(leftBehind)
    return { sent: 0, kept: 0 }
  }

  /** SIGTERM to all of the command, a moment later SIGKILL to what is left. */
  #startTimer(running: Running, timeoutMs: number): NodeJS.Timeout {
    return setTimeout(
      () => {
        running.timedOut = true
        signalCgroup(running.cgroup, 'SIGTERM')
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
