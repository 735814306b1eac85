/** Cuts a secret out of a byte stream, also where it is split over chunks. Pure; one instance per stream. */

const mask = Buffer.from('[key]')

/**
 * `push` returns what may go on; it holds back only a tail that could be the beginning of the secret. `end` returns the rest.
 * A null secret passes everything through.
 */
export function createScrubber(secret: string | null): { push(chunk: Uint8Array): Uint8Array; end(): Uint8Array } {
  const needle = Buffer.from(secret ?? '')
  let held: Buffer = Buffer.alloc(0)
  if (needle.length === 0) return { push: (chunk) => chunk, end: () => held }
  return {
    push(chunk) {
      const text = Buffer.concat([held, chunk])
      const out: Uint8Array[] = []
      let from = 0
      for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, from)) {
        out.push(text.subarray(from, at), mask)
        from = at + needle.length
      }
      const keep = tailThatMayContinue(text.subarray(from), needle)
      out.push(text.subarray(from, text.length - keep))
      held = text.subarray(text.length - keep)
      return Buffer.concat(out)
    },
    end: () => held,
  }
}

function tailThatMayContinue(text: Buffer, needle: Buffer): number {
  for (let length = Math.min(text.length, needle.length - 1); length > 0; length -= 1) {
    if (text.subarray(text.length - length).equals(needle.subarray(0, length))) return length
  }
  return 0
}
