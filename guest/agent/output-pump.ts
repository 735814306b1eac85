/**
 * The agent's hold on the process that carries commands' output (`output-pump.pl`). Without it there is no output: its end is the
 * agent's.
 */
import { outputPort } from '../wire.ts'
import { type Carrier, startCarrier } from './carrier.ts'
import { removeFifo, touchWriter } from './fifos.ts'
import { keptAfter, keptFile, leftoverQuietMs, outputPiece } from './limits.ts'

/** Bytes of both streams together: sent to the host, and in the file. */
export type Carried = { sent: number; kept: number }

type Entry = {
  pipes: readonly string[]
  onKept: () => void
  /** Who waits for quiet. */
  told: ((how: 'ended' | 'quiet', carried: Carried) => void) | null
  ended: Carried | null
  /** Nobody waits for it any more. */
  dropped: boolean
}

export class OutputPump {
  readonly #carrier: Carrier
  readonly #entries = new Map<number, Entry>()

  /** `onEnd`: it is no more. */
  constructor(onEnd: (why: string) => void) {
    const limits = [keptAfter, keptFile, leftoverQuietMs, outputPiece].map(String)
    this.#carrier = startCarrier({
      script: 'output-pump.pl',
      args: [`/dev/virtio-ports/${outputPort}`, process.arch, ...limits],
      streams: [],
      what: 'the output’s carrier',
      hear: (words) => this.#hear(words),
      end: onEnd,
    })
  }

  /** Carries what comes from two pipes. `file`: takes all of a long output too; `onKept`: it is there. */
  open(id: number, stdout: string, stderr: string, credit: number, file: string | null, onKept: () => void): void {
    this.#entries.set(id, { pipes: [stdout, stderr], onKept, told: null, ended: null, dropped: false })
    this.#carrier.order('open', id, stdout, stderr, credit, file ?? '-')
  }

  /**
   * The command's process is gone. Resolves when all was sent and no writer is left, or when nothing has come for a while and `leftBehind`
   * says that somebody still may write.
   */
  async finish(id: number, leftBehind: () => boolean): Promise<Carried> {
    const entry = this.#entries.get(id)
    if (entry === undefined) return { sent: 0, kept: 0 }
    for (;;) {
      const state = await new Promise<{ how: 'ended' | 'quiet'; carried: Carried }>((resolve) => {
        if (entry.ended !== null) return resolve({ how: 'ended', carried: entry.ended })
        entry.told = (how, carried) => resolve({ how, carried })
        this.#carrier.order('finish', id)
      })
      if (state.how === 'ended' || leftBehind()) return state.carried
      // Killed before it had opened them: a pipe nobody ever wrote to has no end.
      for (const pipe of entry.pipes) touchWriter(pipe)
      await new Promise((resolve) => setTimeout(resolve, leftoverQuietMs / 3))
    }
  }

  /** What still comes is thrown away, so that writers left behind neither wait nor break. */
  drop(id: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    entry.dropped = true
    if (entry.ended !== null) return void this.#entries.delete(id)
    this.#carrier.order('drop', id)
    // One that could not be started never wrote, and would never be over.
    for (const pipe of entry.pipes) touchWriter(pipe)
  }

  #hear([what, number, sent, kept]: readonly (string | undefined)[]): void {
    const id = Number(number)
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    const carried = { sent: Number(sent), kept: Number(kept) }
    if (what === 'kept') entry.onKept()
    else if (what === 'quiet') entry.told?.('quiet', carried)
    else if (what === 'ended') {
      for (const pipe of entry.pipes) removeFifo(pipe)
      entry.ended = carried
      entry.told?.('ended', carried)
      if (entry.dropped) this.#entries.delete(id)
    }
  }
}
