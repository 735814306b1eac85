/** The last decisions about hosts, newest last, for `bulkhead egress log`. Names and rules only: no path, no query, no content. */
import { limits } from './limits.ts'

export type Decision = {
  /** Epoch milliseconds. */
  at: number
  session: string | null
  /** What wanted to go out. */
  via: 'fetch' | 'tunnel'
  host: string
  port: number
  verdict: 'allow' | 'deny'
  rule: string
}

export type DecisionLog = {
  add(decision: Omit<Decision, 'at'>): void
  /** The last `count`, oldest first; of one session if given. */
  last(count: number, session: string | null): Decision[]
}

/** `heard`: told of each as it is made. */
export function createDecisionLog(heard: (decision: Decision) => void = () => {}, now: () => number = Date.now): DecisionLog {
  const kept: Decision[] = []
  return {
    add(decision) {
      const made = { at: now(), ...decision }
      kept.push(made)
      heard(made)
      if (kept.length > 2 * limits.loggedDecisions) kept.splice(0, kept.length - limits.loggedDecisions)
    },
    last: (count, session) =>
      kept.filter((one) => session === null || one.session === session).slice(-Math.min(count, limits.loggedDecisions)),
  }
}
