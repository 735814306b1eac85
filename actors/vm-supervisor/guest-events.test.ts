import { expect, onTestFinished, test, vi } from 'vitest'
import type { GuestEvent } from '../../guest/events.ts'
import { type Batch, GuestEvents } from './guest-events.ts'
import { eventBatch, eventBudget, eventsKept } from './limits.ts'

const start: GuestEvent = { name: 'process_start', attributes: { pid: 1 } }
const denied: GuestEvent = { name: 'syscall_denied', attributes: { pid: 1, syscall: 'bpf' } }

function gather() {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const batches: Batch[] = []
  const events = new GuestEvents((batch) => batches.push(batch))
  const of = (session: string) => batches.filter((batch) => batch.session === session)
  return {
    events,
    batches,
    told: (session: string) => of(session).flatMap((batch) => batch.events).length,
    missed: (session: string) => of(session).reduce((sum, { missed }) => sum + missed, 0),
  }
}

test('events are gathered by session, and passed on after a moment', () => {
  const { events, batches } = gather()
  events.add('a', start, 0)
  events.add('b', denied, 3)
  events.add('a', denied, 0)
  expect(batches).toEqual([])
  vi.advanceTimersByTime(1_000)
  expect(batches).toEqual([
    { session: 'a', events: [start, denied], missed: 0 },
    { session: 'b', events: [denied], missed: 3 },
  ])
  vi.advanceTimersByTime(10_000)
  expect(batches).toHaveLength(2)
})

test('a flood is bounded and counted, whoever sends it; what is rarer than programs is told all the same', () => {
  const { events, batches, told, missed } = gather()
  for (let at = 0; at < 10_000; at++) events.add('a', start, 0)
  events.add('b', denied, 0)
  events.end()
  expect(told('a')).toBe(eventBudget.burst - eventsKept + 1)
  expect(told('a') + missed('a')).toBe(10_000)
  expect(told('b')).toBe(1)
  for (const batch of batches) expect(batch.events.length).toBeLessThanOrEqual(eventBatch)
  for (let at = 0; at < 10_000; at++) events.add('b', denied, Number.MAX_SAFE_INTEGER)
  events.end()
  expect(told('b')).toBeLessThanOrEqual(eventsKept)
  expect(missed('b')).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER * 4)
  // In the long run.
  vi.advanceTimersByTime(3_600_000)
  for (let at = 0; at < 10_000; at++) events.add('a', start, 0)
  events.end()
  expect(told('a')).toBeLessThanOrEqual(2 * (eventBudget.burst - eventsKept + 1))
})
