/**
 * What the workers of a search share besides states: a lock, meetings, which states of the level are taken, and why a search stopped.
 *
 * All meet at the end of each level, so that the first way found to a state is a shortest one; and whenever one of them needs the states
 * packed otherwise or more room for them. Between meetings nobody waits for anybody.
 */
import type { Stopped } from '../search.ts'

const at = {
  lock: 0,
  arrived: 1,
  meeting: 2,
  wanted: 3,
  decided: 4,
  why: 5,
  failed: 6,
  journal: 7,
  chunks: 8,
  taken: 9,
  from: 10,
  to: 11,
  over: 12,
} as const
/** Ints used of the journal (journal.ts). */
export const journalLengthAt = at.journal
const perWorker = 16
/** Numbers of each worker: states; the chunk it fills and how far; the same when the level's states began, and when they ended. */
const own = 7

/** States whose places a worker takes for itself at once. */
export const chunkStates = 512
/** States of a level that a worker takes at once: few, so that all come to its end together; neighbours, because they lead to the same states. */
const grain = 128
const grains = chunkStates / grain

/** A lock is held, and the others are late, for microseconds mostly, which is less than it takes to be woken. */
const triesBeforeSleep = 2_000

const reasons: readonly Stopped[] = ['states', 'memory', 'violation']

/** What a meeting was for: the level is at its end, the states are to be rebuilt, or there is no memory for that. */
const decisions = ['end', 'rebuild', 'stop'] as const
export type Decision = (typeof decisions)[number]

export type SharedMemory = {
  control: SharedArrayBuffer
  journal: SharedArrayBuffer
  states: StatesMemory
  /** What properties looked at (judge.ts): a byte for each property of whole states and each component. */
  looks: SharedArrayBuffer
}

/** Growable, each up to what is reserved for it: nothing is copied when they grow. */
export type StatesMemory = { words: SharedArrayBuffer; parents: SharedArrayBuffer; slots: SharedArrayBuffer }

export const controlBytes = (workers: number): number => 4 * (perWorker + own * workers)

/** One of the others failed: what it says is what is wrong. */
export class OtherFailed extends Error {
  constructor() {
    super('Another worker of the search failed.')
  }
}

export class Control {
  readonly numbers: Int32Array
  readonly #workers: number
  readonly #mine: number
  readonly range = { from: 0, to: 0 }

  constructor(memory: SharedArrayBuffer, workers: number, me: number) {
    this.numbers = new Int32Array(memory)
    this.#workers = workers
    this.#mine = perWorker + own * me
  }

  exclusively(run: () => void): void {
    for (let tries = 0; Atomics.compareExchange(this.numbers, at.lock, 0, 1) !== 0; tries++) {
      this.heed()
      if (tries > triesBeforeSleep) Atomics.wait(this.numbers, at.lock, 1)
    }
    try {
      run()
    } finally {
      Atomics.store(this.numbers, at.lock, 0)
      Atomics.notify(this.numbers, at.lock)
    }
  }

  /** Nobody is to wait for a worker that is no more. */
  fail(): void {
    Atomics.store(this.numbers, at.failed, 1)
    Atomics.store(this.numbers, at.wanted, 1)
    Atomics.add(this.numbers, at.meeting, 1)
    Atomics.notify(this.numbers, at.meeting)
    Atomics.store(this.numbers, at.lock, 0)
    Atomics.notify(this.numbers, at.lock)
  }

  /** @throws OtherFailed */
  heed(): void {
    if (Atomics.load(this.numbers, at.failed) !== 0) throw new OtherFailed()
  }

  /** Waits until all have come; who comes last does what is to be done alone. */
  meet(alone: () => void = () => {}): void {
    const { numbers } = this
    const meeting = Atomics.load(numbers, at.meeting)
    this.heed()
    if (Atomics.add(numbers, at.arrived, 1) + 1 === this.#workers) {
      alone()
      Atomics.store(numbers, at.arrived, 0)
      Atomics.add(numbers, at.meeting, 1)
      Atomics.notify(numbers, at.meeting)
    } else
      for (let tries = 0; Atomics.load(numbers, at.meeting) === meeting; tries++)
        if (tries > triesBeforeSleep) Atomics.wait(numbers, at.meeting, meeting)
    this.heed()
  }

  /** Asks all to meet before they take another state. */
  want(): void {
    Atomics.store(this.numbers, at.wanted, 1)
  }

  /** Asked before each state; who sees it late takes one more. */
  isWanted(): boolean {
    return this.numbers[at.wanted] !== 0
  }

  /** Said alone, and seen by all until they meet again. */
  decide(what: Decision): void {
    this.numbers[at.decided] = decisions.indexOf(what)
    Atomics.store(this.numbers, at.wanted, 0)
  }

  get decided(): Decision {
    return decisions[this.numbers[at.decided] as number] as Decision
  }

  /** Number of a chunk of places that are nobody's yet. */
  chunk(): number {
    return Atomics.add(this.numbers, at.chunks, 1)
  }

  get chunks(): number {
    return Atomics.load(this.numbers, at.chunks)
  }

  /** Says how many states this worker has added, and how far it has filled which chunk. */
  tell(states: number, chunk: number, filled: number): void {
    this.numbers[this.#mine] = states
    this.numbers[this.#mine + 1] = chunk
    this.numbers[this.#mine + 2] = filled
  }

  /** As all told when they met: places of a chunk that hold states. */
  filled(chunk: number): number {
    return this.#filled(chunk, 1)
  }

  #filled(chunk: number, which: number): number {
    for (let worker = 0; worker < this.#workers; worker++) {
      const place = perWorker + own * worker + which
      if (this.numbers[place] === chunk) return this.numbers[place + 1] as number
    }
    return chunkStates
  }

  /** Said alone when all have told: the first level is what is there from state `first` on. */
  begin(first: number): void {
    const { numbers } = this
    for (let mine = perWorker; mine < perWorker + own * this.#workers; mine += own) {
      numbers[mine + 3] = -1
      numbers.copyWithin(mine + 5, mine + 1, mine + 3)
    }
    // What one worker added before any other took part.
    const chunk = Math.floor(first / chunkStates)
    numbers[perWorker + 3] = chunk < this.chunks ? chunk : -1
    numbers[perWorker + 4] = first % chunkStates
    numbers[at.from] = Math.min(chunk + 1, this.chunks)
    numbers[at.to] = this.chunks
    Atomics.store(numbers, at.taken, 0)
  }

  /** Said alone when all have told: what is new is the next level. Whether anything is. */
  advance(): boolean {
    const { numbers } = this
    let isFresh = numbers[at.to] !== this.chunks
    for (let mine = perWorker; mine < perWorker + own * this.#workers; mine += own) {
      isFresh ||= numbers[mine + 1] !== numbers[mine + 5] || numbers[mine + 2] !== numbers[mine + 6]
      numbers.copyWithin(mine + 3, mine + 5, mine + 7)
      numbers.copyWithin(mine + 5, mine + 1, mine + 3)
    }
    numbers[at.from] = numbers[at.to] as number
    numbers[at.to] = this.chunks
    Atomics.store(numbers, at.taken, 0)
    return isFresh
  }

  /** Takes states of the level, from `range.from` to before `range.to`. False: all are taken. */
  take(): boolean {
    const { numbers, range } = this
    const workers = this.#workers
    const from = numbers[at.from] as number
    const parts = (workers + (numbers[at.to] as number) - from) * grains
    for (;;) {
      const part = Atomics.add(numbers, at.taken, 1)
      if (part >= parts) return false
      const which = Math.floor(part / grains)
      const started = which < workers
      const chunk = started ? (numbers[perWorker + own * which + 3] as number) : from + which - workers
      if (chunk < 0) continue
      const first = (part % grains) * grain
      const begin = Math.max(first, started ? (numbers[perWorker + own * which + 4] as number) : 0)
      const end = Math.min(first + grain, this.#filled(chunk, 5))
      if (begin >= end) continue
      range.from = chunk * chunkStates + begin
      range.to = chunk * chunkStates + end
      return true
    }
  }

  /** Said alone: the search is over. */
  end(): void {
    this.numbers[at.over] = 1
  }

  get isOver(): boolean {
    return this.numbers[at.over] !== 0
  }

  /** States that all have added, as they last told. */
  states(): number {
    let sum = 0
    for (let worker = 0; worker < this.#workers; worker++) sum += this.numbers[perWorker + own * worker] as number
    return sum
  }

  stop(why: Stopped): void {
    Atomics.compareExchange(this.numbers, at.why, 0, 1 + reasons.indexOf(why))
  }

  /** Why the search stopped before its end. */
  get stopped(): Stopped | null {
    return reasons[Atomics.load(this.numbers, at.why) - 1] ?? null
  }
}
