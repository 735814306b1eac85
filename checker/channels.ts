/**
 * Mailboxes as components. A value is what waits, as numbers of messages; operations append and withdraw.
 *
 *   fifo   the kernel's: in order, and the oldest alone can be handed over
 *   bag    any of what waits, each as often as it was sent (for published models)
 *   set    any of what was ever sent, and it stays there (for published models)
 */
import type { Badge, Fault } from '../kernel/types.ts'
import { canonical, Interner } from './product.ts'

export type Order = 'fifo' | 'bag' | 'set'

/** What waits for an actor. `request`: the number under which it is answered. */
export type Item =
  | {
      what: 'message'
      from: string
      kind: string
      body: unknown
      request: number | null
      badge: Badge
      cap: number
      caps: readonly number[]
    }
  | { what: 'replied'; request: number; ref: string; kind: string; body: unknown; slots: readonly number[] }
  | { what: 'refused'; request: number; ref: string; kind: string; error: Fault }
  | { what: 'part'; request: number; ref: string; kind: string; body: unknown }
  /** Whoever asked gave up. */
  | { what: 'cancelled'; request: number }

type Operation =
  | { do: 'append'; item: number; bounded: boolean }
  | { do: 'withdraw'; request: number }
  | { do: 'forget' }
  | { do: 'nothing' }

/** Messages and operations, numbered for a whole composition. */
export class Channels {
  readonly items = new Interner<Item>()
  readonly operations = new Interner<Operation>()
  readonly order: Order

  constructor(order: Order) {
    this.order = order
  }

  item(item: Item): number {
    return this.items.add(canonical(item), () => item)
  }

  /** Only messages and parts count against the bound: an answer is never refused. */
  append(item: Item): number {
    const id = this.item(item)
    return this.operations.add(`+${id}`, () => ({ do: 'append', item: id, bounded: item.what === 'message' || item.what === 'part' }))
  }

  /** Takes back what waits under a request, or tells the receiver that it was cancelled. */
  withdraw(request: number): number {
    return this.operations.add(`-${request}`, () => ({ do: 'withdraw', request }))
  }

  /** The receiver starts anew: what was addressed to its earlier life is lost, what was sent to the actor stays. */
  forget(): number {
    return this.operations.add('forget', () => ({ do: 'forget' }))
  }

  /** A message that expects no answer and finds no room: a dead letter. */
  nothing(): number {
    return this.operations.add('nothing', () => ({ do: 'nothing' }))
  }

  /** Whether what is not taken stays. */
  get keeps(): boolean {
    return this.order !== 'fifo'
  }
}

type Deliverable = { item: Item; id: number; rest: number }

/** What one mailbox has ever contained, numbered by itself so that it needs few bits. */
export class Mailbox {
  readonly contents = new Interner<readonly number[]>()
  readonly #channels: Channels
  readonly #bound: number
  readonly #deliverable: (readonly Deliverable[])[] = []

  /** @param bound messages that may wait */
  constructor(channels: Channels, bound: number) {
    this.#channels = channels
    this.#bound = bound
    this.content([])
  }

  content(items: readonly number[]): number {
    const { order } = this.#channels
    const kept =
      order === 'fifo' ? items : order === 'bag' ? items.toSorted((a, b) => a - b) : [...new Set(items)].toSorted((a, b) => a - b)
    return this.contents.add(kept.join(), () => kept)
  }

  /** -1: the mailbox is full. */
  apply(content: number, op: number): number {
    const operation = this.#channels.operations.get(op)
    const items = this.contents.get(content)
    switch (operation.do) {
      case 'append': {
        if (this.#channels.order === 'set' && items.includes(operation.item)) return content
        if (operation.bounded && items.filter((id) => ['message', 'part'].includes(this.#item(id).what)).length >= this.#bound) return -1
        return this.content([...items, operation.item])
      }
      case 'withdraw': {
        const waiting = items.findIndex((id) => {
          const item = this.#item(id)
          return item.what === 'message' && item.request === operation.request
        })
        if (waiting >= 0) return this.content(items.toSpliced(waiting, 1))
        return this.content([...items, this.#channels.item({ what: 'cancelled', request: operation.request })])
      }
      case 'forget':
        return this.content(items.filter((id) => this.#item(id).what === 'message'))
      case 'nothing':
        return content
      default:
        return operation satisfies never
    }
  }

  /** What can be handed over next, and what then still waits. */
  deliverable(content: number): readonly Deliverable[] {
    return (this.#deliverable[content] ??= this.#nextOf(content))
  }

  #nextOf(content: number): Deliverable[] {
    const items = this.contents.get(content)
    const { order } = this.#channels
    if (order === 'fifo') {
      const [first] = items
      return first === undefined ? [] : [{ item: this.#item(first), id: first, rest: this.content(items.slice(1)) }]
    }
    return [...new Set(items)].map((id) => ({
      item: this.#item(id),
      id,
      rest: order === 'set' ? content : this.content(items.toSpliced(items.indexOf(id), 1)),
    }))
  }

  shown(content: number): readonly Item[] {
    return this.contents.get(content).map((id) => this.#item(id))
  }

  #item(id: number): Item {
    return this.#channels.items.get(id)
  }
}
