/** One search of two-phase commit by one worker, here or in a thread of its own. */
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { compose } from '../checker/compose.ts'
import { twoPhase } from '../checker/published/two-phase.ts'
import { search } from '../checker/search.ts'
import { createTables } from '../checker/tables.ts'

export type Searched = { states: number; statesPerSecond: number; bytesPerState: number }

export function searchOnce(managers: number): Searched {
  const tables = createTables(compose(twoPhase(managers)))
  const started = performance.now()
  const { states, complete, violations, arena } = search(tables)
  const seconds = (performance.now() - started) / 1000
  if (!complete || violations.length > 0) throw new Error('the search did not end as it must')
  return { states, statesPerSecond: states / seconds, bytesPerState: arena.bytesPerState }
}

/** Threads that search at the same time and share nothing but the machine. */
export class Apart {
  readonly #threads: readonly Worker[]

  constructor(threads: number) {
    this.#threads = Array.from({ length: threads }, () => new Worker(new URL(import.meta.url)))
  }

  /** States per second of all of them together. */
  async search(managers: number): Promise<number> {
    const rates = await Promise.all(this.#threads.map(async (thread) => this.#one(thread, managers)))
    return rates.reduce((sum, rate) => sum + rate, 0)
  }

  async #one(thread: Worker, managers: number): Promise<number> {
    return new Promise((resolve, reject) => {
      thread.once('error', reject)
      thread.once('message', ({ statesPerSecond }: Searched) => {
        thread.off('error', reject)
        resolve(statesPerSecond)
      })
      thread.postMessage(managers, [])
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(async (thread) => thread.terminate()))
  }
}

if (!isMainThread) parentPort?.on('message', (managers: number) => parentPort?.postMessage(searchOnce(managers), []))
