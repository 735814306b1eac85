import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Mailbox } from './mailbox.ts'

type Message = { n: number; next: Message | null }

test('whatever is put in, taken and picked out, it is a list in order', () => {
  const act = fc.oneof(
    { weight: 4, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 700 }) }) },
    { weight: 4, arbitrary: fc.record({ shift: fc.integer({ min: 1, max: 700 }) }) },
    { weight: 1, arbitrary: fc.record({ take: fc.integer({ min: 2, max: 5 }) }) },
  )
  fc.assert(
    fc.property(fc.array(act, { maxLength: 20 }), (acts) => {
      const mailbox = new Mailbox<Message>()
      let list: Message[] = []
      let next = 0
      for (const step of acts) {
        if ('push' in step)
          for (let count = 0; count < step.push; count++) {
            const item: Message = { n: next++, next: null }
            mailbox.push(item)
            list.push(item)
          }
        else if ('shift' in step) for (let count = 0; count < step.shift; count++) expect(mailbox.shift()).toBe(list.shift())
        else {
          const fits = ({ n }: { n: number }) => n % step.take === 0
          expect(mailbox.take(fits)).toEqual(list.filter(fits))
          list = list.filter((item) => !fits(item))
        }
        expect(mailbox.length).toBe(list.length)
        expect([...mailbox]).toEqual(list)
      }
    }),
    { numRuns: 60 },
  )
})
