import { afterEach, expect, test, vi } from 'vitest'
import { compose } from '../compose.ts'
import { twoPhase } from '../published/two-phase.ts'
import { search } from '../search.ts'
import { createTables, type Tables } from '../tables.ts'
import { Control, controlBytes } from './control.ts'
import { Journal, journalBytes } from './journal.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('whoever reads of new values reads of the bits they need at the same time', () => {
  const control = new SharedArrayBuffer(controlBytes(2))
  const entries = new SharedArrayBuffer(journalBytes.first, { maxByteLength: journalBytes.most })
  const asking = createTables(compose(twoPhase(3)))
  const reading = createTables(compose(twoPhase(3)))
  const writer = new Journal(asking, new Control(control, 2, 0), entries)
  const reader = new Journal(reading, new Control(control, 2, 1), entries)
  const store = Atomics.store
  const tooNarrow: number[] = []
  // Reads whenever anything is made known, as another thread may.
  const storing = (numbers: Int32Array, at: number, value: number): number => {
    store(numbers, at, value)
    reader.catchUp()
    tooNarrow.push(...narrow(reading, reader))
    return value
  }
  vi.spyOn(Atomics, 'store').mockImplementation(storing as never)
  search(asking)
  expect(writer.layouts).toBeGreaterThan(1)
  expect(reader.layouts).toBe(writer.layouts)
  expect(tooNarrow).toEqual([])
})

/** Components with more values than they have bits for. */
function narrow({ product }: Tables, { bits }: Journal): number[] {
  return product.components.flatMap((component, at) => (component.size() > 2 ** (bits[at] as number) ? [at] : []))
}
