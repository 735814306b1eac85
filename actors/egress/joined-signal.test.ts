import { getEventListeners } from 'node:events'
import { expect, it } from 'vitest'
import { joinedSignal } from './joined-signal.ts'

it('ends with the first of its sources, for its reason, and at once', () => {
  const [one, two] = [new AbortController(), new AbortController()]
  const { signal, join } = joinedSignal(one.signal)
  join(two.signal)
  const heard: unknown[] = []
  signal.addEventListener('abort', () => heard.push(signal.reason))
  two.abort('two')
  expect(heard).toEqual(['two'])
  one.abort('one')
  expect([heard, signal.reason]).toEqual([['two'], 'two'])
})

it('ends by itself, and with a source that has ended before', () => {
  const alone = joinedSignal()
  alone.end('why')
  expect(alone.signal.reason).toBe('why')
  expect(joinedSignal(AbortSignal.abort('gone')).signal.reason).toBe('gone')
})

it('leaves nothing with its sources once released', () => {
  const source = new AbortController()
  const all = Array.from({ length: 100 }, () => joinedSignal(source.signal))
  expect(getEventListeners(source.signal, 'abort')).toHaveLength(100)
  for (const { release } of all) release()
  expect(getEventListeners(source.signal, 'abort')).toHaveLength(0)
  source.abort()
  expect(all.some(({ signal }) => signal.aborted)).toBe(false)
})
