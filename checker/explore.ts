/**
 * Breadth-first exploration of one actor's production machine: every order of stimuli, effect outcomes, timers and replies its model allows.
 * Breadth first, so that the first path to a violation is a shortest one.
 *
 * Built-in properties, besides the model's own: no step throws; no request is answered twice or by a number that is not open; nothing ends
 * in a state where nothing can happen unless the model says it may.
 */
import { createStepper, type Step, type Stepper } from '../kernel/stepper.ts'
import type { Outgoing } from '../kernel/types.ts'
import type { Event, Explored, Model } from './model.ts'

export type Trace = { event: Event; value: unknown; out: readonly Outgoing[] }[]
export type Violation = {
  property: string
  kind: 'always' | 'steps' | 'sometimes' | 'deadlock' | 'crash' | 'answers'
  detail?: string
  trace: Trace
}
export type CheckResult = {
  actor: string
  states: number
  transitions: number
  depth: number
  /** False when a limit stopped the search: then nothing is proved beyond what was seen. */
  complete: boolean
  properties: { name: string; kind: 'always' | 'steps' | 'sometimes'; held: boolean }[]
  violations: Violation[]
  ms: number
}

export type CheckLimits = {
  maxStates: number
  onProgress?: (states: number, depth: number) => void
  /** What steps the machine. Default: what runs in production. */
  stepper?: (machine: Model['machine']) => Stepper
}

type Node = { state: Explored<unknown>; parent: number; event: Event | null; out: readonly Outgoing[]; depth: number }
type Stepped = { next: Explored<unknown>; out: readonly Outgoing[]; problem: Violation['detail'] | null; kind: 'crash' | 'answers' }

export function check(model: Model, limits: CheckLimits = { maxStates: 1_000_000 }): CheckResult {
  const started = performance.now()
  const stepper = (limits.stepper ?? createStepper)(model.machine)
  const nodes: Node[] = []
  const seen = new Map<string, number>()
  const violations: Violation[] = []
  const broken = new Set<string>()
  const reached = new Set<string>()
  let transitions = 0
  let complete = true

  const traceTo = (index: number, last?: { event: Event; value: unknown; out: readonly Outgoing[] }): Trace => {
    const trace: Trace = last ? [last] : []
    for (let at = index; at >= 0; at = (nodes[at] as Node).parent) {
      const { event, state, out } = nodes[at] as Node
      if (event) trace.unshift({ event, value: state.value, out })
    }
    return trace
  }
  const violate = (kind: Violation['kind'], property: string, trace: Trace, detail?: string): void => {
    if (broken.has(property)) return
    broken.add(property)
    violations.push({ kind, property, trace, ...(detail ? { detail } : {}) })
  }
  const visit = (state: Explored<unknown>, parent: number, event: Event | null, out: readonly Outgoing[]): void => {
    const key = keyOf(model, state)
    if (seen.has(key)) return
    const index = nodes.length
    seen.set(key, index)
    nodes.push({ state, parent, event, out, depth: parent < 0 ? 0 : (nodes[parent] as Node).depth + 1 })
    for (const [name, holds] of Object.entries(model.always)) if (!holds(state)) violate('always', name, traceTo(index))
    for (const [name, holds] of Object.entries(model.sometimes)) if (!reached.has(name) && holds(state)) reached.add(name)
  }

  const first = stepper.initial(model.input)
  const empty: Explored<unknown> = {
    snapshot: first.snapshot,
    value: first.snapshot.value,
    context: first.snapshot.context,
    pending: [],
    open: [],
    sent: {},
  }
  visit(absorb(empty, first, null).next, -1, null, [])

  for (let index = 0; index < nodes.length; index++) {
    const { state, depth } = nodes[index] as Node
    if (nodes.length >= limits.maxStates) {
      complete = false
      break
    }
    if (index % 5000 === 0) limits.onProgress?.(nodes.length, depth)
    const moves = movesOf(model, state)
    if (moves.length === 0 && !(model.mayEnd?.(state) ?? false))
      violate('deadlock', 'no deadlock', traceTo(index), `nothing can happen in ${JSON.stringify(state.value)}`)
    for (const { event, before } of moves) {
      transitions++
      let stepped: Stepped
      try {
        freeze(before.snapshot.context)
        stepped = absorb(before, stepper.step(before.snapshot, event), event)
      } catch (error) {
        violate(
          'crash',
          'no step throws',
          traceTo(index, { event, value: '(threw)', out: [] }),
          error instanceof Error ? error.message : String(error),
        )
        continue
      }
      const { next, out, problem, kind } = stepped
      if (problem)
        violate(
          kind,
          'every request is answered at most once, and only if it is open',
          traceTo(index, { event, value: next.value, out }),
          problem,
        )
      for (const [name, holds] of Object.entries(model.steps ?? {}))
        if (!holds(state, event, next, out)) violate('steps', name, traceTo(index, { event, value: next.value, out }))
      visit(next, index, event, out)
    }
  }

  if (complete)
    for (const name of Object.keys(model.sometimes)) if (!reached.has(name)) violate('sometimes', name, [], 'no state satisfies it')
  const listed = (kind: 'always' | 'steps' | 'sometimes', names: object) =>
    Object.keys(names).map((name) => ({ name, kind, held: kind === 'sometimes' ? reached.has(name) : !broken.has(name) }))
  return {
    actor: model.actor,
    states: nodes.length,
    transitions,
    depth: nodes.at(-1)?.depth ?? 0,
    complete,
    properties: [...listed('always', model.always), ...listed('steps', model.steps ?? {}), ...listed('sometimes', model.sometimes)],
    violations,
    ms: performance.now() - started,
  }
}

/** Everything that may happen next, with the state as it is right before the machine sees the event. */
function movesOf(model: Model, state: Explored<unknown>): { event: Event; before: Explored<unknown> }[] {
  const moves: { event: Event; before: Explored<unknown> }[] = []
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
      before: {
        ...settled,
        sent: stimulus.times === Number.POSITIVE_INFINITY ? state.sent : { ...state.sent, [stimulus.name]: count + 1 },
        open: answered ? [...settled.open, request].toSorted((a, b) => a - b) : settled.open,
      },
    })
  }
  for (const [index, pending] of state.pending.entries()) {
    const without = { ...state, pending: state.pending.filter((_, other) => other !== index) }
    if (pending.what === 'timer') moves.push({ event: pending.event, before: without })
    else if (pending.what === 'request')
      for (const event of model.replies?.(pending, state) ?? [
        { type: 'refused', ref: pending.ref, kind: pending.kind, error: { code: 'actor-down', message: '', remedy: '' } },
      ])
        moves.push({ event, before: without })
    else
      for (const { event, ends } of model.effects[pending.name]?.(pending.params as never, state) ?? []) {
        const { ref, request } = pending.params
        const tagged = { ...(ref === undefined ? {} : { ref }), ...(request === undefined ? {} : { request }), ...event }
        moves.push({ event: tagged, before: ends ? without : state })
      }
  }
  return moves
}

/** The runtime interrupts the effects of a cancelled request, and nobody waits for its answer, before the machine hears of it. */
function cancelled(state: Explored<unknown>, request: unknown): Explored<unknown> {
  return {
    ...state,
    pending: state.pending.filter((item) => item.what !== 'effect' || item.params['request'] !== request),
    open: state.open.filter((other) => other !== request),
  }
}

/** Applies what a step asked for to what is pending. */
function absorb(before: Explored<unknown>, step: Step, event: Event | null): Stepped {
  let pending = [...before.pending]
  let open = before.open
  let problem: string | null = null
  const out: Outgoing[] = []
  for (const command of step.commands) {
    if (command.do === 'effect') pending.push({ what: 'effect', name: command.name, params: command.params })
    else if (command.do === 'dropTimer') pending = pending.filter((item) => item.what !== 'timer' || item.id !== command.id)
    else if (command.do === 'timer') {
      pending = pending.filter((item) => item.what !== 'timer' || item.id !== command.id)
      pending.push({ what: 'timer', id: command.id, event: command.event })
    } else {
      const { message } = command
      out.push(message)
      if (message.type === 'send' && message.ref !== undefined)
        pending.push({ what: 'request', ref: message.ref, kind: message.kind, to: message.to, body: message.body })
      else if (message.type === 'interrupt')
        pending = pending.filter((item) => item.what !== 'effect' || item.params['ref'] !== message.ref)
      else if (message.type === 'cancel') pending = pending.filter((item) => item.what !== 'request' || item.ref !== message.ref)
      else if (message.type === 'reply' || message.type === 'refuse') {
        if (!open.includes(message.request)) problem = `${message.type} to request ${message.request}, which is not open`
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
  return { next: { ...before, snapshot, value: snapshot.value, context: snapshot.context, pending, open }, out, problem, kind: 'answers' }
}

/** States that differ only in request numbers already answered, or in what the model projects away, are one state. */
function keyOf(model: Model, state: Explored<unknown>): string {
  const { value, context, pending, open, sent } = state
  const kept = model.projectPending
    ? pending.map((item) => model.projectPending?.(item, state)).filter((item) => item !== undefined)
    : pending
  const projected = kept.map((item) => JSON.stringify(item, sorted))
  // Under a projection two alike do what one does, twice; without one nothing is alike.
  const items = (model.projectPending ? [...new Set(projected)] : projected).toSorted()
  return JSON.stringify([value, model.project ? model.project(context) : context, items, open, sent], sorted)
}

/** JSON with keys in one order: assign builds objects in many. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const item of Object.values(value)) freeze(item)
}
