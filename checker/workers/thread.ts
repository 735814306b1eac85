/** A worker's thread: takes part in one search after another. */
import { parentPort } from 'node:worker_threads'
import { productOf } from '../explore.ts'
import { createTables } from '../tables.ts'
import { Control, OtherFailed, type SharedMemory } from './control.ts'
import { type CrewLimits, type Part, searchPart } from './crew.ts'
import { loadReference, type Reference } from './reference.ts'

export type ToThread = { reference: Reference; memory: SharedMemory; workers: number; me: number; limits: CrewLimits }
/** `echo`: it failed because another did. */
export type FromThread = { did: 'part'; part: Part } | { did: 'failed'; message: string; echo: boolean }

parentPort?.on('message', ({ reference, memory, workers, me, limits }: ToThread) => {
  const say = (message: FromThread): void => parentPort?.postMessage(message, [])
  loadReference(reference)
    .then((model) => {
      say({ did: 'part', part: searchPart(createTables(productOf(model)), memory, workers, me, limits) })
    })
    .catch((error: unknown) => {
      // Before anything else: the others may be waiting.
      new Control(memory.control, workers, me).fail()
      say({ did: 'failed', message: error instanceof Error ? error.message : String(error), echo: error instanceof OtherFailed })
    })
})
