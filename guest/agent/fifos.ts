/**
 * Real pipes for a command's streams, by name, because the processes at their ends are no relatives. (Node's own are socket pairs, on which a
 * script's `> /dev/stderr` fails.) Each is used once: a session's process may keep reading from one it was given.
 */
import { chownSync, closeSync, constants, openSync, unlinkSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'

const dir = '/run/bulkhead/fifos'
/** Made at a time; a command takes up to three. */
const batch = 32
/** More are made when there are fewer left. */
const fewest = 12

export class Fifos {
  readonly #make: (paths: readonly string[]) => Promise<void>
  readonly #free: string[] = []
  #making: Promise<void> | null = null
  #made = 0

  constructor(make: (paths: readonly string[]) => Promise<void>) {
    this.#make = make
  }

  /** Call once before `take`; makes the first ones. */
  async prepare(): Promise<void> {
    await rm(dir, { recursive: true, force: true })
    await mkdir(dir, { mode: 0o700 })
    await this.#more()
  }

  /** The path of one that belongs to `uid`, its user's to remove. */
  async take(uid: number): Promise<string> {
    while (this.#free.length === 0) await this.#more()
    const path = this.#free.shift() as string
    // Reopening /dev/stdout asks for rights on the FIFO itself.
    chownSync(path, uid, 0)
    if (this.#free.length < fewest) this.#more().catch(() => {})
    return path
  }

  #more(): Promise<void> {
    const paths = Array.from({ length: batch }, () => join(dir, String(this.#made++)))
    this.#making ??= this.#make(paths).then(
      () => {
        this.#free.push(...paths)
        this.#making = null
      },
      (error: unknown) => {
        this.#making = null
        throw error
      },
    )
    return this.#making
  }
}

/** Its writing end, and what lets go of it, and of its name, once somebody has opened the other. */
export function openWriter(path: string): { writer: Socket; readerIsThere: () => void } {
  // Opened for both, it waits for nobody, and neither does the next.
  const held = openSync(path, constants.O_RDWR)
  const writer = new Socket({ fd: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK), readable: false, writable: true })
  writer.on('error', () => {})
  let open = true
  return {
    writer,
    readerIsThere() {
      if (!open) return
      open = false
      closeSync(held)
      removeFifo(path)
    },
  }
}

/** Whoever reads it sees an end, if nobody writes or ever did. */
export function touchWriter(path: string): void {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK))
  } catch {
    // Nobody reads it.
  }
}

export function removeFifo(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Its folder went with an agent before this one.
  }
}
