/** Messages that wait, first in first out. Taking one costs the same however many wait. */
export class Mailbox<Item> {
  private items: (Item | undefined)[] = []
  private head = 0
  private tail = 0
  /** How many wait. A field and not computed when asked: it is asked with every message. Written here only. */
  length = 0

  push(item: Item): void {
    this.items[this.tail++] = item
    this.length++
  }

  shift(): Item | undefined {
    if (this.length === 0) return undefined
    this.length--
    const item = this.items[this.head]
    this.items[this.head++] = undefined
    if (this.length === 0) this.clear()
    // What was taken is let go now and then, at a cost that spreads over the takes.
    else if (this.head >= 1_024 && this.head * 2 >= this.tail) this.hold(this.items.slice(this.head, this.tail))
    return item
  }

  /** Takes out everything that fits, in order. */
  take(fits: (item: Item) => boolean): Item[] {
    const all = [...this]
    const taken = all.filter(fits)
    if (taken.length > 0) this.hold(all.filter((item) => !fits(item)))
    return taken
  }

  *[Symbol.iterator](): Generator<Item> {
    for (let at = this.head; at < this.tail; at++) yield this.items[at] as Item
  }

  private hold(items: (Item | undefined)[]): void {
    this.items = items
    this.head = 0
    this.tail = items.length
    this.length = items.length
  }

  /** A small list is kept for what comes next. */
  private clear(): void {
    if (this.items.length > 64) this.items = []
    this.head = 0
    this.tail = 0
  }
}
