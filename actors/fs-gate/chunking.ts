/**
 * Content-defined chunks: a rolling hash over the bytes decides where one ends, so that an insertion in the middle of a file shifts no
 * boundary behind it and a second version shares nearly all its chunks with the first. Pure.
 */

/** Bytes. Average = smallest + 2^maskBits. Larger chunks share less, smaller ones cost a row each. */
const smallest = 16 * 1024
const largest = 256 * 1024
const mask = (1 << 16) - 1

/** The same numbers in every run: boundaries must not depend on the process (xorshift32 from a fixed seed). */
const gear = (() => {
  const table = new Int32Array(256)
  let state = 0x9e3779b9
  for (let i = 0; i < 256; i += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    table[i] = state
  }
  return table
})()

/** Length of the chunk that starts at `start`. `last`: nothing follows `bytes`; otherwise null when more bytes are needed to tell. */
export function chunkLength(bytes: Uint8Array, start: number, last: boolean): number | null {
  const available = bytes.length - start
  if (available <= smallest) return last ? available : null
  const end = Math.min(available, largest)
  let hash = 0
  for (let i = smallest; i < end; i += 1) {
    hash = ((hash << 1) + (gear[bytes[start + i] as number] as number)) | 0
    // The high bits depend on the last 32 bytes, the low ones on fewer.
    if (((hash >>> 15) & mask) === 0) return i + 1
  }
  if (end === largest) return largest
  return last ? available : null
}
