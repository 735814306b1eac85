/**
 * Published models written as guarded commands, each after its source, so that counts can be compared with what others counted. The sources
 * are named in `vectors.ts`.
 */
import { type Action, guarded } from '../guarded.ts'
import type { Product } from '../product.ts'

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
/** TLC takes a step once for each disjunct of its guard that holds. */
const asOften = <T>(disjuncts: readonly boolean[], update: T): T[] => disjuncts.filter(Boolean).map(() => update)
const deadlocksAreFine = { mayEnd: true } as const

export function dieHard(): Product {
  type V = { small: number; big: number }
  return guarded<V>({
    name: 'DieHard',
    variables: { small: 0, big: 0 },
    actions: {
      fillSmall: { next: () => ({ small: 3 }) },
      fillBig: { next: () => ({ big: 5 }) },
      emptySmall: { next: () => ({ small: 0 }) },
      emptyBig: { next: () => ({ big: 0 }) },
      smallToBig: { next: ({ small, big }) => ({ big: Math.min(5, big + small), small: Math.max(0, small - (5 - big)) }) },
      bigToSmall: { next: ({ small, big }) => ({ small: Math.min(3, big + small), big: Math.max(0, big - (3 - small)) }) },
    },
    always: { 'never four gallons': ({ big }) => big !== 4 },
  })
}

/** Chandy and Misra's philosophers, five of them: they hand dirty forks over. */
export function diningPhilosophers(count = 5, fair = true): Product {
  type Fork = { holder: number; clean: boolean }
  type V = Record<string, unknown>
  const fork = (state: V, i: number): Fork => state[`fork${i}`] as Fork
  const right = (p: number): number => (p + 1) % count
  const actions: Record<string, Action<V>> = {}
  for (const p of range(count)) {
    const process = `philosopher${p}`
    const reads = [`pc${p}`, `hungry${p}`, `fork${p}`, `fork${right(p)}`]
    actions[`step of ${process}`] = {
      process,
      reads,
      next(state) {
        const pc = state[`pc${p}`]
        if (pc === 'think') return { [`hungry${p}`]: true, [`pc${p}`]: 'loop' }
        const left = fork(state, p)
        const other = fork(state, right(p))
        if (pc === 'eat')
          return {
            [`hungry${p}`]: false,
            [`fork${p}`]: { ...left, clean: false },
            [`fork${right(p)}`]: { ...other, clean: false },
            [`pc${p}`]: 'loop',
          }
        const update: V = {}
        if (left.holder === p && !left.clean) update[`fork${p}`] = { holder: (p + count - 1) % count, clean: true }
        else if (other.holder === p && !other.clean) update[`fork${right(p)}`] = { holder: right(p), clean: true }
        const eats = left.holder === p && other.holder === p && left.clean && other.clean
        return { ...update, [`pc${p}`]: state[`hungry${p}`] ? (eats ? 'eat' : 'loop') : 'think' }
      },
    }
  }
  return guarded<V>({
    name: 'DiningPhilosophers',
    variables: Object.fromEntries<unknown>(
      range(count).flatMap((p): [string, unknown][] => [
        [`fork${p}`, { holder: p === 1 ? 0 : p, clean: false }],
        [`pc${p}`, 'loop'],
        [`hungry${p}`, true],
      ]),
    ),
    actions,
    fair,
    always: {
      'neighbours do not eat at once': (state) => range(count).every((p) => state[`pc${p}`] !== 'eat' || state[`pc${right(p)}`] !== 'eat'),
    },
    leadsTo: Object.fromEntries(
      range(count).map((p) => [
        `philosopher ${p} eats again`,
        { from: (state: V) => state[`hungry${p}`] === true, to: (state: V) => state[`hungry${p}`] === false },
      ]),
    ),
  })
}

export function transactionCommit(): Product {
  type V = Record<string, string>
  const names = range(3).map((i) => `rm${i}`)
  const notCommitted = (state: V): boolean => names.every((name) => state[name] !== 'committed')
  const canCommit = (state: V): boolean => names.every((name) => state[name] === 'prepared' || state[name] === 'committed')
  return guarded<V>({
    name: 'TCommit',
    variables: Object.fromEntries(names.map((name) => [name, 'working'])),
    actions: Object.fromEntries(
      names.map((name): [string, Action<V>] => [
        `step of ${name}`,
        {
          next: (state) => [
            ...(state[name] === 'working' ? [{ [name]: 'prepared' }] : []),
            ...(state[name] === 'prepared' && canCommit(state) ? [{ [name]: 'committed' }] : []),
            ...(['working', 'prepared'].includes(state[name] as string) && notCommitted(state) ? [{ [name]: 'aborted' }] : []),
          ],
        },
      ]),
    ),
    always: { consistent: (state) => !(names.some((name) => state[name] === 'aborted') && !notCommitted(state)) },
    ...deadlocksAreFine,
  })
}

export function hourClock(): Product {
  return guarded<{ hour: number }>({
    name: 'HourClock',
    variables: range(12).map((i) => ({ hour: i + 1 })),
    actions: { tick: { next: ({ hour }) => ({ hour: (hour % 12) + 1 }) } },
    always: { 'an hour of the day': ({ hour }) => hour >= 1 && hour <= 12 },
  })
}

/** A value is offered when ready equals acknowledged, and acknowledged otherwise; three values. */
export function asynchronousInterface(): Product {
  type V = { value: number; ready: number; acknowledged: number }
  return guarded<V>({
    name: 'AsynchInterface',
    variables: range(3).flatMap((value) => range(2).map((bit) => ({ value, ready: bit, acknowledged: bit }))),
    actions: {
      send: { next: ({ ready, acknowledged }) => ready === acknowledged && range(3).map((value) => ({ value, ready: 1 - ready })) },
      receive: { next: ({ ready, acknowledged }) => ready !== acknowledged && { acknowledged: 1 - acknowledged } },
    },
  })
}

/** White and black beans: take two out, put one in; a hundred at the start at most. */
export function coffeeCan(most = 100): Product {
  type V = { black: number; white: number }
  const starts = range(most + 1).flatMap((black) => range(most + 1 - black).map((white) => ({ black, white })))
  return guarded<V>({
    name: 'CoffeeCan',
    variables: starts.filter(({ black, white }) => black + white >= 1),
    actions: {
      pickTwoBlack: { next: ({ black, white }) => black + white > 1 && black >= 2 && { black: black - 1 } },
      pickTwoWhite: { next: ({ black, white }) => black + white > 1 && white >= 2 && { black: black + 1, white: white - 2 } },
      pickOneOfEach: { next: ({ black, white }) => black + white > 1 && black >= 1 && white >= 1 && { black: black - 1 } },
      terminate: { next: ({ black, white }) => black + white === 1 && {} },
    },
    fair: true,
    eventually: { 'one bean is left': ({ black, white }) => black + white === 1 },
  })
}

/** Dijkstra's termination detection on a ring (EWD 840): the token starts anywhere, black. */
export function terminationDetection(count = 3): Product {
  type V = Record<string, unknown> & { token: number; tokenColour: string }
  const starts: V[] = range(2 ** count).flatMap((active) =>
    range(2 ** count * count).map((start) => {
      const black = Math.floor(start / count)
      const state: Record<string, unknown> = { token: start % count, tokenColour: 'black' }
      for (const i of range(count)) {
        state[`active${i}`] = (active >> i) % 2 === 1
        state[`colour${i}`] = (black >> i) % 2 === 1 ? 'black' : 'white'
      }
      return state as V
    }),
  )
  const actions: Record<string, Action<V>> = {
    'initiate probe': {
      next: (state) =>
        state.token === 0 &&
        asOften([state.tokenColour === 'black', state['colour0'] === 'black'], {
          token: count - 1,
          tokenColour: 'white',
          colour0: 'white',
        }),
    },
  }
  for (const i of range(count)) {
    if (i > 0)
      actions[`pass token from ${i}`] = {
        next: (state) =>
          state.token === i &&
          asOften([!state[`active${i}`], state[`colour${i}`] === 'black', state.tokenColour === 'black'], {
            token: i - 1,
            tokenColour: state[`colour${i}`] === 'black' ? 'black' : state.tokenColour,
            [`colour${i}`]: 'white',
          }),
      }
    actions[`deactivate ${i}`] = { next: (state) => state[`active${i}`] === true && { [`active${i}`]: false } }
    for (const j of range(count))
      if (j !== i)
        actions[`${i} sends to ${j}`] = {
          next: (state) =>
            state[`active${i}`] === true && { [`active${j}`]: true, [`colour${i}`]: j > i ? 'black' : (state[`colour${i}`] as string) },
        }
  }
  const quiet = (state: V): boolean => range(count).every((i) => state[`active${i}`] === false)
  const detected = (state: V): boolean =>
    state.token === 0 && state.tokenColour === 'white' && state['colour0'] === 'white' && state['active0'] === false
  return guarded<V>({
    name: 'EWD840',
    variables: starts,
    actions,
    always: { 'what is detected is true': (state) => !detected(state) || quiet(state) },
    ...deadlocksAreFine,
  })
}

/** Patil's smokers: a dealer puts two of three ingredients on the table, whoever holds the third smokes. */
export function cigaretteSmokers(): Product {
  type V = Record<string, unknown>
  const kinds = ['matches', 'paper', 'tobacco']
  return guarded<V>({
    name: 'CigaretteSmokers',
    variables: kinds.map((missing) => ({ dealt: missing, smoking: null })),
    actions: {
      startSmoking: { next: ({ dealt }) => dealt !== null && { smoking: dealt, dealt: null } },
      stopSmoking: { next: ({ smoking }) => smoking !== null && kinds.map((missing) => ({ smoking: null, dealt: missing })) },
    },
    always: { 'one smokes at most': ({ dealt, smoking }) => dealt === null || smoking === null },
  })
}

/**
 * Peterson's lock, statement for statement as in Spin's `Examples/peterson.pml`.
 * @param outside with a statement outside the lock in each round, where that example has one before the first
 */
export function peterson(outside = false): Product {
  type V = { flag0: boolean; flag1: boolean; turn: number; inside: number; pc0: number; pc1: number }
  const actions: Record<string, Action<V>> = {}
  for (const me of [0, 1] as const) {
    const pc = `pc${me}` as const
    const flag = `flag${me}` as const
    const other = `flag${(1 - me) as 0 | 1}` as const
    const steps: ((state: V) => Partial<V> | false)[] = [
      () => ({ [pc]: 1 }),
      () => ({ [flag]: true, [pc]: 2 }),
      () => ({ turn: me, [pc]: 3 }),
      (state) => (!state[other] || state.turn === 1 - me) && { [pc]: 4 },
      ({ inside }) => ({ inside: inside + 1, [pc]: 5 }),
      () => ({ [pc]: 6 }),
      ({ inside }) => ({ inside: inside - 1, [pc]: 7 }),
      () => ({ [flag]: false, [pc]: outside ? 0 : 1 }),
    ]
    actions[`step of ${me}`] = { process: `P${me}`, next: (state) => (steps[state[pc]] as (typeof steps)[number])(state) }
  }
  return guarded<V>({
    name: outside ? 'Peterson with a statement outside' : 'Peterson',
    variables: { flag0: false, flag1: false, turn: 0, inside: 0, pc0: 0, pc1: 0 },
    actions,
    fair: true,
    always: { 'one inside at most': ({ inside }) => inside <= 1 },
    leadsTo: { 'who wants in gets in': { from: ({ pc0 }) => pc0 === 2, to: ({ pc0 }) => pc0 === 4 } },
  })
}
