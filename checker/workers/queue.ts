/**
 * States on their way from one worker to another: batches in a ring of shared memory that one writes and one reads.
 *
 *   batch   ints, layout (journal.ts), then parent and words of each state
 */
const headAt = 0
const tailAt = 1
const firstInt = 2
/** Ints a queue holds: 4 MiB. Who finds it full receives until there is room. */
const queueInts = 1 << 20
/** Ints after which a batch is sent although its sender goes on. */
const batchInts = 1 << 12
const batchHeader = 2

export const queueBytes = 4 * (firstInt + queueInts)

export class Queue {
  readonly #numbers: Int32Array

  constructor(memory: SharedArrayBuffer) {
    this.#numbers = new Int32Array(memory)
  }

  /** Whether there was room. */
  push(batch: Int32Array): boolean {
    const head = Atomics.load(this.#numbers, headAt)
    const tail = Atomics.load(this.#numbers, tailAt)
    // Both count on for ever; that they wrap at 32 bits does not matter to what is between them.
    if (queueInts - ((tail - head) | 0) < batch.length) return false
    const at = (tail & (queueInts - 1)) + firstInt
    const untilEnd = Math.min(batch.length, queueInts + firstInt - at)
    this.#numbers.set(batch.subarray(0, untilEnd), at)
    this.#numbers.set(batch.subarray(untilEnd), firstInt)
    Atomics.store(this.#numbers, tailAt, (tail + batch.length) | 0)
    return true
  }

  /** The next batch, or null. */
  pull(): Int32Array | null {
    const head = Atomics.load(this.#numbers, headAt)
    if (head === Atomics.load(this.#numbers, tailAt)) return null
    const at = head & (queueInts - 1)
    const batch = new Int32Array(this.#numbers[firstInt + at] as number)
    const untilEnd = Math.min(batch.length, queueInts - at)
    batch.set(this.#numbers.subarray(firstInt + at, firstInt + at + untilEnd))
    batch.set(this.#numbers.subarray(firstInt, firstInt + batch.length - untilEnd), untilEnd)
    Atomics.store(this.#numbers, headAt, (head + batch.length) | 0)
    return batch
  }
}

/** What a worker has for another: filled while a state is taken, handed over between states. */
export class Outbox {
  readonly #queue: Queue
  readonly #sealed: Int32Array[] = []
  #batch = new Int32Array(2 * batchInts)
  #used = batchHeader
  #layout = -1

  constructor(queue: Queue) {
    this.#queue = queue
  }

  add(layout: number, parent: number, words: Int32Array, from: number, width: number): void {
    if (layout !== this.#layout || this.#used + width + 1 > this.#batch.length) this.#seal(layout)
    const batch = this.#batch
    let at = this.#used
    batch[at++] = parent
    for (let i = 0; i < width; i++) batch[at++] = words[from + i] as number
    this.#used = at
  }

  /** Hands over what is there, also what is little when that is `all`. Whether anything is still here. */
  send(all: boolean): boolean {
    if (this.#used >= batchInts || (all && this.#used > batchHeader)) this.#seal(this.#layout)
    while (this.#sealed.length > 0 && this.#queue.push(this.#sealed[0] as Int32Array)) this.#sealed.shift()
    return this.#sealed.length > 0
  }

  #seal(layout: number): void {
    if (this.#used > batchHeader) {
      const batch = this.#batch.slice(0, this.#used)
      batch[0] = this.#used
      batch[1] = this.#layout
      this.#sealed.push(batch)
    }
    this.#used = batchHeader
    this.#layout = layout
  }
}

/** States of a batch: their layout, and where parent and words of each begin. */
export function readBatch(batch: Int32Array): { layout: number; first: number } {
  return { layout: batch[1] as number, first: batchHeader }
}
