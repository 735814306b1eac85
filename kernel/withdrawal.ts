/**
 * Taking back what an actor elsewhere has in its hands. Up to a window of messages is on its way to a thread or a process, where a frame sent after
 * them would be read after them. So the kernel writes the numbers it takes back onto a board both can see, and the actor looks there before each
 * message that may be taken back:
 *
 *   kernel: revoke   -> board[n % window] = n
 *   actor:  take n   -> board[n % window] == n ?  give it back, unhandled : handle it
 *
 * Once the kernel has written, no message it took back is begun. For a thread the board is shared memory; a process, which can share none, inherits a
 * file that is open for reading and has no name.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deliveryWindow } from './limits.ts'

/** The actor's side: whether delivery `n` was taken back. */
export type Withdrawn = (n: number) => boolean

export type Board = {
  /** Takes delivery `n` back, unless it was begun already. */
  withdraw(n: number): void
}

const bytesEach = 4
const size = deliveryWindow * bytesEach
/** A delivery's number as the board has it: numbers further apart than a window are never both in an actor's hands. */
const numberOnBoard = (n: number): number => n >>> 0
const placeOf = (n: number): number => n % deliveryWindow

/** In memory that threads share. */
export function sharedBoard(memory = new SharedArrayBuffer(size)): Board & { memory: SharedArrayBuffer; withdrawn: Withdrawn } {
  const numbers = new Uint32Array(memory)
  return {
    memory,
    withdraw: (n) => void Atomics.store(numbers, placeOf(n), numberOnBoard(n)),
    withdrawn: (n) => Atomics.load(numbers, placeOf(n)) === numberOnBoard(n),
  }
}

/**
 * In a file: `reading` is for the actor's process to inherit, and closed by `shared` once it has. Throws when there is no room for the file.
 */
export function fileBoard(): Board & { reading: number; shared(): void; close(): void } {
  const path = join(memoryFolder(), `bulkhead-${randomBytes(12).toString('hex')}`)
  const writing = openSync(path, 'wx', 0o600)
  let reading: number
  try {
    reading = openSync(path, 'r')
  } finally {
    unlinkSync(path)
  }
  writeSync(writing, Buffer.alloc(size))
  const word = Buffer.alloc(bytesEach)
  let open = true
  return {
    reading,
    shared: () => closeSync(reading),
    withdraw(n) {
      if (!open) return
      word.writeUInt32LE(numberOnBoard(n))
      writeSync(writing, word, 0, bytesEach, placeOf(n) * bytesEach)
    },
    close() {
      open = false
      closeSync(writing)
    },
  }
}

/** The other side of `fileBoard`, in the process that inherited it as `fd`. */
export function fileReader(fd: number): Withdrawn {
  const word = Buffer.alloc(bytesEach)
  return (n) => readSync(fd, word, 0, bytesEach, placeOf(n) * bytesEach) === bytesEach && word.readUInt32LE() === numberOnBoard(n)
}

/** A disk that is full must keep no actor from starting. */
function memoryFolder(): string {
  const inMemory = '/dev/shm'
  return statSync(inMemory, { throwIfNoEntry: false })?.isDirectory() ? inMemory : tmpdir()
}
