import { expect, test } from 'vitest'
import fc from 'fast-check'
import { LineWindow } from './text.ts'

test('a window has the same lines however the text comes, whole or in pieces', () => {
  const piece = fc.array(fc.constantFrom('a', 'é', '\n', '\r\n', 'long'), { maxLength: 12 }).map((parts) => parts.join(''))
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 6 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 4, max: 40 }),
      (pieces, offset, limit, maxBytes) => {
        const text = pieces.join('')
        const whole = new LineWindow(offset, limit, maxBytes)
        whole.add(text)
        expect(whole.result()).toEqual(windowOf(text, offset, limit, maxBytes))
        // A line that comes in pieces may be cut elsewhere when it does not fit.
        const inPieces = new LineWindow(offset, limit, Number.MAX_SAFE_INTEGER)
        for (const part of pieces) inPieces.add(part)
        expect(inPieces.result()).toEqual(windowOf(text, offset, limit, Number.MAX_SAFE_INTEGER))
      },
    ),
    { numRuns: 2_000 },
  )
})

/** The same, one line after the other. */
function windowOf(text: string, offset: number, limit: number, maxBytes: number) {
  const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? []
  let kept = ''
  let cut = false
  for (const line of lines.slice(offset - 1, offset - 1 + limit)) {
    if (Buffer.byteLength(kept) + Buffer.byteLength(line) > maxBytes) {
      if (kept === '') kept = line.slice(0, Math.floor(maxBytes / 4))
      cut = true
      break
    }
    kept += line
  }
  return { text: kept, lines: lines.length, truncated: cut || lines.length > offset - 1 + limit }
}
