/** Messages that wait, first in first out. Taking one costs the same however many wait. */
export class Mailbox<Item> {
  private items: (Item | undefined)[] = []
  private head = 0

  get length(): number {
    return this.items.length - this.head
  }

  push(item: Item): void {
    this.items.push(item)
  }

  shift(): Item | undefined {
    const item = this.items[this.head]
    if (item === undefined) return undefined
    this.items[this.head++] = undefined
    if (this.head === this.items.length) this.clear()
    // What was taken is let go now and then, at a cost that spreads over the takes.
    else if (this.head >= 1_024 && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return item
  }

  /** Takes out everything that fits, in order. */
  take(fits: (item: Item) => boolean): Item[] {
    const all = [...this]
    const taken = all.filter(fits)
    if (taken.length > 0) {
      this.items = all.filter((item) => !fits(item))
      this.head = 0
    }
    return taken
  }

  *[Symbol.iterator](): Generator<Item> {
    for (let at = this.head; at < this.items.length; at++) yield this.items[at] as Item
  }

  private clear(): void {
    this.items = []
    this.head = 0
  }
}
