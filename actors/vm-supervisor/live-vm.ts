/**
 * The VM that runs now, as effects see it. At most one at a time; the machine decides about it, this holds its open ends.
 */
import { randomBytes } from 'node:crypto'
import * as Effect from 'effect/Effect'
import { type EffectContext, type Fault, fault } from '../../kernel/index.ts'
import { silentTag } from '../../guest/wire.ts'
import type { Driver, LaunchSpec, RunningVm } from './driver.ts'
import {
  ballastBytes,
  clockStepMs,
  diskLookMs,
  helloAgainMs,
  helloEveryMs,
  lossMs,
  maxGuestLines,
  maxRefusalsTold,
  maxStages,
  maxStderr,
  ninepDeadlineMs,
  progressEveryMs,
  quitMs,
  shutdownMs,
} from './limits.ts'
import { GuestEvents } from './guest-events.ts'
import { ControlLink } from './link-control.ts'
import { FilesLink, type Gate } from './link-files.ts'
import { NetLink, type NetworkOf } from './link-net.ts'
import { OutputLink } from './link-output.ts'
import { tagOf } from './ninep.ts'
import { dropBallast, isLow, roomOn } from './room.ts'
import { publishSnapshot } from './snapshots.ts'
import { deathFault, type Folder } from './state.ts'

type Served = { uid: number; folders: ReadonlyMap<string, Folder> }

export type Ended = { code: number | null; signal: string | null; detail: string }

export class LiveVm {
  readonly epoch: string
  readonly control: ControlLink
  readonly #vm: RunningVm
  readonly #files: FilesLink
  readonly #outputs: OutputLink
  readonly #net: NetLink
  /** Who hears what a session's programs were refused. */
  readonly #listeners = new Map<string, Set<(text: string) => void>>()
  readonly #context: EffectContext
  readonly #sessions = new Map<string, Served>()
  /** The guest's last words on its console. */
  #console = ''
  /** Why it was ended, when it was. */
  #reason = ''
  #paused = false
  /** It was told that it has no room, and did not go on since. */
  #full = false
  /** Lines the guest put into the log, and stages of its boot it told of. */
  #noted = 0
  #stages = 0
  readonly #events: GuestEvents
  readonly #scratchDir: string
  readonly #home: string
  readonly imageDir: string
  readonly memoryMiB: number

  constructor(
    epoch: string,
    vm: RunningVm,
    spec: Pick<LaunchSpec, 'scratchDir' | 'imageDir' | 'memoryMiB'> & { home: string },
    networkOf: NetworkOf,
    context: EffectContext,
  ) {
    this.epoch = epoch
    this.#scratchDir = spec.scratchDir
    this.#home = spec.home
    this.imageDir = spec.imageDir
    this.memoryMiB = spec.memoryMiB
    this.#vm = vm
    this.#context = context
    this.#events = new GuestEvents((batch) => context.send('telemetry', 'workspace', batch))
    this.#outputs = new OutputLink(
      vm.output,
      () => void this.#lose(),
      (reason) => this.kill(`the guest sent what is no frame on its output port: ${reason}`),
    )
    this.control = new ControlLink(
      vm.control,
      this.#outputs,
      (level, message) => this.#note(level, message),
      () => void this.#lose(),
      // A session the guest was not told of is its invention.
      (session, event, missed) => this.#sessions.has(session) && this.#events.add(session, event, missed),
    )
    vm.console.setEncoding('utf8')
    vm.console.on('data', (text: string) => this.#hear(text))
    vm.console.on('error', () => {})
    this.#net = new NetLink(vm.connections, networkOf, context, {
      refused: (session, to, error) => this.#tell(session, to, error),
      // Without the port no connection works, and there is no way to begin anew on it.
      nonsense: (reason) => this.kill(`the guest sent what is no frame on its connections port: ${reason}`),
    })
    this.#files = new FilesLink(
      vm.files,
      epoch,
      (session, folder) => this.#gateOf(session, folder),
      // Without the port no folder works, and there is no way to begin anew on it.
      (reason) => this.kill(`the guest sent what is no frame on its files port: ${reason}`),
    )
    // Over vsock a guest can close one port alone; without it, too, none of what it carries works any more.
    for (const port of [vm.files, vm.connections]) port.once('close', () => void this.#lose())
  }

  /** Starts a VM and stays until it has ended, reporting its steps; an abort kills it. */
  static async run(
    driver: Driver,
    spec: Omit<LaunchSpec, 'on'> & { home: string },
    epoch: string,
    context: EffectContext,
    signal: AbortSignal,
    hold: (vm: LiveVm | null) => void,
    networkOf: NetworkOf,
  ): Promise<Ended> {
    const began = performance.now()
    let held: LiveVm | null = null
    let fullEarly = false
    // Each of its writes that found no room is told.
    const full = (): void => {
      if (held === null) fullEarly = true
      else void held.#tellFull()
    }
    const opened = Promise.withResolvers<void>()
    const connected = (): void => {
      opened.resolve()
      context.raise({ type: 'vm.connected', epoch })
    }
    const vm = await driver.launch({ ...spec, on: { full, connected } })
    const live = new LiveVm(epoch, vm, spec, networkOf, context)
    held = live
    hold(live)
    if (fullEarly) void live.#tellFull()
    signal.addEventListener('abort', () => live.kill('interrupted'), { once: true })
    if (signal.aborted) live.kill('interrupted')
    context.raise({ type: 'vm.spawned', epoch, pid: vm.pid })
    const stopReporting = live.#reportProgress()
    // A guest that goes on from a saved memory may lose what QEMU is given before it has restored the port, and is not asked before.
    const greeted =
      spec.begin.how === 'restore' ? live.control.greet(epoch, helloAgainMs, opened.promise) : live.control.greet(epoch, helloEveryMs)
    greeted.then(
      (ready) => {
        stopReporting()
        // Commands died with it, and nobody in the guest can say so: a new VM is the clean answer.
        void vm.agentGone.then(() => live.kill('the guest agent ended'))
        context.log('info', 'guest ready', { agent: ready.agent, kernel: ready.kernel, bootMs: ready.bootMs, stages: ready.stages })
        context.raise({
          type: 'vm.handshake',
          epoch,
          ms: Math.round(performance.now() - began),
          guestMs: ready.bootMs,
          kernel: ready.kernel,
        })
      },
      (error: { message: string; cause?: string }) => live.kill(error.cause ?? error.message),
    )
    // A guest that broke off or broke the rules is of no more use.
    void live.control.closed.then((error) => live.kill(error.cause ?? error.message))
    const stopLooking = live.#lookAround()
    const { code, signal: by, stderr } = await vm.exited
    stopLooking()
    stopReporting()
    hold(null)
    const detail = [live.#reason, stderr.trim().slice(-maxStderr / 4), live.#lastWords()].filter((text) => text !== '').join('; ')
    const ended = { code, signal: by, detail }
    // An oops is printed in full whatever the log level; without it nobody could say what the guest died of.
    if (live.#lastWords() !== '') context.log('error', `guest console:\n${live.#console.trim()}`)
    live.control.end(deathFault(ended, true))
    live.#events.end()
    live.#net.end()
    live.#files.end()
    return ended
  }

  /** Makes or changes the session in the guest. Its folders are served from now on, also while the guest mounts them. */
  async admit(session: string, uid: number, folders: readonly Folder[]): Promise<void> {
    this.#sessions.set(session, { uid, folders: new Map(folders.map((folder) => [folder.name, folder])) })
    this.#files.forget(session)
    await this.control.session(
      session,
      uid,
      // A slot is given once: another one is another grant, to a gate that may have forgotten the mount.
      folders.map(({ name, mode, slot }) => ({ name, mode, generation: Number(slot) })),
    )
  }

  /** Gives it the time and a seed of its own, and sees that all ports carry. Rejects when it is not to be used. */
  async prove(): Promise<void> {
    const awake = this.control.wake(Date.now(), randomBytes(64).toString('hex'))
    await Promise.all([awake, this.#files.echo(randomBytes(32)), this.#outputs.echo(), this.#net.echo()])
  }

  /** Leaves it stopped, and of no more use. */
  async save(imageDir: string, key: string): Promise<void> {
    await this.control.warm()
    await this.#vm.save()
    await publishSnapshot(imageDir, key, this.#scratchDir)
  }

  async pause(): Promise<void> {
    this.#paused = true
    await this.#vm.pause()
  }

  /** Its clock stood still meanwhile. */
  async resume(): Promise<void> {
    this.#full = false
    await this.#vm.resume()
    this.#paused = false
    await this.control.wake(Date.now())
  }

  /** Hears, until released, what the session's programs were refused: they only see a connection end. */
  listen(session: string, told: (text: string) => void): () => void {
    const listeners = this.#listeners.get(session) ?? new Set()
    let lines = 0
    const some = (text: string): void => {
      lines++
      if (lines <= maxRefusalsTold) told(text)
      else if (lines === maxRefusalsTold + 1) told('bulkhead: more connections were refused; they are not listed\n')
    }
    this.#listeners.set(session, listeners.add(some))
    return () => {
      listeners.delete(some)
      if (listeners.size === 0) this.#listeners.delete(session)
    }
  }

  #tell(session: string, to: string, { code, message, cause, rule }: Fault): void {
    if (code === 'cancelled') return
    const why = [message, cause, rule && `(${rule})`].filter((part) => part !== undefined && part !== '').join(' ')
    for (const told of this.#listeners.get(session) ?? []) told(`bulkhead: no connection to ${to}: ${why}\n`)
  }

  evict(session: string): void {
    this.#sessions.delete(session)
    this.control.unsession(session)
  }

  /** Ends it in good order, and in any case: the guest first, then QEMU, then SIGKILL. */
  async halt(): Promise<void> {
    this.#reason = 'stopped'
    // One that stands still cannot power off.
    if (!this.#paused && !this.#full) {
      this.control.shutdown()
      if (await this.#endsWithin(shutdownMs)) return
    }
    this.#vm.quit().catch(() => {})
    if (await this.#endsWithin(quitMs)) return
    this.kill('did not stop')
    await this.#vm.exited
  }

  kill(reason: string): void {
    if (this.#reason === '') this.#reason = reason
    this.#vm.kill()
  }

  /** The link broke, most likely because QEMU ended, which explains more than the broken link does. */
  async #lose(): Promise<void> {
    if (!(await this.#endsWithin(lossMs))) this.kill('the link to the guest closed')
  }

  #endsWithin(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms)
      void this.#vm.exited.then(() => {
        clearTimeout(timer)
        resolve(true)
      })
    })
  }

  /** A guest that has nothing better to do than to fill the host's log is told so there, once. */
  #note(level: 'info' | 'warn' | 'error', message: string): void {
    this.#noted++
    if (this.#noted <= maxGuestLines) this.#context.log(level, `guest: ${message}`)
    else if (this.#noted === maxGuestLines + 1) this.#context.log('warn', 'guest: it says too much; the rest is left out')
  }

  #hear(text: string): void {
    this.#console = (this.#console + text).slice(-maxStderr)
    const stage = /^bulkhead: ([a-z]+) [0-9.]+\s*$/m.exec(text)
    if (stage && this.#stages++ < maxStages) this.#context.raise({ type: 'vm.progress', epoch: this.epoch, text: `guest: ${stage[1]}` })
  }

  /** What explains an end on the console: a failed stage or a panic; nothing otherwise. */
  #lastWords(): string {
    const lines = this.#console.split('\n').map((line) => line.trim())
    return (lines.findLast((line) => line.startsWith('bulkhead: failed') || line.includes('Kernel panic')) ?? '').slice(0, 300)
  }

  /** Raises `vm.progress` whenever the guest did something observable. Returns what stops it. */
  #reportProgress(): () => void {
    let last = -1
    const timer = setInterval(() => {
      this.#vm.progress().then(
        (value) => {
          if (value > last)
            this.#context.raise({
              type: 'vm.progress',
              epoch: this.epoch,
              text: `${(value / 1024 / 1024).toFixed(0)} MiB of the image read`,
            })
          last = value
        },
        () => {},
      )
    }, progressEveryMs)
    return () => clearInterval(timer)
  }

  /** Sees to it that the VM stops before the host's disk is full, and that it does not go on with a time that is not the host's any more. */
  #lookAround(): () => void {
    const drift = (): number => Date.now() - performance.now()
    let known = drift()
    const timer = setInterval(() => {
      if (this.#paused) return
      roomOn(this.#scratchDir).then(
        (room) => (isLow(room) ? this.#tellFull() : undefined),
        () => {},
      )
      if (Math.abs(drift() - known) < clockStepMs) return
      known = drift()
      // The answer is no news: one that gives none is noticed otherwise.
      this.control.wake(Date.now()).catch(() => {})
    }, diskLookMs)
    return () => clearInterval(timer)
  }

  /**
   * What it has under way on its disk is still written, and takes what room there is: only once that is over, and it stands still, does the
   * ballast give its room to the daemon, which then has to write down what happened.
   */
  async #tellFull(): Promise<void> {
    if (this.#full) return
    this.#full = true
    await this.#vm.pause().catch(() => {})
    const room = await roomOn(this.#scratchDir).catch(() => ({ free: 0, reserve: 0 }))
    if (room.free < ballastBytes) dropBallast(this.#home)
    this.#context.raise({ type: 'vm.full', epoch: this.epoch, ...room })
  }

  #gateOf(session: string, name: string): Gate | null {
    const served = this.#sessions.get(session)
    const folder = served?.folders.get(name)
    if (!served || !folder) return null
    const context = this.#context
    return {
      async ask(conn, frame, before) {
        const body = { conn, uid: served.uid, frame, ahead: tagOf(frame) !== silentTag, ...(before.length > 0 ? { before } : {}) }
        const request = context.request(folder.slot, 'ninep', body, { deadlineMs: ninepDeadlineMs })
        const { body: reply } = await Effect.runPromise(request)
        const answer = (reply as { frame?: unknown } | null)?.frame
        if (!(answer instanceof Uint8Array)) throw fault('malformed', 'The gate did not answer with a 9P message.')
        return answer
      },
      close: (conn) => context.send(folder.slot, 'ninep-close', { conn }),
    }
  }
}
