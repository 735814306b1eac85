import fc from 'fast-check'
import { expect, test } from 'vitest'
import { overlap } from './host-overlap.ts'

test.each([
  [['a.example'], ['*.example.com', 'a.example'], ['a.example']],
  [['*.b.example'], ['x.b.example:443', 'b.example'], ['x.b.example:443']],
  [['x.b.example'], ['*.b.example:443'], ['x.b.example:443']],
  [['*.c.b.example:80'], ['*.b.example'], ['*.c.b.example:80']],
  [['b.example'], ['*.b.example'], []],
  [['a.example:80'], ['a.example:443'], []],
  [['A.Example.'], ['a.example'], ['a.example']],
  [['bücher.example'], ['xn--bcher-kva.example'], ['xn--bcher-kva.example']],
  [['notexample.com'], ['*.example.com', 'example.com'], []],
  [['a.example', 'b.example:1'], ['*'], ['a.example', 'b.example:1']],
  [['a.example'], [], []],
  [['[::1]', 'http://x', ''], ['a.example'], []],
])('%j and %j', (member, policy, both) => {
  expect(overlap(member, policy)).toEqual(both)
})

test('a host of the overlap is in both lists', () => {
  const name = fc.constantFrom('a.example', 'b.a.example', 'c.b.a.example', 'example')
  const pattern = fc.tuple(fc.constantFrom('', '*.'), name, fc.constantFrom('', ':80', ':443')).map((parts) => parts.join(''))
  const matches = (list: string[], host: string, port: string) =>
    list.some((text) => {
      const [rule = '', only] = text.split(':')
      return (only === undefined || only === port) && (rule.startsWith('*.') ? host.endsWith(rule.slice(1)) : host === rule)
    })
  fc.assert(
    fc.property(fc.array(pattern), fc.array(pattern), name, fc.constantFrom('80', '443', '1'), (one, other, host, port) => {
      expect(matches(overlap(one, other), host, port)).toBe(matches(one, host, port) && matches(other, host, port))
    }),
  )
})
