/** What can wait in a mailbox: it says itself what waits behind it, so that a mailbox is no more than its two ends. In one mailbox at a time. */
export type Waiting<Item> = { next: Item | null }

/** Messages that wait, first in first out. Putting one in and taking one cost the same however many wait, and an empty one holds nothing. */
export class Mailbox<Item extends Waiting<Item>> {
  /** How many wait. A field and not computed when asked: it is asked with every message. Written here only. */
  length = 0
  private first: Item | null = null
  private last: Item | null = null

  push(item: Item): void {
    if (this.last === null) this.first = item
    else this.last.next = item
    this.last = item
    this.length++
  }

  shift(): Item | undefined {
    const item = this.first
    if (item === null) return undefined
    this.length--
    this.first = item.next
    if (item.next === null) this.last = null
    // One that got old would keep all that came after it, handled or not, until the whole heap is looked through.
    else item.next = null
    return item
  }

  /** Takes out everything that fits, in order. */
  take(fits: (item: Item) => boolean): Item[] {
    const taken: Item[] = []
    for (let left = this.length; left > 0; left--) {
      const item = this.shift() as Item
      if (fits(item)) taken.push(item)
      else this.push(item)
    }
    return taken
  }

  *[Symbol.iterator](): Generator<Item> {
    for (let item = this.first; item !== null; item = item.next) yield item
  }
}
