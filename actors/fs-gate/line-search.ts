/** Lines of a text that match an expression, in steps that give way to other requests. */
import { setImmediate } from 'node:timers/promises'
import type { RE2JS } from 're2js'
import { limits } from './limits.ts'

export type LineMatch = { line: number; text: string; before: string[]; after: string[] }

/** Text matched at a time: most blocks hold no match, and one test over a block is much cheaper than one per line. */
const blockChars = 32 * 1024
/** Blocks between two looks at the event loop. */
const blocksPerTurn = 8

/** `most`: how many matches to find at most. Lines are numbered from 1 and cut to a limit. Rejects when aborted. */
export async function grepText(
  content: string,
  pattern: RE2JS,
  options: { context: number; most: number; signal: AbortSignal },
): Promise<LineMatch[]> {
  const found: LineMatch[] = []
  // So that `$` means the same before CRLF.
  const text = content.replaceAll('\r\n', '\n')
  const lines = text.split('\n')
  // The piece after the last newline is no line.
  if (lines.at(-1) === '') lines.pop()
  let start = 0
  let offset = 0
  for (let blocks = 1; start < lines.length; blocks += 1) {
    let end = start
    let size = 0
    while (end < lines.length && (size === 0 || size + (lines[end] as string).length < blockChars)) {
      size += (lines[end] as string).length + 1
      end += 1
    }
    if (pattern.test(text.slice(offset, offset + size))) {
      for (let i = start; i < end; i += 1) {
        if (!pattern.test(lines[i] as string)) continue
        found.push(matchAt(lines, i, options.context))
        if (found.length >= options.most) return found
      }
    }
    start = end
    offset += size
    if (blocks % blocksPerTurn === 0) {
      await setImmediate()
      options.signal.throwIfAborted()
    }
  }
  return found
}

function matchAt(lines: readonly string[], index: number, context: number): LineMatch {
  const shown = (from: number, to: number) => lines.slice(Math.max(0, from), to).map((line) => line.slice(0, limits.grepLineChars))
  return {
    line: index + 1,
    text: (lines[index] as string).slice(0, limits.grepLineChars),
    before: shown(index - context, index),
    after: shown(index + 1, index + 1 + context),
  }
}
