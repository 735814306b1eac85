/** What a background command wrote and nobody has asked for yet: bounded, the oldest lost first and counted. */
export class UnreadOutput {
  readonly #limit: number
  #pieces: string[] = []
  #chars = 0
  #missed = 0
  #over = false
  readonly #waiting = new Set<() => void>()

  /** In characters. */
  constructor(limit: number) {
    this.#limit = limit
  }

  add(text: string): void {
    this.#pieces.push(text)
    this.#chars += text.length
    for (let first = this.#pieces[0]; first !== undefined && this.#chars > this.#limit; first = this.#pieces[0]) {
      const excess = Math.min(first.length, this.#chars - this.#limit)
      this.#missed += excess
      this.#chars -= excess
      if (excess === first.length) this.#pieces.shift()
      else this.#pieces[0] = first.slice(excess)
    }
  }

  /** All of it; it counts as read now. */
  take(): { output: string; missed: number } {
    const taken = { output: this.#pieces.join(''), missed: this.#missed }
    this.#pieces = []
    this.#chars = 0
    this.#missed = 0
    return taken
  }

  /** Nothing more will come. */
  end(): void {
    this.#over = true
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  /** Resolves when nothing more will come, after this long, or when nobody wants to know any more. */
  ended(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#over) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done, { once: true })
      this.#waiting.add(done)
    })
  }
}
