/** The daemon's log: one JSON object a line. Actors' own output comes through here too, cut to a length. */
import type { Writable } from 'node:stream'
import { maxLogLine } from '../kernel/limits.ts'

export type Log = (level: string, source: string, message: string, data?: Record<string, unknown>) => void

export function createLog(out: Writable): Log {
  return (level, source, message, data) => {
    const text = message.length > maxLogLine ? `${message.slice(0, maxLogLine)} … (${message.length} characters)` : message
    out.write(`${JSON.stringify({ ts: new Date().toISOString(), level, source, message: text, ...(data ? { data } : {}) })}\n`)
  }
}
