/**
 * What the workers of a search share besides states: a lock, a bell, barriers at the ends of levels, and what each has used up.
 *
 * A search goes level by level, so that the first way found to a state is a shortest one. A worker is done with a level when its own states
 * of it have been taken and whatever they led to was received by whom it belongs to.
 */
import type { Stopped } from '../search.ts'

const lockAt = 0
const bellAt = 1
const finishedAt = 2
const countedAt = 3
const stopAt = 4
const whyAt = 5
/** Ints used of the journal (journal.ts). */
export const journalLengthAt = 6
const perWorker = 8
/** Numbers of each worker: states, memory in KiB, states new in the level. */
const own = 3

/** The lock is held for microseconds, which is less than it takes to be woken. */
const triesBeforeSleep = 2_000

const reasons: readonly Stopped[] = ['states', 'memory', 'violation']

export type SharedMemory = { control: SharedArrayBuffer; journal: SharedArrayBuffer; queues: readonly SharedArrayBuffer[] }

export const controlBytes = (workers: number): number => 4 * (perWorker + own * workers)

export class Control {
  readonly numbers: Int32Array
  readonly #workers: number
  readonly #me: number

  constructor(memory: SharedArrayBuffer, workers: number, me: number) {
    this.numbers = new Int32Array(memory)
    this.#workers = workers
    this.#me = me
  }

  exclusively(run: () => void): void {
    for (let tries = 0; Atomics.compareExchange(this.numbers, lockAt, 0, 1) !== 0; tries++)
      if (tries > triesBeforeSleep) Atomics.wait(this.numbers, lockAt, 1)
    try {
      run()
    } finally {
      Atomics.store(this.numbers, lockAt, 0)
      Atomics.notify(this.numbers, lockAt)
    }
  }

  /** Wakes everybody who waits for something to happen. */
  ring(): void {
    Atomics.add(this.numbers, bellAt, 1)
    Atomics.notify(this.numbers, bellAt)
  }

  /** Looks again whenever the bell has rung, until there is what is looked for. */
  until(there: () => boolean): void {
    for (;;) {
      const heard = Atomics.load(this.numbers, bellAt)
      if (there()) return
      Atomics.wait(this.numbers, bellAt, heard)
    }
  }

  /** This worker's states of the level are taken, and all they led to is sent. */
  finish(): void {
    Atomics.add(this.numbers, finishedAt, 1)
    this.ring()
  }

  haveFinished(level: number): boolean {
    return Atomics.load(this.numbers, finishedAt) === this.#workers * (level + 1)
  }

  /** Says how many states of the next level this worker has; what all have together is known once `haveCounted`. */
  count(fresh: number): void {
    Atomics.store(this.numbers, perWorker + own * this.#me + 2, fresh)
    Atomics.add(this.numbers, countedAt, 1)
    this.ring()
  }

  haveCounted(level: number): boolean {
    return Atomics.load(this.numbers, countedAt) === this.#workers * (level + 1)
  }

  fresh(): number {
    return this.#sum(2)
  }

  use(states: number, bytes: number): void {
    Atomics.store(this.numbers, perWorker + own * this.#me, states)
    Atomics.store(this.numbers, perWorker + own * this.#me + 1, Math.ceil(bytes / 1024))
  }

  states(): number {
    return this.#sum(0)
  }

  bytes(): number {
    return 1024 * this.#sum(1)
  }

  /** All stop with this level. */
  stop(level: number, why: Stopped): void {
    if (Atomics.compareExchange(this.numbers, stopAt, 0, level + 1) === 0) Atomics.store(this.numbers, whyAt, 1 + reasons.indexOf(why))
  }

  /** Whether somebody stopped the search in this level or before: what one worker does in the next level already does not count. */
  hasStopped(level: number): boolean {
    const stopped = Atomics.load(this.numbers, stopAt)
    return stopped !== 0 && stopped - 1 <= level
  }

  /** Why the search stopped before its end. */
  get stopped(): Stopped | null {
    return reasons[Atomics.load(this.numbers, whyAt) - 1] ?? null
  }

  #sum(which: number): number {
    let sum = 0
    for (let worker = 0; worker < this.#workers; worker++) sum += Atomics.load(this.numbers, perWorker + own * worker + which)
    return sum
  }
}
