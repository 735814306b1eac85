/**
 * The message log and the journal, and a crash at any instant between a step, its line, what it sends and what it does outside.
 *
 *   outside --message--> front --append--> journal   (acknowledged when it is on the disk)
 *                        front <-replied-- journal
 *                        front --show--> back --effect--> outside   (begins when the log has the step)
 *
 * What an actor does with its steps is production code (stepper, recorder, holds), and so is taking them again (`retake`). Pipes, mailboxes and
 * both disks are variables: what a process holds is gone when it ends, what was committed is not, and a power cut takes the last moments of the
 * message log, which is not fsynced (ADR 11). The kernel's part is the order in which lifecycle.ts takes a frame apart: the line is added,
 * somebody is to be told, what it sends goes on; and message-log.ts tells after it has committed.
 */
import { assign, emit, enqueueActions, setup } from 'xstate'
import { type Holds, hold, mayBegin, noHolds, release, withdraw } from '../../kernel/holds.ts'
import { createRecorder } from '../../kernel/recorder.ts'
import { retake } from '../../kernel/replay.ts'
import { type Command, createStepper, type Persisted, type Snapshot, type Stepper } from '../../kernel/stepper.ts'
import type { Outgoing } from '../../kernel/types.ts'
import { guarded } from '../guarded.ts'
import { canonical, type Product } from '../product.ts'

type Name = 'front' | 'back'
type Numbered = { type: string; body: { n: number } }

const front = setup({
  types: {} as { context: { seen: readonly number[] }; events: Numbered; emitted: Outgoing },
  actions: {
    keep: emit(({ event }): Outgoing => ({ type: 'send', to: 'journal', kind: 'append', body: event.body, ref: String(event.body.n) })),
    show: enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({ seen: [...context.seen, event.body.n] })
      enqueue.emit({ type: 'send', to: 'back', kind: 'show', body: event.body })
    }),
  },
}).createMachine({ context: { seen: [] }, on: { message: { actions: 'keep' }, replied: { actions: 'show' } } })

const back = setup({
  types: {} as { context: { shown: number; givenUp: number }; events: Numbered; emitted: Outgoing },
  actions: {
    count: assign({ shown: ({ context }) => context.shown + 1 }),
    forget: assign({ givenUp: ({ context }) => context.givenUp + 1 }),
    show: (_, _params: { n: number }) => {},
  },
}).createMachine({
  context: { shown: 0, givenUp: 0 },
  on: {
    show: { actions: ['count', { type: 'show', params: ({ event }) => ({ n: event.body.n }) }] },
    cancelled: { actions: 'forget' },
  },
})

const steppers: Readonly<Record<Name, Stepper>> = { front: createStepper(front), back: createStepper(back) }

type Line = { actor: Name; life: number; n: number; event: string; value: string; did: string[]; digest: string; error: string | null }
type Frame = { line: Line; begins?: string; sends: { to: 'journal' | 'back'; n: number }[]; hold?: number }
/** `past`: the state after each of its steps, for the properties only. */
type Life = { life: number; past: readonly string[]; snapshot: Persisted; holds: Holds<number> }
type State = {
  asked: number
  front: Life
  back: Life
  /** From an actor's process to the kernel, and back. */
  fromFront: readonly Frame[]
  fromBack: readonly Frame[]
  toFront: readonly { replied: number }[]
  toBack: readonly ({ show: number } | { durable: number })[]
  /** In the kernel's memory: lines not committed, and who is to be told when they are. */
  lines: readonly Line[]
  told: readonly { life: number; hold: number }[]
  appends: readonly number[]
  /** On the disk. A span is written when it begins, its lines are committed in groups. */
  spans: readonly { actor: Name; life: number; begins: string }[]
  log: readonly Line[]
  journal: readonly number[]
  /** What the world has seen. */
  acknowledged: readonly number[]
  outside: readonly number[]
  /** For the properties only: the past of lives that ended, what was given up, what happened. */
  ended: Readonly<Record<string, readonly string[]>>
  givenUp: readonly number[]
  crashes: number
  cut: boolean
}
type Update = Partial<State>

/** Ways to get it wrong, each of which must be found. */
export type Mistake = 'effects begin at once' | 'told before it is written' | 'acknowledged before it is written' | 'lines are lost' | null

const ofKernel = ['lines', 'told', 'spans', 'appends', 'toBack', 'toFront', 'acknowledged'] as const
const keyOf = (actor: Name, life: number): string => `${actor} ${life}`

/** What an actor's process makes of one event: its next state, the frame that leaves it, and the effects it asked for. */
function take(actor: Name, before: Life, event: Numbered): { life: Life; frame: Frame; effects: number[] } {
  const { snapshot, commands } = steppers[actor].step(steppers[actor].restore(before.snapshot), event)
  return described(actor, before, event, snapshot, commands)
}

/** A process that was just started: its first frame is on its way. */
function born(actor: Name, life: number): { life: Life; frame: Frame } {
  const { snapshot, commands } = steppers[actor].initial({})
  return described(actor, { life, past: [], snapshot: nowhere, holds: noHolds() }, null, snapshot, commands)
}

const nowhere: Persisted = { nodes: [], history: {}, context: null, status: 'active' }

function described(actor: Name, before: Life, event: Numbered | null, snapshot: Snapshot, commands: readonly Command[]) {
  const stepper = steppers[actor]
  const recorder = createRecorder(stepper)
  const begun = recorder.start({}, snapshot, commands, 'salt')
  const note = event === null ? begun : recorder.step(event, snapshot, commands, null)
  const persisted = stepper.persist(snapshot)
  if (!note || !persisted) throw new Error('the recorder is off')
  const { value, did, digest, error, event: text = '' } = note
  const holds = structuredClone(before.holds)
  const effects = commands.flatMap((command) => (command.do === 'effect' ? [Number(command.params['n'])] : []))
  const line: Line = Object.freeze({ actor, life: before.life, n: before.past.length, event: text, value, did, digest, error })
  const frame: Frame = {
    line,
    ...(event === null ? { begins: begun.begins ?? '' } : {}),
    sends: commands.flatMap((command) => {
      if (command.do !== 'emit' || command.message.type !== 'send') return []
      return [{ to: command.message.to as 'journal' | 'back', n: (command.message.body as { n: number }).n }]
    }),
    // As the host does, before what it performs is asked whether it may begin.
    ...(effects.length > 0 ? { hold: hold(holds) } : {}),
  }
  const life: Life = { life: before.life, past: [...before.past, canonical(persisted)], snapshot: persisted, holds }
  return { life, frame: Object.freeze(frame), effects }
}

/** The kernel takes a frame apart. */
function takeApart(state: State, { line, begins, sends, hold: number }: Frame, mistake: Mistake): Update {
  const tell = number === undefined ? [] : [{ life: line.life, hold: number }]
  const early = mistake === 'told before it is written' ? tell.map((item) => ({ durable: item.hold })) : []
  return {
    lines: [...state.lines, line],
    told: mistake === 'told before it is written' ? state.told : [...state.told, ...tell],
    ...(begins === undefined ? {} : { spans: [...state.spans, { actor: line.actor, life: line.life, begins }] }),
    appends: [...state.appends, ...sends.flatMap(({ to, n }) => (to === 'journal' ? [n] : []))],
    toBack: [...state.toBack, ...early, ...sends.flatMap(({ to, n }) => (to === 'back' ? [{ show: n }] : []))],
    ...(mistake === 'acknowledged before it is written'
      ? acknowledge(
          state,
          sends.flatMap(({ to, n }) => (to === 'journal' ? [n] : [])),
        )
      : {}),
  }
}

function acknowledge({ toFront, acknowledged }: Pick<State, 'toFront' | 'acknowledged'>, appended: readonly number[]): Update {
  return { toFront: [...toFront, ...appended.map((n) => ({ replied: n }))], acknowledged: [...acknowledged, ...appended] }
}

function remembered(state: Pick<State, 'ended' | 'front' | 'back'>, actor: Name): State['ended'] {
  const { life, past } = state[actor]
  return { ...state.ended, [keyOf(actor, life)]: past }
}

/** What is left when the daemon ends, and starts again: both actors begin anew. */
function restarted(state: Pick<State, 'front' | 'back' | 'ended' | 'crashes'>, log: readonly Line[], cut: boolean): Update {
  const first = born('front', state.front.life + 1)
  const second = born('back', state.back.life + 1)
  return {
    ...emptied,
    log,
    cut,
    crashes: state.crashes + 1,
    ended: remembered({ front: state.front, back: state.back, ended: remembered(state, 'front') }, 'back'),
    front: first.life,
    back: second.life,
    fromFront: [first.frame],
    fromBack: [second.frame],
  }
}

const emptied = { toFront: [], toBack: [], lines: [], told: [], appends: [] }

/** Both have started, and their first lines are in the log. */
function initial(): State {
  const actors = { front: born('front', 1), back: born('back', 1) }
  const lines = [actors.front.frame, actors.back.frame]
  return {
    ...emptied,
    asked: 0,
    front: actors.front.life,
    back: actors.back.life,
    fromFront: [],
    fromBack: [],
    spans: lines.map(({ line, begins = '' }) => ({ actor: line.actor, life: line.life, begins })),
    log: lines.map(({ line }) => line),
    journal: [],
    acknowledged: [],
    outside: [],
    ended: {},
    givenUp: [],
    crashes: 0,
    cut: false,
  }
}

type Reading = { lines: number; ordered: boolean; leadsTo: string | null }

/** Of one log, once: where each of its spans leads when it is taken again (null: somewhere else than it did), and which events are in it. */
const readings = new WeakMap<readonly Line[], { spans: Map<string, Reading>; events: Set<string> }>()

function readingOf({ log, spans }: State): { spans: Map<string, Reading>; events: Set<string> } {
  let found = readings.get(log)
  if (!found) {
    found = { spans: new Map(), events: new Set(log.map(({ actor, event }) => `${actor} ${event}`)) }
    for (const { actor, life, begins } of spans) {
      const lines = log.filter((line) => line.actor === actor && line.life === life)
      const taken = retake(begins, lines, steppers[actor])
      const leadsTo = taken?.difference === null && taken.snapshot ? canonical(steppers[actor].persist(taken.snapshot)) : null
      found.spans.set(keyOf(actor, life), { lines: lines.length, ordered: lines.every(({ n }, at) => n === at), leadsTo })
    }
    readings.set(log, found)
  }
  return found
}

const isLogged = (state: State, actor: Name, type: string, n: number): boolean =>
  readingOf(state).events.has(`${actor} ${JSON.stringify({ type, body: { n } })}`)

/** Asked of every span that has a line. What has none yet is not begun, as far as anybody can tell. */
function everySpan(state: State, holds: (reading: Reading, past: readonly string[]) => boolean): boolean {
  const { spans } = readingOf(state)
  return state.spans.every(({ actor, life }) => {
    const reading = spans.get(keyOf(actor, life))
    return reading === undefined || reading.lines === 0 || holds(reading, pastOf(state, actor, life))
  })
}

const pastOf = (state: State, actor: Name, life: number): readonly string[] =>
  state[actor].life === life ? state[actor].past : (state.ended[keyOf(actor, life)] ?? [])

/**
 * @param messages how many come from outside
 * @param crashes how many, of the daemon, of one actor, and of the power together
 */
export function messageLog(messages: number, crashes: number, mistake: Mistake = null): Product {
  const rest = <T>(list: readonly T[]): readonly T[] => list.slice(1)
  return guarded<State>({
    name: 'the message log',
    variables: initial(),
    fair: true,
    actions: {
      'a message comes': {
        fair: 'none',
        reads: ['asked', 'front', 'fromFront'],
        next: ({ asked, front: now, fromFront }) => {
          if (asked === messages) return null
          const { life, frame } = take('front', now, { type: 'message', body: { n: asked + 1 } })
          return { asked: asked + 1, front: life, fromFront: [...fromFront, frame] }
        },
      },
      'front hears that it is kept': {
        reads: ['toFront', 'front', 'fromFront'],
        next: ({ toFront, front: now, fromFront }) => {
          const [head] = toFront
          if (!head) return null
          const { life, frame } = take('front', now, { type: 'replied', body: { n: head.replied } })
          return { toFront: rest(toFront), front: life, fromFront: [...fromFront, frame] }
        },
      },
      'back gets what waits for it': {
        reads: ['toBack', 'back', 'fromBack', 'outside'],
        next: ({ toBack, back: now, fromBack, outside }) => {
          const [head] = toBack
          if (!head) return null
          if ('durable' in head) {
            const holds = structuredClone(now.holds)
            return { toBack: rest(toBack), outside: [...outside, ...release(holds, head.durable)], back: { ...now, holds } }
          }
          const { life, frame, effects } = take('back', now, { type: 'show', body: { n: head.show } })
          const begin = effects.filter((n) => mistake === 'effects begin at once' || mayBegin(life.holds, n))
          return { toBack: rest(toBack), back: life, fromBack: [...fromBack, frame], outside: [...outside, ...begin] }
        },
      },
      'what waits is given up': {
        fair: 'none',
        reads: ['back', 'fromBack', 'givenUp'],
        next: ({ back: now, fromBack, givenUp }) =>
          now.holds.waiting.map(({ effect }) => {
            const { life, frame } = take('back', now, { type: 'cancelled', body: { n: effect } })
            withdraw(life.holds, (n) => n === effect)
            return { back: life, fromBack: [...fromBack, frame], givenUp: [...givenUp, effect] }
          }),
      },
      'the kernel takes a frame of front': {
        reads: ['fromFront', ...ofKernel],
        next: (state) => state.fromFront[0] && { ...takeApart(state, state.fromFront[0], mistake), fromFront: rest(state.fromFront) },
      },
      'the kernel takes a frame of back': {
        reads: ['fromBack', ...ofKernel],
        next: (state) => state.fromBack[0] && { ...takeApart(state, state.fromBack[0], mistake), fromBack: rest(state.fromBack) },
      },
      'the log commits': {
        reads: ['lines', 'told', 'log', 'toBack', 'back'],
        next: ({ lines, told, log, toBack, back: now }) => {
          if (lines.length === 0 && told.length === 0) return null
          // Who has ended since is told nothing.
          const durable = told.filter(({ life }) => life === now.life).map((item) => ({ durable: item.hold }))
          const written = mistake === 'lines are lost' ? lines.slice(0, 1) : lines
          return { lines: [], told: [], log: [...log, ...written], toBack: [...toBack, ...durable] }
        },
      },
      'the journal commits': {
        reads: ['appends', 'journal', 'toFront', 'acknowledged'],
        next: ({ appends, journal, toFront, acknowledged }) =>
          appends.length > 0 && {
            appends: [],
            journal: [...journal, ...appends],
            ...(mistake === 'acknowledged before it is written' ? {} : acknowledge({ toFront, acknowledged }, appends)),
          },
      },
      'the daemon is killed': {
        fair: 'none',
        reads: ['crashes', 'front', 'back', 'ended', 'log', 'cut'],
        next: (state) => state.crashes < crashes && restarted(state, state.log, state.cut),
      },
      'back is killed': {
        fair: 'none',
        reads: ['crashes', 'front', 'back', 'toBack', 'ended'],
        next: (state) => {
          if (state.crashes >= crashes) return null
          const { life, frame } = born('back', state.back.life + 1)
          // What waits in the mailbox stays; what was on its way to the process that ended is gone with it.
          const toBack = state.toBack.filter((item) => 'show' in item)
          return { crashes: state.crashes + 1, back: life, fromBack: [frame], toBack, ended: remembered(state, 'back') }
        },
      },
      'the power is cut': {
        fair: 'none',
        reads: ['crashes', 'front', 'back', 'ended', 'log'],
        next: (state) => state.crashes < crashes && state.log.map((_, at) => restarted(state, state.log.slice(0, at + 1), true)),
      },
    },
    always: {
      'nothing leaves before all that led to it is in the log': (state) =>
        state.cut ||
        state.outside.every(
          (n) => isLogged(state, 'back', 'show', n) && isLogged(state, 'front', 'replied', n) && isLogged(state, 'front', 'message', n),
        ),
      'the log can be taken again, at whatever instant it was cut off': (state) => everySpan(state, ({ leadsTo }) => leadsTo !== null),
      'and leads to the state there was': (state) => everySpan(state, ({ leadsTo, lines }, past) => leadsTo === past[lines - 1]),
      'no line is missing before another': (state) => everySpan(state, ({ ordered }) => ordered),
      'what was acknowledged is in the journal': ({ acknowledged, journal }) => acknowledged.every((n) => journal.includes(n)),
      'what left is in the journal': ({ outside, journal }) => outside.every((n) => journal.includes(n)),
      'it leaves in order, and once': ({ outside }) => outside.every((n, at) => at === 0 || n > (outside[at - 1] as number)),
      'what was given up before it began does not begin': ({ outside, givenUp }) => givenUp.every((n) => !outside.includes(n)),
    },
    sometimes: {
      'everything leaves': ({ outside }) => outside.length === messages,
      'an effect waits for its step': ({ back: { holds } }) => holds.waiting.length > 0,
      'two wait': ({ back: { holds } }) => holds.waiting.length > 1,
      'a step is lost that nobody saw': (state) => !state.cut && state.crashes > 0 && someStepLost(state),
      'something is given up in time': ({ givenUp }) => givenUp.length > 0,
      'after a power cut the log shows less than was seen': (state) =>
        state.cut && state.outside.some((n) => !isLogged(state, 'back', 'show', n)),
    },
    leadsTo: {
      'what is to be seen is seen, given up, or lost with a crash': {
        from: ({ asked }) => asked > 0,
        to: ({ outside, asked, givenUp, crashes: happened }) => happened > 0 || outside.length + givenUp.length === asked,
      },
    },
    mayEnd: true,
  })
}

/** An earlier life took more steps than the log has. */
function someStepLost(state: State): boolean {
  const { spans } = readingOf(state)
  return state.spans.some(({ actor, life }) => {
    const { lines = 0 } = spans.get(keyOf(actor, life)) ?? {}
    return life < state[actor].life && lines < pastOf(state, actor, life).length
  })
}

export const system = (size: 'small' | 'full'): Product => (size === 'full' ? messageLog(2, 2) : messageLog(2, 1))
