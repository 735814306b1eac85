/**
 * A guest as hypervisors see one, for fakes of them: says on its console that it is up, answers what it is sent on both ports with the same, closes
 * the control port on `bye`, and stands still while its processors do.
 */
import type { Readable, Writable } from 'node:stream'

export type Port = { from: Readable; to: Writable }

export class FakeGuest {
  /** Bytes it has read from its disk. */
  read = 0
  #waiting: (() => void)[] | null = null
  readonly #stoppedElsewhere: () => boolean

  constructor(stoppedElsewhere: () => boolean = () => false) {
    this.#stoppedElsewhere = stoppedElsewhere
  }

  run(console: (text: string) => void, ports: readonly Port[], onBye: () => void): void {
    console('bulkhead: agent 0.01\n')
    this.read += 4_096
    for (const { from, to } of ports) {
      from.on('data', (bytes: Buffer) => {
        const answer = (): void => {
          this.read += bytes.length
          if (bytes.toString() === 'bye') return onBye()
          to.write(bytes)
        }
        if (this.#stoppedElsewhere()) this.stop()
        if (this.#waiting) this.#waiting.push(answer)
        else answer()
      })
      from.on('error', () => {})
      to.on('error', () => {})
    }
  }

  stop(): void {
    this.#waiting ??= []
  }

  goOn(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = null
    for (const answer of waiting) answer()
  }
}
