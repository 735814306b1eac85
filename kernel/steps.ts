/**
 * An actor's machine at work: where it is, and one event after the other. What a message that it takes in silence touches lies together here,
 * and is little: among thousands of actors most of its cost is memory that has to be fetched.
 *
 * A step that throws leaves no trace: its commands are dropped, the snapshot stays, and the request that caused it is refused `internal`.
 */
import { asFault, fault } from './errors.ts'
import type { Note, Out } from './frames.ts'
import type { createRecorder } from './recorder.ts'
import type { Command, Snapshot, Stepper } from './stepper.ts'
import type { Fault } from './types.ts'

export type Event = { type: string; [key: string]: unknown }
/** `trace`: what the step, and all it leads to, is part of. */
export type Work = { event: Event; trace: string | null; ack?: number; request?: number | null; after?: () => void }

/** What a step that is not silent needs of its host. */
export type StepHost = {
  kind: string
  recorder: Pick<ReturnType<typeof createRecorder>, 'step'>
  translated(commands: readonly Command[], trace: string | null): Out[]
  refused(request: number, error: Fault): Out
  commit(out: Out[], ack: number | undefined, note: Note | null, commands: readonly Command[]): void
  perform(commands: readonly Command[], trace: string | null): void
  /** A delivery was handled that said nothing, and not while whoever delivered it waited. */
  silent(ack: number): void
}

const nothingOut: Out[] = Object.freeze([]) as never
const nothingWanted: readonly Command[] = Object.freeze([])

export class Steps {
  /** Where the machine is; null until it has started. */
  snapshot: Snapshot | null = null
  private readonly stepper: Stepper
  private stepping = false
  /** Frames wait behind one whose socket has not arrived yet; nothing may overtake them. Written by the host. */
  blocked = false
  /** Each step is told to the message log. */
  noting = false
  private readonly freezes: boolean
  private waiting: Work[] | null = null
  private readonly host: StepHost

  /** @param freezes deep-freeze snapshots' context, so that a mutating assign throws */
  constructor(stepper: Stepper, freezes: boolean, host: StepHost) {
    this.stepper = stepper
    this.freezes = freezes
    this.host = host
  }

  start(input: unknown): readonly Command[] {
    const { snapshot, commands } = this.stepper.initial(input)
    if (this.freezes) deepFreeze(snapshot.context)
    this.snapshot = snapshot
    return commands
  }

  /** Steps at once, and then through what that brought; while it steps: after that. True: it stepped, and has nothing to say. */
  take(event: Event, trace: string | null, ack?: number, request?: number | null, after?: () => void): boolean {
    if (this.stepping)
      return this.wait({ event, trace, ...(ack === undefined ? {} : { ack }), request: request ?? null, ...(after ? { after } : {}) })
    this.stepping = true
    const silent = this.run(event, trace, ack, request, after)
    if (this.waiting !== null) this.runWaiting(this.waiting)
    this.stepping = false
    return silent
  }

  private wait(work: Work): false {
    if (this.waiting === null) this.waiting = [work]
    else this.waiting.push(work)
    return false
  }

  private runWaiting(waiting: Work[]): void {
    // Grows while it is walked.
    for (const { event, trace, ack, request, after } of waiting)
      if (this.run(event, trace, ack, request, after) && ack !== undefined) this.host.silent(ack)
    this.waiting = null
  }

  /** True: nothing leaves, not even an acknowledgement. */
  private run(event: Event, trace: string | null, ack?: number, request?: number | null, after?: () => void): boolean {
    let out: Out[] = nothingOut
    let commands: readonly Command[] = nothingWanted
    let failure: string | null = null
    try {
      if (this.snapshot === null) throw new Error('not started')
      const next = this.stepper.stepQuietly(this.snapshot, event)
      if (next === null) {
        const step = this.stepper.step(this.snapshot, event)
        if (step.commands.length > 0) {
          commands = step.commands
          out = this.host.translated(commands, trace)
        }
        if (this.freezes) deepFreeze(step.snapshot.context)
        this.snapshot = step.snapshot
        if (!step.handled && typeof request === 'number') out = [...out, this.host.refused(request, this.notNow(event))]
      } else {
        if (this.freezes) deepFreeze(next.context)
        this.snapshot = next
      }
    } catch (error) {
      commands = nothingWanted
      failure = error instanceof Error ? error.message : String(error)
      out = this.failed(error, event, request)
    }
    const silent = !this.noting && out.length === 0
    if (!silent) this.tell(event, out, ack, commands, failure)
    if (commands.length > 0) this.host.perform(commands, trace)
    if (after !== undefined) after()
    return silent
  }

  private tell(event: Event, out: Out[], ack: number | undefined, commands: readonly Command[], failure: string | null): void {
    const { host, snapshot } = this
    host.commit(out, ack, this.noting ? host.recorder.step(ack === undefined ? event : null, snapshot, commands, failure) : null, commands)
  }

  private notNow({ type }: Event): Fault {
    return fault('not-now', `${this.host.kind} does not accept "${type}" now.`, { cause: `state ${JSON.stringify(this.snapshot?.value)}` })
  }

  private failed(error: unknown, { type }: Event, request: number | null | undefined): Out[] {
    const out: Out[] = [{ t: 'log', level: 'error', message: `step on ${type} failed: ${describe(error)}` }]
    if (typeof request === 'number') out.push(this.host.refused(request, asFault(error)))
    return out
  }
}

/** An error as the log has it. */
export function describe(error: unknown): string {
  if (error instanceof Error) return error.stack ?? error.message
  return JSON.stringify(error)
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return
  Object.freeze(value)
  for (const item of Object.values(value)) deepFreeze(item)
}
