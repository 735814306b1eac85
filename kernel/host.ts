/**
 * The actor's side of the kernel, the same in every placement: it feeds events to the machine one at a time, buffers what a step wants,
 * commits it as one frame, and runs effects.
 *
 *   kernel                     host                          machine / effects
 *   msg, reply, part  ----->   event queue  ---- step --->   (snapshot, commands)
 *   step {ack, out}   <-----   commit       <------------    emit / effect / timer
 *                              effect outcome -> event
 */
import type { Socket } from 'node:net'
import * as Cause from 'effect/Cause'
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import { asFault, fault, isFault } from './errors.ts'
import type { FromActor, Note, Out, ToActor } from './frames.ts'
import { hold, mayBegin, noHolds, release, withdraw } from './holds.ts'
import { createLedger } from './ledger.ts'
import { createRecorder } from './recorder.ts'
import { soon } from './soon.ts'
import { type Command, createStepper, type Snapshot } from './stepper.ts'
import { describe, Steps, type Work } from './steps.ts'
import type { Actor, Delegation, EffectContext, Fault, Outgoing } from './types.ts'
import type { Withdrawn } from './withdrawal.ts'

type Message = Extract<ToActor, { t: 'msg' }>['event']
/** An effect that waits for its step to be durable. */
type Held = { name: string; params: Record<string, unknown>; trace: string | null }
type Running = { abort: AbortController; ref: unknown; request: unknown }

export type HostChannel = {
  send(frame: FromActor): void
  /** Called once the machine has stopped and its effects have ended. */
  stopped(): void
}
export type Host = {
  receive(frame: ToActor): void
  /** A `msg` frame that has nothing but these, when nothing waits behind a socket. True: it is taken, and no acknowledgement follows. */
  deliver(n: number, event: Message, request: number | null): boolean
  /** The same for one that is no request, without going through here. */
  readonly steps: Steps
  /** Hands over a socket whose `msg` frame names it. */
  /** A socket that messages name; null: it was lost on its way. */
  handle(conn: number, socket: Socket | null): void
}

/**
 * @param options.freeze deep-freeze snapshots' context, so that a mutating assign throws. On in development and tests.
 * @param options.withdrawn whether the kernel took a delivery back while it was on its way (withdrawal.ts)
 */
export function createHost(actor: Actor, channel: HostChannel, options: { freeze: boolean; withdrawn: Withdrawn }): Host {
  const stepper = createStepper(actor.machine)
  const recorder = createRecorder(stepper)
  const steps = new Steps(stepper, options.freeze, {
    kind: actor.manifest.kind,
    recorder,
    translated,
    refused,
    commit,
    perform,
    silent: acknowledgeSoon,
  })
  let params: Record<string, unknown> = {}
  let slots: Record<string, number> = {}
  let stopping = false
  let outside: Out[] = []
  /** The last delivery that was handled without anything to say, until the kernel is told. */
  let acknowledging = 0
  let flushing = false
  const timers = new Map<string, NodeJS.Timeout>()
  const running = new Set<Running>()
  const holds = noHolds<Held>()
  const handles = new Map<number, Socket | null>()
  /** Of requests this actor has not answered yet. An effect that names one works for its trace, whatever step began it. */
  const traces = new Map<number, string>()
  const ledger = createLedger(emitOutside)

  /** What effects send is not part of any step; it leaves in one frame per turn of the event loop. */
  function emitOutside(item: Out): void {
    outside.push(item)
    if (!flushing) flushSoon()
  }

  function flushSoon(): void {
    flushing = true
    soon(flush)
  }

  function flush(): void {
    flushing = false
    const out = outside
    outside = []
    if (acknowledging > 0) channel.send({ t: 'step', out, ack: acknowledging })
    else if (out.length > 0) channel.send({ t: 'step', out })
    acknowledging = 0
  }

  function enqueue({ event, trace, after }: Work): void {
    steps.take(event, trace, undefined, null, after)
  }

  function translated(commands: readonly Command[], trace: string | null): Out[] {
    const out: Out[] = []
    for (const command of commands) if (command.do === 'emit') translate(command.message, out, trace)
    return out
  }

  /** For steps with nothing to say: the kernel hears of them all at once. */
  function acknowledgeSoon(ack: number): void {
    acknowledging = ack
    if (!flushing) flushSoon()
  }

  /** A step leaves as one frame; steps with nothing to say share one. What it does outside waits until it is in the log; effects behind it keep their order. */
  function commit(out: Out[], ack: number | undefined, note: Note | null, commands: readonly Command[]): void {
    const frame: Extract<FromActor, { t: 'step' }> = ack === undefined ? { t: 'step', out } : { t: 'step', out, ack }
    if (note) {
      frame.note = note
      const leaves = commands.some((command) => command.do === 'effect' && actor.effects[command.name]?.outside === true)
      if (leaves) frame.hold = hold(holds)
    }
    // It stands for all deliveries before it.
    if (ack !== undefined) acknowledging = 0
    channel.send(frame)
  }

  function refused(request: number, error: Fault): Out {
    traces.delete(request)
    return { t: 'refuse', request, error }
  }

  function translate(message: Outgoing, out: Out[], trace: string | null): void {
    switch (message.type) {
      case 'send': {
        const { to, kind, body, ref, deadlineMs, caps } = message
        const sent: Out = { t: 'send', slot: slotOf(to), kind, body, ...delegated(caps), ...(trace ? { trace } : {}) }
        if (deadlineMs !== undefined) sent.deadlineMs = deadlineMs
        if (ref !== undefined) sent.ref = ledger.openForMachine(ref, kind, (event, after) => enqueue({ event, after, trace }))
        out.push(sent)
        return
      }
      case 'cancel':
        for (const ref of ledger.refsOf(message.ref)) out.push({ t: 'cancel', ref })
        return
      case 'interrupt':
        for (const item of running) if (item.ref === message.ref) item.abort.abort()
        withdraw(holds, ({ params: { ref } }) => ref === message.ref)
        return
      case 'reply':
        traces.delete(message.request)
        ledger.answer(message.request, { t: 'reply', request: message.request, body: message.body, ...delegated(message.caps) }, out)
        return
      case 'refuse':
        traces.delete(message.request)
        ledger.answer(message.request, { t: 'refuse', request: message.request, error: message.error }, out)
        return
      case 'partTo':
        if (ledger.queuePart(message.request, message.body, out) === 'overflow') {
          ledger.finish(message.request)
          out.push({ t: 'refuse', request: message.request, error: fault('overloaded', 'The reader of this stream is too slow.') })
        }
        return
      case 'charge':
        out.push({ t: 'charge', request: message.request, quota: message.quota, amount: message.amount })
        return
      default:
        message satisfies never
    }
  }

  function delegated(caps: readonly Delegation[] | undefined): { caps?: NonNullable<Extract<Out, { t: 'reply' }>['caps']> } {
    if (!caps || caps.length === 0) return {}
    return {
      caps: caps.map(({ slot, limits, reason }) => ({
        slot: slotOf(slot),
        ...(limits ? { limits: mutable(limits) } : {}),
        ...(reason ? { reason } : {}),
      })),
    }
  }

  /** Names resolve here to the number the kernel gave; an unknown name travels as it is and the router refuses it. */
  function slotOf(slot: number | string): number | string {
    return typeof slot === 'string' ? (slots[slot] ?? slot) : slot
  }

  function perform(commands: readonly Command[], trace: string | null): void {
    for (const command of commands) {
      if (command.do === 'effect') {
        const { name, params: wanted } = command
        if (mayBegin(holds, { name, params: wanted, trace })) launch(name, wanted, trace)
      } else if (command.do === 'dropTimer') dropTimer(command.id)
      else if (command.do === 'timer') {
        dropTimer(command.id)
        const { id, event } = command
        timers.set(
          id,
          setTimeout(() => {
            timers.delete(id)
            enqueue({ event, trace })
          }, command.delayMs),
        )
      }
    }
  }

  function dropTimer(id: string): void {
    clearTimeout(timers.get(id))
    timers.delete(id)
  }

  function launch(name: string, input: Record<string, unknown>, stepTrace: string | null): void {
    const spec = actor.effects[name]
    const trace = traces.get(Number(input['request'])) ?? stepTrace
    if (!spec) {
      enqueue({ trace, event: { type: `${name}.crashed`, error: fault('internal', `${actor.manifest.kind} has no effect ${name}.`) } })
      return
    }
    const item: Running = { abort: new AbortController(), ref: input['ref'], request: input['request'] }
    running.add(item)
    const tag = { ...('ref' in input ? { ref: input['ref'] } : {}), ...('request' in input ? { request: input['request'] } : {}) }
    const context = contextFor(trace)
    const program = Effect.suspend(() => spec.run(input, context))
    void Effect.runPromiseExit(program, { signal: item.abort.signal }).then((exit) => {
      running.delete(item)
      if (Exit.isSuccess(exit)) {
        const { type, ...data } = exit.value
        if (!spec.outcomes.includes(type)) context.log('error', `effect ${name} ended in undeclared outcome ${type}`)
        enqueue({ trace, event: { ...data, ...tag, type: `${name}.${type}` } })
      } else if (!item.abort.signal.aborted) {
        const cause = Cause.squash(exit.cause)
        context.log('error', `effect ${name} crashed: ${describe(cause)}`)
        enqueue({ trace, event: { ...tag, type: `${name}.crashed`, error: asFault(cause) } })
      }
      if (stopping) finishStopping()
    })
  }

  const contextFor = (trace: string | null): EffectContext => ({
    get params() {
      return params
    },
    trace,
    request: (to, kind, body, requestOptions = {}) =>
      Effect.callback<{ body: unknown; caps: readonly number[] }, Fault>((resume) => {
        const ref = ledger.openForEffect({
          ok: (reply) => resume(Effect.succeed(reply)),
          failed: (error) => resume(Effect.fail(error)),
          part: async (part) => requestOptions.onPart?.(part),
        })
        const { deadlineMs, trace: own = trace } = requestOptions
        emitOutside({
          t: 'send',
          slot: slotOf(to),
          kind,
          body,
          ref,
          ...(own ? { trace: own } : {}),
          ...(deadlineMs === undefined ? {} : { deadlineMs }),
          ...delegated(requestOptions.caps),
        })
        return Effect.sync(() => {
          if (ledger.drop(ref)) emitOutside({ t: 'cancel', ref })
        })
      }),
    send: (to, kind, body) => emitOutside({ t: 'send', slot: slotOf(to), kind, body, ...(trace ? { trace } : {}) }),
    part: (request, body) => ledger.sendPart(request, body),
    charge: (request, quota, amount) => emitOutside({ t: 'charge', request, quota, amount }),
    raise: (event, own) => enqueue({ event, trace: own ?? trace }),
    log: (level, message, data) => emitOutside({ t: 'log', level, message, ...(data ? { data } : {}) }),
    takeHandle(conn) {
      const socket = handles.get(conn)
      if (!socket) throw new Error(`no handle ${conn}`)
      handles.delete(conn)
      return socket
    },
  })

  function start(frame: Extract<ToActor, { t: 'start' }>): void {
    params = frame.params
    slots = frame.slots
    const input = { params, slots: Object.keys(slots) }
    const commands = steps.start(input)
    const out = translated(commands, null)
    steps.noting = frame.transcript !== null
    const note = frame.transcript === null ? null : recorder.start(input, steps.snapshot as Snapshot, commands, frame.transcript)
    if (out.length > 0 || note) commit(out, undefined, note, commands)
    perform(commands, null)
  }

  /** Frames wait behind a `msg` whose socket has not arrived yet: the two travel on different channels. */
  const waiting: ToActor[] = []

  function receive(frame: ToActor): void {
    if (waiting.length > 0 || (frame.t === 'msg' && frame.handle !== undefined && !handles.has(frame.handle))) {
      waiting.push(frame)
      steps.blocked = true
    } else accept(frame)
  }

  function handle(n: number, event: Message, request: number | null, trace: string | null): boolean {
    if (request !== null) ledger.accept(request)
    if (request !== null && trace !== null) traces.set(request, trace)
    return steps.take(event, trace, n, request)
  }

  /** It was revoked on its way: not begun, and the kernel tells whoever sent it. */
  function giveBack({ n, handle: conn }: Extract<ToActor, { t: 'msg' }>): void {
    if (conn !== undefined) handles.get(conn)?.destroy()
    if (conn !== undefined) handles.delete(conn)
    // It stands for all deliveries before it.
    acknowledging = 0
    channel.send({ t: 'step', out: [], ack: n, untaken: true })
  }

  function accept(frame: ToActor): void {
    switch (frame.t) {
      case 'start':
        return start(frame)
      case 'msg':
        if (frame.revocable && options.withdrawn(frame.n)) return giveBack(frame)
        if (handle(frame.n, frame.event, frame.event.from.request, frame.trace ?? null)) acknowledgeSoon(frame.n)
        return
      case 'reply':
        return ledger.replied(frame.ref, frame.body, frame.caps)
      case 'refuse':
        return ledger.refused(frame.ref, isFault(frame.error) ? frame.error : asFault(frame.error))
      case 'part':
        return ledger.part(frame.ref, frame.body)
      case 'credit':
        return ledger.credit(frame.request, frame.n)
      case 'cancel':
        ledger.finish(frame.request)
        for (const item of running) if (item.request === frame.request) item.abort.abort()
        withdraw(holds, ({ params: { request } }) => request === frame.request)
        enqueue({ event: { type: 'cancelled', request: frame.request }, trace: traces.get(frame.request) ?? null })
        return void traces.delete(frame.request)
      case 'durable':
        for (const { name, params: input, trace } of release(holds, frame.hold)) launch(name, input, trace)
        if (stopping) finishStopping()
        return
      case 'slots':
        slots = frame.slots
        return
      case 'stop':
        stopping = true
        if (steps.snapshot) enqueue({ event: { type: 'stopping' }, trace: null })
        return finishStopping()
      default:
        frame satisfies never
    }
  }

  /** Effects that the machine started to wind down get to end; the kernel kills the actor when that takes too long. */
  function finishStopping(): void {
    if (actor.manifest.lingers !== true) {
      for (const item of running) item.abort.abort()
      withdraw(holds, () => true)
    }
    if (running.size > 0 || holds.waiting.length > 0) return
    for (const id of timers.keys()) dropTimer(id)
    queueMicrotask(() => channel.stopped())
  }

  return {
    receive,
    steps,
    deliver(n, event, request) {
      if (waiting.length === 0) return handle(n, event, request, null)
      waiting.push({ t: 'msg', n, event, revocable: true })
      return false
    },
    handle(conn, socket) {
      handles.set(conn, socket)
      while (waiting[0] && !(waiting[0].t === 'msg' && waiting[0].handle !== undefined && !handles.has(waiting[0].handle)))
        accept(waiting.shift() as ToActor)
      steps.blocked = waiting.length > 0
    },
  }
}

function mutable<T>(value: T): { -readonly [K in keyof T]: T[K] extends readonly (infer I)[] | undefined ? I[] : T[K] } {
  return value as never
}
