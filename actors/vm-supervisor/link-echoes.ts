/** Proofs that a port of the machine works, under way: each waits for what the guest has to send back, and ends with its port. */
export class Echoes<Key> {
  readonly #port: string
  readonly #waiting = new Map<Key, { resolve: () => void; reject: (error: Error) => void }>()
  #ended = false

  /** `port`: its name, for people. */
  constructor(port: string) {
    this.#port = port
  }

  /** Resolves when `key` has come back; `ask` sends it. Rejects when the port ends first. */
  expect(key: Key, ask: () => void): Promise<void> {
    if (this.#ended) return Promise.reject(new Error(`the ${this.#port} port is closed`))
    return new Promise((resolve, reject) => {
      this.#waiting.set(key, { resolve, reject })
      ask()
    })
  }

  came(key: Key): void {
    this.#waiting.get(key)?.resolve()
    this.#waiting.delete(key)
  }

  end(): void {
    this.#ended = true
    for (const { reject } of this.#waiting.values()) reject(new Error(`the ${this.#port} port closed`))
    this.#waiting.clear()
  }
}
