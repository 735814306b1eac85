/**
 * Trace context as it travels with messages: a W3C `traceparent`. The kernel makes each request a hop, a span under the trace its sender
 * was working for, and hands the receiver a context with that hop as the parent. It carries no authority and decides nothing.
 */
import { randomBytes } from 'node:crypto'

/** `00-<trace id>-<span id>-<flags>`. A span id of zeros, which only our own code makes, says that the trace begins here. */
export const traceparent = /^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

/** One request from sending to answer. */
export type Hop = {
  traceId: string
  spanId: string
  /** Null: the first of its trace. */
  parentId: string | null
  /** Message kind. */
  kind: string
  from: string
  to: string
  /** Epoch milliseconds. */
  startMs: number
  endMs: number
  /** Code of the refusal it ended in. */
  error: string | null
}
export type OpenHop = Omit<Hop, 'endMs' | 'error'>

const noSpan = '0'.repeat(16)

/** A trace that begins here. */
export const newTrace = (): string => `00-${randomBytes(16).toString('hex')}-${noSpan}-01`

/** A new span under `trace`: its ids, and the context for what happens in it. */
export function spanUnder(trace: string): { traceId: string; spanId: string; parentId: string | null; trace: string } {
  const [, traceId = '', parent = '', flags = '01'] = trace.split('-')
  const spanId = randomBytes(8).toString('hex')
  return { traceId, spanId, parentId: parent === noSpan ? null : parent, trace: `00-${traceId}-${spanId}-${flags}` }
}
