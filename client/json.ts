/**
 * A session as scripts read it: one JSON event a line, each with `seq`, `ts`, `type`; the last is the result. The types and their
 * fields are a stable interface; what the daemon tells beyond them stays out.
 */
import type { Fault } from '../kernel/index.ts'
import type { SessionEvent, TurnResult } from './events.ts'

const stable: readonly string[] = [
  'session',
  'text',
  'tool_call',
  'tool_result',
  'permission',
  'files_changed',
  'job_ended',
  'vm',
  'error',
  'result',
]

export type JsonOutput = {
  event(event: SessionEvent): void
  /** What no daemon told: it could not be reached, or broke off. An error, if there is one, and the result. */
  ended(result: TurnResult): void
}

export function createJsonOutput(out: { write(text: string): unknown }, now: () => Date = () => new Date()): JsonOutput {
  let last = 0
  let told: string | null = null
  const write = (event: { seq: number; ts: string; type: string }, fields: object) => {
    last = Math.max(event.seq, last + 1)
    out.write(`${JSON.stringify({ seq: last, ts: event.ts, type: event.type, ...fields })}\n`)
  }
  const own = (type: string, fields: object) => write({ seq: last + 1, ts: now().toISOString(), type }, fields)
  return {
    event(event) {
      if (!stable.includes(event.type) || event.passing) return
      const { seq, ts, type, turn: _turn, passing: _passing, ...fields } = event
      if (type === 'error') told = event.type === 'error' ? event.error.code : null
      if (event.type === 'result') write({ seq, ts, type }, resultFields(event))
      else write({ seq, ts, type }, fields)
    },
    ended(result) {
      const { error } = result
      if (error && error.code !== told) own('error', { error })
      own('result', resultFields(result))
    },
  }
}

function resultFields({ status, text, toolCalls, error }: TurnResult): { status: string; text: string; toolCalls: number; error?: Fault } {
  return { status, text, toolCalls, ...(error ? { error } : {}) }
}
