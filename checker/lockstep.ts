/**
 * Whether two machines can be told apart at a model's bounds. Both take the same steps side by side, and each pair of states that is reached so
 * is looked at once: what its model's properties say of the two, what may happen to them, and what each does of it.
 *
 * A machine does one thing at an event, and what may happen is what both were asked for, in the order in which they asked: a pair at which
 * nothing differs, and all that follows it, is a bisimulation. Not seen are the names of states and what the context holds, as long as neither
 * a property nor anything that leaves the machine tells of it.
 */
import type { AnyStateMachine } from 'xstate'
import { createStepper, type Step, type Stepper } from '../kernel/stepper.ts'
import { absorb, emptyLocal, keyOf, type Local, type Move, movesOf, type Stepped } from './local.ts'
import type { Event, Model } from './model.ts'
import { canonical } from './product.ts'

/** Where two machines part: the shortest way there, and what differs at its end. */
export type Difference = { way: readonly string[]; what: string }
export type Comparison =
  | { verdict: 'equal'; pairs: number }
  | { verdict: 'different'; pairs: number; difference: Difference }
  /** Every pair up to the limit is alike, and there are more. */
  | { verdict: 'unknown'; pairs: number }

type Pair = { one: Local; other: Local; from: number; by: string }

export function compareMachines(model: Model, machine: AnyStateMachine, maxPairs: number): Comparison {
  const mine = createStepper(model.machine as AnyStateMachine)
  const theirs = createStepper(machine)
  const said = observer(model)
  const ofSteps = stepObserver(model)
  const pairs: Pair[] = []
  const known = new Set<string>()
  const reach = (one: Local, other: Local, from: number, by: string): void => {
    const key = `${keyOf(model, one)}\n${keyOf(model, other)}`
    if (known.has(key)) return
    known.add(key)
    pairs.push({ one, other, from, by })
  }
  const different = (at: number, last: string | null, what: string): Comparison => {
    const way = last === null ? [] : [last]
    for (let pair = pairs[at]; pair && pair.from >= 0; pair = pairs[pair.from]) way.unshift(pair.by)
    return { verdict: 'different', pairs: pairs.length, difference: { way, what } }
  }

  const begun = [mine, theirs].map((stepper) => tried(() => stepper.initial(model.input), emptyLocal, null)) as [Tried, Tried]
  const atStart = parted(begun)
  if (atStart !== null) return different(-1, null, atStart)
  reach(begun[0].stepped.next, begun[1].stepped.next, -1, '')
  for (let at = 0; at < pairs.length; at++) {
    if (pairs.length > maxPairs) return { verdict: 'unknown', pairs: pairs.length }
    const { one, other } = pairs[at] as Pair
    const properties = said(one, other)
    if (properties !== null) return different(at, null, properties)
    const [moves, others] = [one, other].map((state) => movesOf(model, state, () => false, false)) as [Move[], Move[]]
    for (const [index, move] of moves.entries()) {
      const same = others[index]
      if (!same || textOf(same) !== textOf(move)) return different(at, null, `${move.label} may happen to one of them`)
      const took = [stepFrom(mine, move), stepFrom(theirs, same)] as [Tried, Tried]
      const differs = parted(took) ?? ofSteps([move, same], took)
      if (differs !== null) return different(at, move.label, differs)
      if (took[0].threw === null) reach(took[0].stepped.next, took[1].stepped.next, at, move.label)
    }
    if (others.length > moves.length) return different(at, null, `${others[moves.length]?.label} may happen to one of them`)
  }
  return { verdict: 'equal', pairs: pairs.length }
}

const textOf = ({ label, source, event }: Move): string => canonical([label, source, event])

/** `left`: what left the machine or was asked of the runtime, as far as it makes a difference to them. */
type Tried = { stepped: Stepped; left: readonly string[]; threw: string | null }

const stepFrom = (stepper: Stepper, { before, event }: Move): Tried =>
  tried(
    () => stepper.step(before.snapshot, event as never),
    () => before,
    event,
  )

function tried(step: () => Step, before: (step: Step) => Local, event: Event | null): Tried {
  try {
    const made = step()
    const was = before(made)
    const stepped = absorb(was, made, event)
    return { stepped, left: leftBy(made, was, event), threw: null }
  } catch (error) {
    const threw = error instanceof Error ? error.message : String(error)
    return { stepped: null as never, left: [], threw }
  }
}

function parted([one, other]: [Tried, Tried]): string | null {
  if (one.threw !== null || other.threw !== null)
    return one.threw === other.threw ? null : `one of them throws: ${one.threw ?? other.threw}`
  const [mine, theirs] = [one.left, other.left]
  const index = mine.findIndex((text, at) => text !== theirs[at])
  if (index >= 0) return `${mine[index]} is not what the other does${theirs[index] === undefined ? '' : `, which is ${theirs[index]}`}`
  return theirs.length > mine.length ? `only the other does ${theirs[mine.length]}` : null
}

/** A command that finds nothing to act upon is none: a timer that is not set is not dropped, and nobody hears an answer he does not wait for. */
function leftBy({ commands, handled }: Step, before: Local, event: Event | null): string[] {
  const left: string[] = []
  const timers = new Set(before.pending.flatMap((item) => (item.what === 'timer' ? [item.id] : [])))
  const refs = new Set(before.pending.flatMap((item) => (item.what === 'timer' ? [] : [refOf(item)])))
  for (const command of commands) {
    if (command.do === 'timer') timers.add(command.id)
    else if (command.do === 'dropTimer') {
      if (!timers.delete(command.id)) continue
    } else if (command.do === 'effect') refs.add(String(command.params['ref']))
    else {
      const { message } = command
      if (message.type === 'send' && message.ref !== undefined) refs.add(message.ref)
      if ((message.type === 'interrupt' || message.type === 'cancel') && !refs.has(message.ref)) continue
      if ((message.type === 'reply' || message.type === 'refuse') && message.request < 0) continue
    }
    left.push(canonical(command))
  }
  // A request that is ignored is refused by the runtime; nobody learns whether anything else was.
  if (!handled && event !== null && 'from' in event) left.push('a refusal, because it takes no notice')
  return left
}

const refOf = (item: Exclude<Local['pending'][number], { what: 'timer' }>): string =>
  item.what === 'request' ? item.ref : String(item.params['ref'])

/** What the properties of a model say of two states: the first about which they say different things. */
function observer(model: Model): (one: Local, other: Local) => string | null {
  const asked = [model.always, model.sometimes, model.eventually, model.possible].flatMap((group) => Object.entries(group ?? {}))
  for (const [name, { from, to }] of Object.entries(model.leadsTo ?? {})) asked.push([`${name} (from)`, from], [`${name} (to)`, to])
  if (model.mayEnd) asked.push(['it may end here', model.mayEnd])
  if (model.takes) asked.push(['it takes every message', model.takes])
  return (one, other) => {
    const found = asked.find(([, holds]) => holds(one) !== holds(other))
    return found ? `"${found[0]}" holds in one of them` : null
  }
}

function stepObserver(model: Model): (moves: readonly [Move, Move], took: readonly [Tried, Tried]) => string | null {
  const asked = Object.entries(model.steps ?? {})
  return (moves, took) => {
    if (took[0].threw !== null) return null
    const holds = (steps: (typeof asked)[number][1], which: 0 | 1): boolean =>
      steps(moves[which].before, moves[which].event, took[which].stepped.next, took[which].stepped.out)
    const found = asked.find(([, steps]) => holds(steps, 0) !== holds(steps, 1))
    return found ? `"${found[0]}" holds of one of them` : null
  }
}
