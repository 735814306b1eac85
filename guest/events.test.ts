import { expect, test } from 'vitest'
import { maxEventText, parseGuestEvent } from './events.ts'

test('an event is rebuilt of what is known of its kind', () => {
  expect(
    parseGuestEvent({
      name: 'process_start',
      attributes: { pid: 7, path: '/bin/true', command: 'true', session: 'other', at: 1 },
      more: 1,
    }),
  ).toEqual({ name: 'process_start', attributes: { pid: 7, path: '/bin/true', command: 'true' } })
  expect(parseGuestEvent({ name: 'process_exit', attributes: { pid: 7, code: 0 } })).toEqual({
    name: 'process_exit',
    attributes: { pid: 7, code: 0 },
  })
})

test.each([
  ['no kind', { name: 'process_begin', attributes: {} }],
  ['a kind of every object', { name: 'constructor', attributes: {} }],
  ['no attributes', { name: 'process_start' }],
  ['nothing', null],
  ['a text', 'process_start'],
])('%s is none', (_, value) => {
  expect(parseGuestEvent(value)).toBeNull()
})

test('what is of another kind than it should be is left out, texts are cut and say nothing to a terminal', () => {
  const inherited = Object.assign(Object.create({ path: '/inherited' }) as object, { pid: -1, command: 12 })
  expect(parseGuestEvent({ name: 'process_start', attributes: inherited })?.attributes).toEqual({})
  const event = parseGuestEvent({ name: 'process_start', attributes: { command: `\u001b[2Ja\nb\u202ec\ud800${'x'.repeat(1_000)}` } })
  const command = String(event?.attributes['command'])
  expect(command.startsWith(' [2Ja b c\ufffdxxx')).toBe(true)
  expect(command).toHaveLength(maxEventText)
})
