/**
 * One prompt on an open session, from any client: its events in order, and its result. The result is the `result` event, not the
 * call's answer: everything that belongs to the turn came before it.
 */
import { randomUUID } from 'node:crypto'
import { asFault, fault, isFault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import type { SessionEvent, TurnResult } from './events.ts'

export type Turns = {
  /** To be given every event of the connection; passes on those of the turn under way and of no turn at all. */
  event(event: SessionEvent): void
  /** `told`: the result reached `show` as an event; otherwise the daemon never said it. */
  prompt(daemon: Daemon, session: string, text: string): Promise<TurnResult & { told: boolean }>
  running(): boolean
}

/** @param env `TRACEPARENT` in it: the trace of the program that runs this one */
export function createTurns(show: (event: SessionEvent) => void, { TRACEPARENT: traceparent }: NodeJS.ProcessEnv = {}): Turns {
  const trace = traceparent ? { _meta: { traceparent: traceparent.slice(0, 100) } } : {}
  let current: { turn: string; ended(result: TurnResult): void } | null = null
  return {
    event(event) {
      if (event.turn !== undefined && event.turn !== current?.turn) return
      show(event)
      if (event.type === 'result') current?.ended(event)
    },
    running: () => current !== null,
    async prompt(daemon, session, text) {
      const turn = randomUUID()
      const ended = new Promise<TurnResult & { told: boolean }>((resolve) => {
        current = { turn, ended: (result) => resolve({ ...result, told: true }) }
      })
      const broken = daemon.closed.then(() =>
        failed(
          fault('daemon-down', 'The connection to the daemon broke off.', {
            remedy: 'Try again with the same `--session`; the daemon is started anew.',
          }),
        ),
      )
      // Answered without a result event: refused before the turn began.
      const refused = new Promise<TurnResult & { told: boolean }>((resolve) => {
        daemon.call('prompt', { session, text, turn, ...trace }).catch((error: unknown) => resolve(failed(error)))
      })
      try {
        const first = await Promise.race([ended, broken, refused])
        return first
      } finally {
        current = null
      }
    },
  }
}

function failed(error: unknown): TurnResult & { told: boolean } {
  return { status: 'failed', text: '', toolCalls: 0, error: isFault(error) ? error : asFault(error), told: false }
}
