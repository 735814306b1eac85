/** Where a request's body ends, read as it streams (RFC 9112 §6, §7). Pure: state in, state out. */
import type { Body } from './http-head.ts'
import { limits } from './limits.ts'

type State =
  | { at: 'bytes'; left: number }
  | { at: 'size'; line: string }
  | { at: 'chunk'; left: number }
  | { at: 'chunk-end'; line: string }
  | { at: 'trailer'; line: string; total: number }
  | { at: 'over' }

export type BodyReader = {
  /** How many of these bytes belong to the body. Null: its framing cannot be read in one way only. */
  take(bytes: Uint8Array): number | null
  over(): boolean
}

export function createBodyReader(body: Body): BodyReader {
  let state: State =
    body.kind === 'none' ? { at: 'over' } : body.kind === 'length' ? { at: 'bytes', left: body.bytes } : { at: 'size', line: '' }
  return {
    over: () => state.at === 'over',
    take(bytes) {
      let taken = 0
      while (taken < bytes.length && state.at !== 'over') {
        if (state.at === 'bytes' || state.at === 'chunk') {
          const count = Math.min(state.left, bytes.length - taken)
          taken += count
          const left: number = state.left - count
          if (left > 0) state = { at: state.at, left }
          else state = state.at === 'bytes' ? { at: 'over' } : { at: 'chunk-end', line: '' }
          continue
        }
        const next = byLine(state, String.fromCharCode(bytes[taken] ?? 0))
        if (next === null) return null
        state = next
        taken += 1
      }
      return taken
    },
  }
}

function byLine(state: Extract<State, { line: string }>, char: string): State | null {
  const line = state.line + char
  const ends = line.endsWith('\r\n')
  if (/\n/.test(ends ? line.slice(0, -2) : line) || /\r./s.test(ends ? line.slice(0, -2) : line)) return null
  if (state.at === 'chunk-end') return line === '\r' ? { ...state, line } : ends && line === '\r\n' ? { at: 'size', line: '' } : null
  if (state.at === 'size') {
    if (!ends) return line.length > 10 ? null : { ...state, line }
    // No extensions: they are where chunk parsers differ.
    const size = line.slice(0, -2)
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) return null
    const left = Number.parseInt(size, 16)
    return left === 0 ? { at: 'trailer', line: '', total: 0 } : { at: 'chunk', left }
  }
  const total = state.total + 1
  if (total > limits.requestHeadBytes) return null
  if (!ends) return { ...state, line, total }
  return line === '\r\n' ? { at: 'over' } : { at: 'trailer', line: '', total }
}
