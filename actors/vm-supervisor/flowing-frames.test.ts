import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, maxFrame } from '../../guest/frames.ts'
import { type Flowing, FlowingFrames } from './flowing-frames.ts'

const frame = fc.record({ id: fc.nat(), payload: fc.uint8Array({ maxLength: 200 }) })
const encoded = ({ id, payload }: { id: number; payload: Uint8Array }): Uint8Array =>
  encodeFrame({ t: 'out', id, stream: 'stdout' }, payload)

/** What came of each frame, pieces joined. */
function joined(pieces: readonly Flowing[]): { id: number; payload: Uint8Array }[] {
  const frames = new Map<number, Uint8Array[]>()
  for (const piece of pieces) {
    if (!piece.ok) throw new Error(piece.reason)
    const { id } = piece.header as { id: number }
    frames.set(id, [...(frames.get(id) ?? []), piece.payload])
  }
  return [...frames].map(([id, payloads]) => ({ id, payload: Uint8Array.from(Buffer.concat(payloads)) }))
}

describe('frames whose payloads flow', () => {
  it('come out as they went in, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(frame, { selector: ({ id }) => id, maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map(encoded))
          const flow = new FlowingFrames()
          const pieces: Flowing[] = []
          for (let at = 0, n = 0; at < bytes.length; n++) {
            const size = cuts[n % cuts.length] ?? 1
            pieces.push(...flow.push(bytes.subarray(at, at + size)))
            at += size
          }
          expect(joined(pieces)).toEqual(frames)
        },
      ),
    )
  })

  it('a piece is a view of what came: none of it is copied, and none waits for the rest', () => {
    const flow = new FlowingFrames()
    const whole = encoded({ id: 1, payload: new Uint8Array(1000).fill(7) })
    const [first] = flow.push(whole.subarray(0, 500))
    expect(first).toMatchObject({ ok: true, header: { id: 1 } })
    expect(first?.ok === true && first.payload.buffer).toBe(whole.buffer)
  })

  it('sizes that cannot be end it, before anything is kept; what comes after is ignored', () => {
    const flow = new FlowingFrames()
    const sizes = new Uint8Array(6)
    new DataView(sizes.buffer).setUint32(0, maxFrame + 1)
    new DataView(sizes.buffer).setUint16(4, 2)
    expect(flow.push(sizes)).toMatchObject([{ ok: false, fatal: true }])
    expect(flow.push(encoded({ id: 1, payload: new Uint8Array(1) }))).toEqual([])
  })

  it('a header that is no JSON is dropped with its payload, and nothing else is', () => {
    const bad = Buffer.from([0, 0, 0, 8, 0, 3, 0xff, 0x7b, 0x22, 1, 2, 3])
    const pieces = new FlowingFrames().push(Buffer.concat([bad, encoded({ id: 2, payload: new Uint8Array(3) })]))
    expect(pieces).toMatchObject([
      { ok: false, fatal: false },
      { ok: true, header: { id: 2 } },
    ])
  })
})
