/**
 * One actor's own part of a composition: what its machine and everything the runtime keeps for it may do next, whoever it talks to.
 *
 *   events from around it   stimuli, outcomes of effects, timers, answers of those outside the composition, deliveries
 *   one step                the production stepper
 *   what the runtime does   keeps effects, timers and requests pending; interrupts; refuses what the machine ignores
 */
import { noRequest } from '../kernel/index.ts'
import type { Step, Stepper } from '../kernel/stepper.ts'
import type { Outgoing } from '../kernel/types.ts'
import type { Event, Explored, Model, Pending } from './model.ts'
import { canonical, type Problem } from './product.ts'

export type Local = Explored<unknown>

/** Something that may happen to the actor, with its state as it is right before the machine sees the event. */
export type Move = {
  event: Event
  before: Local
  label: string
  /** What fairness is said of: `effect runVm`, `timer`, `reply exec`, `stimulus attach`. */
  source: string
  /** Progress that does not end the effect may never come. */
  certain: boolean
  /** It comes of what the model projects away, which another state of the same class may lack: a step only if it changes something. */
  extra?: true
  /** The request (to an actor of the composition) that the kernel gave up with this event. */
  gaveUp?: Extract<Pending, { what: 'request' }>
}
export type Stepped = { next: Local; out: readonly Outgoing[]; handled: boolean; problem: Problem | null }

export const emptyLocal = (step: Step): Local => ({
  snapshot: step.snapshot,
  value: step.snapshot.value,
  context: step.snapshot.context as unknown,
  pending: [],
  open: [],
  sent: {},
})

/**
 * Everything but deliveries.
 * @param inside whether a request goes to an actor of the composition, which then answers itself
 * @param deadlines whether the kernel may give up requests that have a deadline
 */
export function movesOf(model: Model, state: Local, inside: (pending: Pending) => boolean, deadlines: boolean): Move[] {
  const moves: Move[] = []
  for (const [index, stimulus] of model.stimuli.entries()) {
    const count = state.sent[stimulus.name] ?? 0
    if (count >= (stimulus.times ?? 1) || stimulus.when?.(state) === false) continue
    const answered = stimulus.request ?? true
    // Named by what sent it, not by when: paths that differ only in order of arrival can meet again.
    const request = 100 * (index + 1) + count
    const event = stimulus.event(state, request)
    const settled = event.type === 'cancelled' ? cancelled(state, event['request']) : state
    moves.push({
      event,
      label: stimulus.name,
      source: `stimulus ${stimulus.name}`,
      certain: true,
      before: {
        ...settled,
        sent: stimulus.times === Number.POSITIVE_INFINITY ? state.sent : { ...state.sent, [stimulus.name]: count + 1 },
        open: answered ? [...settled.open, request].toSorted((a, b) => a - b) : settled.open,
      },
    })
  }
  const kept = keptPending(model, state)
  for (const [index, pending] of state.pending.entries()) {
    const isFirst = kept[index] !== null && kept.indexOf(kept[index] as string) === index
    const extra = model.projectPending && !isFirst ? { extra: true as const } : {}
    const before = { ...state, pending: state.pending.filter((_, other) => other !== index) }
    if (pending.what === 'timer')
      moves.push({ event: pending.event, before, label: `timer ${pending.id}`, source: 'timer', certain: true, ...extra })
    else if (pending.what === 'request') {
      if (inside(pending)) {
        if (deadlines && pending.deadline !== false)
          moves.push({
            event: refusal(pending, 'deadline'),
            before,
            label: `deadline of ${pending.kind}`,
            source: 'deadline',
            certain: false,
            gaveUp: pending,
          })
        continue
      }
      const answers = pending.cancelled
        ? [refusal(pending, 'cancelled')]
        : (model.replies?.(pending, state) ?? [refusal(pending, 'actor-down')])
      for (const event of answers)
        moves.push({ event, before, label: `${pending.kind} ${event.type}`, source: `reply ${pending.kind}`, certain: true, ...extra })
    } else
      for (const { event, ends } of model.effects[pending.name]?.(pending.params as never, state) ?? []) {
        const { ref, request } = pending.params
        const tagged = { ...(ref === undefined ? {} : { ref }), ...(request === undefined ? {} : { request }), ...event }
        moves.push({
          event: tagged,
          before: ends ? before : state,
          label: event.type,
          source: `effect ${pending.name}${model.apart ? ` ${model.apart(pending.params, pending.name, state)}`.trimEnd() : ''}`,
          certain: ends,
          ...extra,
        })
      }
  }
  return moves
}

function refusal({ ref, kind }: { ref: string; kind: string }, code: string): Event {
  return { type: 'refused', ref, kind, error: { code, message: '', remedy: '' } }
}

/** The runtime interrupts the effects of a cancelled request, and nobody waits for its answer, before the machine hears of it. */
export function cancelled(state: Local, request: unknown): Local {
  return {
    ...state,
    pending: state.pending.filter((item) => item.what !== 'effect' || item.params['request'] !== request),
    open: state.open.filter((other) => other !== request),
  }
}

/** One step of the machine; what throws is a problem, not an exception. */
export function take(stepper: Stepper, move: { event: Event; before: Local }): Stepped {
  const { event, before } = move
  try {
    freeze(before.snapshot.context)
    return absorb(before, stepper.step(before.snapshot, event), event)
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return { next: before, out: [], handled: true, problem: { kind: 'crash', property: 'no step throws', detail } }
  }
}

/** Applies what a step asked for to what is pending. */
export function absorb(before: Local, step: Step, event: Event | null): Stepped {
  let pending = [...before.pending]
  let open = before.open
  let problem: Problem | null = null
  const out: Outgoing[] = []
  for (const command of step.commands) {
    if (command.do === 'effect') pending.push(frozen({ what: 'effect', name: command.name, params: command.params }))
    else if (command.do === 'dropTimer') pending = pending.filter((item) => item.what !== 'timer' || item.id !== command.id)
    else if (command.do === 'timer') {
      pending = pending.filter((item) => item.what !== 'timer' || item.id !== command.id)
      pending.push(frozen({ what: 'timer', id: command.id, event: command.event }))
    } else {
      const { message } = command
      out.push(message)
      if (message.type === 'send' && message.ref !== undefined)
        pending.push({
          what: 'request',
          ref: message.ref,
          kind: message.kind,
          to: message.to,
          body: message.body,
          ...(message.deadlineMs === null ? { deadline: false as const } : {}),
        })
      else if (message.type === 'interrupt')
        pending = pending.filter((item) => item.what !== 'effect' || item.params['ref'] !== message.ref)
      // The kernel answers `cancelled` once the target is told.
      else if (message.type === 'cancel')
        pending = pending.map((item) =>
          item.what === 'request' && item.ref === message.ref ? { ...item, cancelled: true as const } : item,
        )
      else if (message.type === 'reply' || message.type === 'refuse') {
        // An answer to nobody goes nowhere, as in the runtime.
        if (message.request !== noRequest && !open.includes(message.request))
          problem = {
            kind: 'answers',
            property: 'every request is answered at most once, and only if it is open',
            detail: `${message.type} to request ${message.request}, which is not open`,
          }
        open = open.filter((request) => request !== message.request)
      }
    }
  }
  // What the runtime does by itself: it refuses a request the machine ignored.
  if (!step.handled && event && 'from' in event) {
    const { request } = event['from'] as { request: number | null }
    open = open.filter((other) => other !== request)
  }
  const { snapshot } = step
  const context = frozen(snapshot.context as unknown)
  return { next: { ...before, snapshot, value: snapshot.value, context, pending, open }, out, handled: step.handled, problem }
}

/** What the model keeps of each thing that is pending, as text; null: nothing. */
function keptPending(model: Model, state: Local): (string | null)[] {
  return state.pending.map((item) => {
    const kept = !model.projectPending || (item.what === 'request' && item.request !== undefined) ? item : model.projectPending(item, state)
    return kept === undefined ? null : canonical(kept)
  })
}

/** States that differ only in request numbers already answered, or in what the model projects away, are one state. */
export function keyOf(model: Model, state: Local): string {
  const { value, context, open, sent, generations } = state
  const projected = keptPending(model, state).filter((item) => item !== null)
  // Under a projection two alike do what one does, twice; without one nothing is alike.
  const items = (model.projectPending ? [...new Set(projected)] : projected).toSorted()
  return canonical([value, model.project ? (model.project(context) as unknown) : context, items, open, sent, generations])
}

/** What is frozen is written to text once (`canonical`). */
function frozen<T>(value: T): T {
  freeze(value)
  return value
}

function freeze(value: unknown): void {
  // Bytes cannot be frozen; production runs have them.
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return
  Object.freeze(value)
  for (const item of Object.values(value)) freeze(item)
}
