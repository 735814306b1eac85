/** The agent's hold on the process that starts commands (`launcher.pl`). Without it nothing can be started: its end is the agent's. */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { openFiles } from './limits.ts'

export type Launch = {
  id: number
  cgroup: string
  /** Process whose namespaces it joins. */
  holder: number
  uid: number
  umask: number
  /** Where its streams are: pipes by path (no `stdin`: it reads an end), or a terminal for all three. */
  streams: { stdin: string | null; stdout: string; stderr: string } | { terminal: string }
  /** Its words, the first a path. */
  command: readonly string[]
  env: Readonly<Record<string, string>>
}

/** `line`: the last it said on its descriptor 3. */
export type Ended = { code: number | null; signal: string | null; line: string }

type Entry = { started: (pid: number) => void; ended: (ended: Ended) => void; failed: (error: Error) => void }
type Waiter = { resolve: () => void; reject: (error: Error) => void }

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

/** Before the reason why a command could not be started. */
const failure = '!!'

export class Launcher {
  readonly #child: ChildProcess
  readonly #entries = new Map<number, Entry>()
  /** Answers come in the order of the questions. */
  readonly #asked = { pipes: [] as Waiter[], awake: [] as Waiter[] }
  #heard = Buffer.alloc(0)

  /** `filter`, `quiet`: files with the system call filters of everything it starts; refusals of the first are told. `onEnd`: it is no more. */
  constructor({ filter, quiet }: { filter: string; quiet: string }, onEnd: (why: string) => void) {
    this.#child = spawn('perl', [new URL('launcher.pl', import.meta.url).pathname, process.arch, filter, quiet], {
      stdio: ['pipe', 'pipe', 'inherit'],
      cwd: '/',
    })
    this.#child.once('error', (error) => onEnd(error.message))
    this.#child.once('exit', (code, signal) => onEnd(`the launcher ended with ${signal ?? code}`))
    this.#child.stdin?.on('error', () => {})
    this.#child.stdout?.on('data', (bytes: Buffer) => this.#hear(bytes))
  }

  /** `started`: it runs, with this process id as the agent sees it. Rejects with why it could not be started. */
  async run({ id, cgroup, holder, uid, umask, streams, command, env }: Launch, started: (pid: number) => void): Promise<Ended> {
    const paths = 'terminal' in streams ? ['', '', '', streams.terminal] : [streams.stdin ?? '', streams.stdout, streams.stderr, '']
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    if (command.some((word) => word.includes('\0'))) throw new Error('a NUL character in a command')
    return new Promise<Ended>((ended, failed) => {
      this.#entries.set(id, { started, ended, failed })
      this.#order('run', id, cgroup, holder, uid, umask, ...paths, openFiles, command.length, ...command, ...variables)
    })
  }

  makePipes(paths: readonly string[]): Promise<void> {
    return this.#ask('pipes', ...paths)
  }

  /** Sets the time (epoch, ms) and stirs fresh randomness in, as far as given. */
  wake(ms: number | null, seed: string | null): Promise<void> {
    return this.#ask('awake', ...(ms === null ? ['', ''] : [Math.floor(ms / 1000), ms % 1000]), seed ?? '')
  }

  #ask(what: 'pipes' | 'awake', ...fields: readonly (string | number)[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#asked[what].push({ resolve, reject })
      this.#order(what === 'awake' ? 'wake' : what, ...fields)
    })
  }

  #order(...fields: readonly (string | number)[]): void {
    const text = Buffer.from(fields.join('\0'))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(text.length)
    this.#child.stdin?.write(Buffer.concat([length, text]))
  }

  #hear(bytes: Buffer): void {
    this.#heard = Buffer.concat([this.#heard, bytes])
    while (this.#heard.length >= 4) {
      const end = 4 + this.#heard.readUInt32BE(0)
      if (this.#heard.length < end) return
      this.#act(this.#heard.toString('utf8', 4, end).split('\0'))
      this.#heard = this.#heard.subarray(end)
    }
  }

  #act([what, first = '', code = '', signal = '', line = '']: readonly string[]): void {
    if (what === 'pipes' || what === 'awake') {
      const waiter = this.#asked[what].shift()
      if (first === '') waiter?.resolve()
      else waiter?.reject(new Error(first.trim()))
      return
    }
    const entry = this.#entries.get(Number(first))
    if (what === 'started') return entry?.started(Number(code))
    this.#entries.delete(Number(first))
    if (line.startsWith(failure)) entry?.failed(new Error(line.slice(failure.length).trim()))
    else entry?.ended({ code: code === '' ? null : Number(code), signal: signalNames.get(Number(signal)) ?? null, line })
  }
}
