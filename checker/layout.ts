/** How states are packed: components side by side, each in as many bits as it needs and within one 32-bit word. */

/** More values than a component will ever have. */
const mostBits = 24
/** Bits a component may have beyond those it needs: tables by packed values (flat.ts) are as large as there are bits. */
const mostSpare = 2

/** Where each component is in a packed state. */
export type Layout = { word: Int32Array; shift: Int32Array; mask: Int32Array; width: number }

/** @param bits for each component */
export function layoutOf(bits: Int32Array): Layout {
  const layout = { word: new Int32Array(bits.length), shift: new Int32Array(bits.length), mask: new Int32Array(bits.length) }
  let word = 0
  let used = 0
  for (const [i, count] of bits.entries()) {
    if (used + count > 32) {
      word++
      used = 0
    }
    layout.word[i] = word
    layout.shift[i] = used
    layout.mask[i] = maskOf(count)
    used += count
  }
  return { ...layout, width: word + 1 }
}

/** @param words states of that layout, one after another */
export function unpackAt(words: Int32Array, state: number, { word, shift, mask, width }: Layout, into: Int32Array | number[]): void {
  const base = state * width
  for (let i = 0; i < word.length; i++)
    into[i] = ((words[base + (word[i] as number)] as number) >>> (shift[i] as number)) & (mask[i] as number)
}

export const maskOf = (bits: number): number => (bits === 32 ? -1 : (1 << bits) - 1)

/**
 * Bits for components of these sizes. What would be left over of the words goes to the components that will outgrow theirs first if they grow
 * on as they did since they had the sizes `before`, so that packing anew stays rare.
 */
export function bitsFor(sizes: readonly number[], before: readonly number[]): Int32Array {
  const needed = Int32Array.from(sizes, (size) => Math.ceil(Math.log2(Math.max(1, size))))
  const words = layoutOf(needed).width
  let spent = needed
  const done = new Set<number>()
  // Values expected before long, to those there is room for.
  const filled = (component: number): number => {
    const size = sizes[component] as number
    return (size * size) / (before[component] as number) / 2 ** (spent[component] as number)
  }
  for (;;) {
    let closest = -1
    for (const [i, size] of sizes.entries()) if (size > 1 && !done.has(i) && (closest < 0 || filled(i) > filled(closest))) closest = i
    if (closest < 0) return spent
    const wider = spent.slice()
    const bits = (wider[closest] as number) + 1
    wider[closest] = bits
    if (bits <= Math.min((needed[closest] as number) + mostSpare, mostBits) && layoutOf(wider).width === words) spent = wider
    else done.add(closest)
  }
}
