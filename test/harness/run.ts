/** One started command of the product: its events as they come, its answers, its end. */
import { type ChildProcess, spawn } from 'node:child_process'

/** One line of `run --json`. */
export type ProductEvent = { seq: number; ts: string; type: string; [field: string]: unknown }

export type Ended = {
  /** Exit code; null when a signal ended it. */
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
  events: readonly ProductEvent[]
  /** Lines of stdout that are no JSON objects. */
  stray: readonly string[]
  /** What a failed expectation should show: the command, the end of its output, the end of the daemon's log. */
  story: string
}

export type Run = {
  pid: number
  events: readonly ProductEvent[]
  /** The first event, past or future, that matches. Rejects when the run ends without one. */
  event(what: string, matches: (event: ProductEvent) => boolean): Promise<ProductEvent>
  /** When (`performance.now()`) each event's line arrived, by `seq`. */
  arrivals: ReadonlyMap<number, number>
  /** Resolves when what was printed so far matches. Rejects when the run ends without. */
  printed(pattern: RegExp): Promise<string>
  type(text: string): void
  closeInput(): void
  signal(name: NodeJS.Signals): void
  ended: Promise<Ended>
}

export type RunSpec = {
  command: readonly string[]
  cwd: string
  env: NodeJS.ProcessEnv
  /** Keep standard input open for `type`. */
  input?: boolean
  /** It is killed after this long, and `ended` rejects with what it had printed. Only ends what hangs. */
  deadlineMs?: number
  /** Added to the message of a failure: the daemon's log. */
  explain?: () => string
}

const defaultDeadlineMs = 180_000

type Waiter = { what: string; look(): boolean; fail(error: Error): void }

export function startRun({ command, cwd, env, input = false, deadlineMs = defaultDeadlineMs, explain = () => '' }: RunSpec): Run {
  const [program = '', ...args] = command
  const child = spawn(program, args, { cwd, env, stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'] })
  const events: ProductEvent[] = []
  const stray: string[] = []
  const arrivals = new Map<number, number>()
  let waiters: Waiter[] = []
  let stdout = ''
  let stderr = ''
  let partial = ''
  const story = () => `${command.slice(1).join(' ')}\nstdout: ${stdout.slice(-4000)}\nstderr: ${stderr.slice(-4000)}\n${explain()}`
  const look = () => {
    waiters = waiters.filter((waiter) => !waiter.look())
  }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    const lines = (partial + text).split('\n')
    partial = lines.pop() ?? ''
    for (const line of lines) {
      const event = parseEvent(line)
      if (event) arrivals.set(event.seq, performance.now())
      if (event) events.push(event)
      else stray.push(line)
    }
    look()
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    look()
  })
  const ended = finish(child, deadlineMs).then(
    ({ code, signal }) => {
      if (partial !== '') stray.push(partial)
      for (const { what, fail } of waiters) fail(new Error(`The run ended (exit ${code ?? signal}) without ${what}.\n${story()}`))
      return { code, signal, stdout, stderr, events, stray, story: story() }
    },
    (error: Error) => {
      const told = new Error(`${error.message}\n${story()}`)
      for (const { fail } of waiters) fail(told)
      throw told
    },
  )
  // Whoever does not await the end still sees it through `event`.
  ended.catch(() => {})
  const wait = <T>(what: string, find: () => T | undefined): Promise<T> =>
    new Promise((resolve, reject) => {
      const waiter: Waiter = {
        what,
        look() {
          const found = find()
          if (found === undefined) return false
          resolve(found)
          return true
        },
        fail: reject,
      }
      if (waiter.look()) return
      if (child.exitCode !== null) reject(new Error(`The run had ended without ${what}.\n${story()}`))
      else waiters.push(waiter)
    })
  return {
    pid: child.pid ?? -1,
    events,
    arrivals,
    event: (what, matches) => wait(what, () => events.find(matches)),
    printed: (pattern) => wait(`printing ${pattern}`, () => pattern.exec(stdout + stderr)?.[0]),
    type: (text) => void child.stdin?.write(text),
    closeInput: () => void child.stdin?.end(),
    signal: (name) => void child.kill(name),
    ended,
  }
}

function parseEvent(line: string): ProductEvent | null {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && 'seq' in value && 'type' in value ? (value as ProductEvent) : null
  } catch {
    return null
  }
}

function finish(child: ChildProcess, deadlineMs: number): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve, reject) => {
    let late = false
    const deadline = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, deadlineMs)
    child.once('error', reject)
    // `close` and not `exit`: everything printed has been read by then.
    child.once('close', (code, signal) => {
      clearTimeout(deadline)
      if (late) reject(new Error(`Still running after ${deadlineMs} ms.`))
      else resolve({ code, signal })
    })
  })
}
