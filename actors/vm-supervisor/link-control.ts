/**
 * The host's end of the control port: one guest agent, many commands. What the guest says is checked by `guest/wire.ts` and then used only
 * as data: an id it was not given is ignored, output beyond its credit ends the link.
 */
import type { Duplex } from 'node:stream'
import { fault, type Fault } from '../../kernel/index.ts'
import type { GuestEvent } from '../../guest/events.ts'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import {
  type FolderMount,
  type GuestMessage,
  type HostMessage,
  initialCredit,
  maxCommand,
  parseGuestMessage,
  protocolVersion,
  type SignalName,
  type Stream,
  type TerminalSize,
} from '../../guest/wire.ts'
import type { ExecResult } from './events.ts'
import { maxOutputBytes } from './limits.ts'
import { InputFlow } from './input-flow.ts'
import type { OutputLink } from './link-output.ts'
import { OutputFlow } from './output-flow.ts'

export type Ready = Extract<GuestMessage, { t: 'ready' }>
export type ExecOrder = {
  session: string
  command: string
  cwd: string | null
  timeoutMs: number
  trace?: string | null
  /** It reads what `input` sends; without, it reads an end. */
  stdin?: boolean
  tty?: TerminalSize | null
  env?: Readonly<Record<string, string>>
  /** A long output also goes into a file in the guest. */
  keep?: boolean
  /** Rights its new files do not have. */
  umask?: number
}
/** Called in order; output goes on when the promise resolves. */
export type OnOutput = (stream: Stream, text: string) => Promise<void>
export type ExecOutput = {
  onText: OnOutput
  /** A terminal's output, as it is. */
  onBytes?: (bytes: Uint8Array) => Promise<void>
  onStarted?: () => void
  /** Bytes passed on as they come. */
  maxBytes?: number
}
export type ExecHandle = {
  done: Promise<ExecResult>
  kill(): void
  signal(name: SignalName): void
  /** Resolves when the command has taken it. */
  input(bytes: Uint8Array, end: boolean): Promise<void>
  resize(size: TerminalSize): void
  /** The file with all of its output, as its session sees it; null while there is none. */
  keptAt(): string | null
}

type Exit = Extract<GuestMessage, { t: 'exit' }>
type Execution = {
  flow: OutputFlow
  input: InputFlow
  kept: string | null
  onStarted: () => void
  /** It is over but for its output. */
  exit: Exit | null
  settle: (result: ExecResult) => void
  fail: (error: Fault) => void
}
type Waiter = { resolve: () => void; reject: (error: Fault) => void }

export class ControlLink {
  readonly #stream: Duplex
  readonly #outputs: OutputLink
  readonly #decoder = new FrameDecoder()
  readonly #onEvent: (session: string, event: GuestEvent, missed: number) => void
  readonly #onLog: (level: 'info' | 'warn' | 'error', message: string) => void
  readonly #execs = new Map<number, Execution>()
  readonly #sessions = new Map<string, Waiter[]>()
  readonly #pings = new Map<number, { resolve: (busy: boolean) => void; reject: (error: Fault) => void }>()
  readonly #awake: Waiter[] = []
  #warm: Waiter | null = null
  #next = 1
  #ready: ((ready: Ready) => void) | null = null
  #epoch = ''
  #ended: Fault | null = null
  #bytes = 0
  /** Settles when the link ends, with why. */
  readonly closed: Promise<Fault>
  #close!: (error: Fault) => void

  /** `onBroken`: the other end is gone; whoever knows why should say so with `end`. */
  constructor(
    stream: Duplex,
    outputs: OutputLink,
    onLog: (level: 'info' | 'warn' | 'error', message: string) => void,
    onBroken: () => void,
    onEvent: (session: string, event: GuestEvent, missed: number) => void = () => {},
  ) {
    this.#onEvent = onEvent
    this.#stream = stream
    this.#outputs = outputs
    this.#onLog = onLog
    outputs.deliver(
      (id, from, bytes) => this.#output(id, from, bytes),
      () => this.#bytes++,
    )
    this.closed = new Promise((resolve) => {
      this.#close = resolve
    })
    stream.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    for (const event of ['error', 'end', 'close']) {
      stream.on(event, () => {
        if (!this.#ended) onBroken()
      })
    }
  }

  /** Rises with what is received: a sign of life. */
  get received(): number {
    return this.#bytes
  }

  /**
   * Greets, every so many ms, until the agent answers; `opened`: and first once its port is there, or that time is over. Rejects with a fault when
   * the link ends first or the agent speaks another protocol.
   */
  async greet(epoch: string, everyMs: number, opened?: Promise<void>): Promise<Ready> {
    this.#epoch = epoch
    const hello = (): void => this.#send({ t: 'hello', epoch })
    const timer = setInterval(hello, everyMs)
    try {
      if (opened === undefined) hello()
      else
        void opened.then(() => {
          // From now on a full interval each.
          timer.refresh()
          if (this.#ready !== null) hello()
        })
      const ready = await Promise.race([
        new Promise<Ready>((resolve) => {
          this.#ready = resolve
        }),
        this.closed.then((error) => Promise.reject<Ready>(error)),
      ])
      if (ready.protocol !== protocolVersion)
        throw fault('workspace-unavailable', 'The guest agent speaks another version of the link.', {
          cause: `agent ${ready.protocol}, supervisor ${protocolVersion}`,
        })
      return ready
    } finally {
      clearInterval(timer)
      this.#ready = null
    }
  }

  /** Gives the guest the time and, with a seed, fresh randomness and a machine id of its own. Resolves when it has them. */
  wake(ms: number, seed?: string): Promise<void> {
    return this.#wait((waiter) => {
      this.#awake.push(waiter)
      this.#send(seed === undefined ? { t: 'wake', ms } : { t: 'wake', ms, seed })
    })
  }

  /** Has the guest make ready what sessions will need. Rejects when that did not work. */
  warm(): Promise<void> {
    return this.#wait((waiter) => {
      this.#warm = waiter
      this.#send({ t: 'warm' })
    })
  }

  /** Asks the guest to end its sessions and power off. */
  shutdown(): void {
    this.#send({ t: 'shutdown' })
  }

  /** Tells the time and resolves with whether something runs in the guest's sessions, commands under way or not. */
  ping(ms: number): Promise<boolean> {
    const n = this.#next++
    if (this.#ended) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#pings.set(n, { resolve, reject })
      this.#send({ t: 'ping', n, ms })
    })
  }

  /** Makes the session in the guest or changes its folders. */
  session(session: string, uid: number, folders: FolderMount[]): Promise<void> {
    return this.#wait((waiter) => {
      this.#sessions.set(session, [...(this.#sessions.get(session) ?? []), waiter])
      this.#send({ t: 'session', session, uid, folders })
    })
  }

  /** Programs of the session trust this certificate from now on. */
  trust(session: string, pem: string): void {
    this.#send({ t: 'trust', session }, Buffer.from(pem))
  }

  unsession(session: string): void {
    this.#send({ t: 'unsession', session })
  }

  exec(order: ExecOrder, { onText, onBytes, onStarted = () => {}, maxBytes = maxOutputBytes }: ExecOutput): ExecHandle {
    const id = this.#next++
    const command = new TextEncoder().encode(order.command)
    const input = new InputFlow((bytes, end) => this.#send(end ? { t: 'stdin', id, end } : { t: 'stdin', id }, bytes))
    const done = new Promise<ExecResult>((settle, fail) => {
      const refused =
        this.#ended ??
        (command.length > maxCommand ? fault('too-large', 'The command is too long.', { cause: `${command.length} bytes` }) : null)
      if (refused) {
        input.finish(refused)
        return fail(refused)
      }
      const flow = new OutputFlow({
        onText,
        ...(onBytes ? { onBytes } : {}),
        credit: (bytes) => {
          if (!this.#execs.has(id)) return
          if (order.tty) this.#send({ t: 'credit', id, bytes })
          else this.#outputs.credit(id, bytes)
        },
        maxBytes,
        window: initialCredit,
        keptAt: () => exec.kept,
      })
      const exec: Execution = { flow, input, kept: null, onStarted, exit: null, settle, fail }
      this.#execs.set(id, exec)
      this.#send(asMessage(id, order), command)
    })
    const steer = (message: HostMessage): void => {
      if (this.#execs.has(id)) this.#send(message)
    }
    return {
      done,
      kill: () => steer({ t: 'signal', id, signal: 'SIGKILL' }),
      signal: (signal) => steer({ t: 'signal', id, signal }),
      input: (bytes, end) => input.write(bytes, end),
      resize: (size) => steer({ t: 'resize', id, ...size }),
      keptAt: () => this.#execs.get(id)?.kept ?? null,
    }
  }

  /** Ends the link; everything under way fails with `error`. */
  end(error: Fault): void {
    if (this.#ended) return
    this.#ended = error
    this.#stream.destroy()
    this.#outputs.end()
    for (const { fail, input } of this.#execs.values()) {
      input.finish(error)
      fail(error)
    }
    for (const { reject } of [...this.#sessions.values()].flat()) reject(error)
    for (const { reject } of [...this.#pings.values(), ...this.#awake.splice(0), ...(this.#warm ? [this.#warm] : [])]) reject(error)
    this.#execs.clear()
    this.#sessions.clear()
    this.#pings.clear()
    this.#close(error)
  }

  #wait(start: (waiter: Waiter) => void): Promise<void> {
    if (this.#ended) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => start({ resolve, reject }))
  }

  #send(message: HostMessage, payload?: Uint8Array): void {
    if (!this.#ended) this.#stream.write(encodeFrame(message, payload))
  }

  #receive(bytes: Uint8Array): void {
    this.#bytes += bytes.length
    for (const decoded of this.#decoder.push(bytes)) {
      if (this.#ended) return
      if (!decoded.ok) {
        if (decoded.fatal) return this.end(lost(`the guest sent what is no frame: ${decoded.reason}`))
        continue
      }
      const message = parseGuestMessage(decoded.frame.header)
      if (message) this.#take(message, decoded.frame.payload)
    }
  }

  #take(message: GuestMessage, payload: Uint8Array): void {
    switch (message.t) {
      case 'ready':
        if (message.epoch === this.#epoch) this.#ready?.(message)
        return
      case 'pong':
        this.#pings.get(message.n)?.resolve(message.busy)
        this.#pings.delete(message.n)
        return
      case 'awake':
        return this.#awake.shift()?.resolve()
      case 'warmed': {
        const waiter = this.#warm
        this.#warm = null
        if (message.problem === '') waiter?.resolve()
        else waiter?.reject(fault('workspace-unavailable', 'The workspace could not make itself ready.', { cause: message.problem }))
        return
      }
      case 'sessioned':
        return this.#sessionDone(message.session, (waiter) => waiter.resolve())
      case 'failed':
        return this.#failed(message)
      case 'out':
        return this.#output(message.id, message.stream, payload)
      case 'exit': {
        const exec = this.#execs.get(message.id)
        if (!exec) return
        exec.exit = message
        return this.#exited(exec, message)
      }
      case 'event':
        return this.#onEvent(message.session, message.event, message.missed)
      case 'log':
        return this.#onLog(message.level, message.message)
      case 'took':
        return this.#execs.get(message.id)?.input.took(message.bytes)
      case 'kept': {
        const exec = this.#execs.get(message.id)
        if (exec) exec.kept = message.path
        return
      }
      case 'started':
        return this.#execs.get(message.id)?.onStarted()
      case 'unsessioned':
        return
      default:
        message satisfies never
    }
  }

  #output(id: number, stream: Stream, bytes: Uint8Array): void {
    const exec = this.#execs.get(id)
    if (!exec) return
    if (!exec.flow.push(stream, bytes)) return this.end(lost('the guest sent more output than it was allowed'))
    if (exec.exit) this.#exited(exec, exec.exit)
  }

  /** Over once all of its output is here too, which comes another way. */
  #exited(exec: Execution, { id, code, signal, timedOut, oom, durationMs, cwd, piped }: Exit): void {
    if (exec.flow.received < piped) return
    this.#execs.delete(id)
    exec.input.finish(over)
    void exec.flow.finish().then(() => exec.settle({ exitCode: code, signal, timedOut, oom, durationMs, cwd, outputFile: exec.kept }))
  }

  #failed({ re, session, id, code, message }: Extract<GuestMessage, { t: 'failed' }>): void {
    const error = fault(
      'exec-failed',
      re === 'session' ? 'The session could not be prepared in the workspace.' : 'The command could not be started.',
      {
        cause: `${code}: ${message}`,
      },
    )
    if (re === 'session' && session !== undefined) return this.#sessionDone(session, (waiter) => waiter.reject(error))
    if (re !== 'exec' || id === undefined) return
    const exec = this.#execs.get(id)
    this.#execs.delete(id)
    exec?.input.finish(error)
    exec?.fail(error)
  }

  /** Answers come in the order of the questions. */
  #sessionDone(session: string, settle: (waiter: Waiter) => void): void {
    const [first, ...rest] = this.#sessions.get(session) ?? []
    if (rest.length > 0) this.#sessions.set(session, rest)
    else this.#sessions.delete(session)
    if (first) settle(first)
  }
}

function asMessage(id: number, { session, cwd, timeoutMs, trace, stdin, tty, env, keep, umask }: ExecOrder): HostMessage {
  return {
    t: 'exec',
    id,
    session,
    timeoutMs,
    ...(cwd === null ? {} : { cwd }),
    ...(trace ? { trace } : {}),
    ...(stdin ? { stdin } : {}),
    ...(tty ? { tty } : {}),
    ...(env && Object.keys(env).length > 0 ? { env: { ...env } } : {}),
    ...(keep ? { keep } : {}),
    ...(umask === undefined ? {} : { umask }),
  }
}

const over = fault('not-found', 'The command has ended and takes no more input.', { remedy: 'Run it again.' })

function lost(cause: string): Fault {
  return fault('workspace-unavailable', 'Workspace unavailable: the VM stopped unexpectedly.', {
    cause,
    remedy: 'It is being started again; repeat the command.',
    retryAfterMs: 5_000,
  })
}
