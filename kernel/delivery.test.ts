import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Delivery, Unacknowledged } from './delivery.ts'

const delivery = (n: number): Delivery => ({
  way: {} as never,
  cap: {} as never,
  event: { type: 'x', body: n, from: {} as never },
  request: null,
  n,
  extra: null,
  next: null,
})

test('an acknowledgement is of all up to its number, once, and of none that was not sent', () => {
  const act = fc.oneof(
    fc.record({ add: fc.integer({ min: 1, max: 5 }), skip: fc.nat(2) }),
    fc.record({ ack: fc.integer({ min: -3, max: 12 }) }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.array(act, { maxLength: 60 }), (first, acts) => {
      const waited = new Unacknowledged()
      let list: Delivery[] = []
      let next = first
      for (const step of acts) {
        if ('add' in step) {
          next += step.skip
          for (let count = 0; count < step.add; count++) {
            const sent = delivery(next++)
            list.push(sent)
            waited.add(sent)
          }
        } else {
          const n = (list[0]?.n ?? next) + step.ack
          const found = list.find((sent) => sent.n === n)
          expect(waited.take(n)).toBe(found)
          if (found) list = list.filter((sent) => sent.n > n)
          expect(waited.take(n)).toBeUndefined()
        }
        expect(waited.size).toBe(list.length)
      }
    }),
  )
})
