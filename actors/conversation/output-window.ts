/** Keeps the first and the last part of a long text while it streams by; the model needs the start and, more, the end. */
export type OutputWindow = { add(text: string): void; text(): string }

/** `head` and `tail` in characters. */
export function outputWindow(head: number, tail: number): OutputWindow {
  let first = ''
  let last = ''
  let total = 0
  return {
    add(text) {
      total += text.length
      const room = head - first.length
      first += text.slice(0, room)
      last += text.slice(Math.max(0, room))
      // Cut seldom: slicing on every small piece would copy the tail each time.
      if (last.length > 2 * tail) last = last.slice(-tail)
    },
    text() {
      if (total <= head + tail) return first + last
      return `${first}\n(… ${total - head - tail} characters left out …)\n${last.slice(-tail)}`
    },
  }
}
