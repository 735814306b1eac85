/**
 * Whether a run was a path of the model. The message log has every event each machine saw; here the model's own rules are asked of them:
 *
 *   could it happen?    an outcome only of an effect that was running, a timer that was set, an answer to a request that was open,
 *                       a cancel of what had not been answered, a message the actor's protocol knows
 *   was it right?       the machine of today steps the same way, answers what is open once, and keeps each property of the model that
 *                       speaks of any run (`Model.onlyHere` names those that speak of the model's own numbers)
 *
 * Values are not compared: the model plays a few, production has them all.
 */
import { encode } from '../kernel/transcript.ts'
import { createStepper } from '../kernel/stepper.ts'
import type { Actor } from '../kernel/types.ts'
import { absorb, cancelled, emptyLocal, type Local } from './local.ts'
import type { Event, Model } from './model.ts'

export type RunLine = { n: number; event: Event; value: string; error: string | null }
export type Run = { actor: string; kind: string; span: number; input?: unknown; fromSnapshot: boolean; lines: Iterable<RunLine> }
export type Conformance =
  | { actor: string; span: number; steps: number; conforms: true }
  | { actor: string; span: number; steps: number; conforms: false; n: number; event: string; why: string }
  /** No model, or a beginning that the log does not have. */
  | { actor: string; span: number; steps: 0; conforms: null; why: string }

export function conform(run: Run, actor: Actor, model: Model): Conformance {
  const { actor: id, span } = run
  if (run.fromSnapshot || run.input === undefined)
    return { actor: id, span, steps: 0, conforms: null, why: 'it goes on from a snapshot, and what was pending then is not in the log' }
  const stepper = createStepper(actor.machine)
  const properties = Object.entries(model.always).filter(([name]) => !model.onlyHere?.includes(name))
  const crossings = Object.entries(model.steps ?? {}).filter(([name]) => !model.onlyHere?.includes(name))
  let local: Local | null = null
  let steps = 0
  for (const line of run.lines) {
    const fails = (why: string): Conformance => ({ actor: id, span, steps, conforms: false, n: line.n, event: line.event.type, why })
    if (local === null) {
      const first = stepper.initial(run.input)
      local = absorb(emptyLocal(first), first, null).next
      steps++
      continue
    }
    const before = admit(local, line.event, actor)
    if (typeof before === 'string') return fails(before)
    if (line.error !== null) {
      // A step that threw left nothing behind, then as in the model.
      steps++
      continue
    }
    let stepped: ReturnType<typeof absorb>
    try {
      stepped = absorb(before, stepper.step(before.snapshot, line.event), line.event)
    } catch (error) {
      return fails(`the step throws now: ${error instanceof Error ? error.message : String(error)}`)
    }
    if (stepped.problem) return fails(stepped.problem.detail ?? stepped.problem.property)
    const value = encode(stepped.next.value, null)
    if (value !== line.value) return fails(`the machine is in ${value} now; then it was in ${line.value}`)
    for (const [name, holds] of crossings) if (!holds(before, line.event, stepped.next, stepped.out)) return fails(`it breaks "${name}"`)
    for (const [name, holds] of properties) if (!holds(stepped.next)) return fails(`it leads to a state that breaks "${name}"`)
    local = stepped.next
    steps++
  }
  return { actor: id, span, steps, conforms: true }
}

/** The state right before the machine sees the event, or why the event cannot come now. */
function admit(local: Local, event: Event, actor: Actor): Local | string {
  const { type } = event
  const ref = event['ref']
  if (Object.hasOwn(actor.protocol, type)) {
    const request = (event['from'] as { request?: unknown } | undefined)?.request
    if (typeof request !== 'number') return local
    if (local.open.includes(request)) return `request ${request} is open already`
    return { ...local, open: [...local.open, request].toSorted((a, b) => a - b) }
  }
  if (type === 'stopping') return local
  if (type === 'cancelled') {
    // It may cross the answer on its way: then it finds nothing, as the runtime says it may.
    return cancelled(local, event['request'])
  }
  if (type === 'replied' || type === 'refused' || type === 'part') {
    const index = local.pending.findIndex((item) => item.what === 'request' && item.ref === ref)
    if (index < 0) return `no request "${String(ref)}" is open`
    return type === 'part' ? local : without(local, index)
  }
  const timer = local.pending.findIndex((item) => item.what === 'timer' && item.event.type === type)
  if (timer >= 0) return without(local, timer)
  if (type.startsWith('xstate.after')) return 'that timer is not set'
  const [name = ''] = type.split('.')
  const outcome = type.slice(name.length + 1)
  const spec = actor.effects[name]
  const running = local.pending.findIndex(
    (item) =>
      item.what === 'effect' &&
      item.name === name &&
      (item.params['ref'] === undefined || item.params['ref'] === ref) &&
      (item.params['request'] === undefined || item.params['request'] === event['request']),
  )
  const ends = spec !== undefined && (outcome === 'crashed' || spec.outcomes.includes(outcome))
  if (ends) return running < 0 ? `no effect ${name} is running that could end so` : without(local, running)
  // What effects raise on their way has names of its own; some effect has to be running.
  return local.pending.some((item) => item.what === 'effect') ? local : `nothing is running that could raise ${type}`
}

function without(local: Local, index: number): Local {
  return { ...local, pending: local.pending.toSpliced(index, 1) }
}
