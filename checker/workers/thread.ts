/** A worker's thread: takes part in one search after another. */
import { parentPort } from 'node:worker_threads'
import { productOf } from '../explore.ts'
import { createTables } from '../tables.ts'
import type { SharedMemory } from './control.ts'
import { type CrewLimits, type Part, searchPart } from './crew.ts'
import { loadReference, type Reference } from './reference.ts'

export type ToThread = { reference: Reference; memory: SharedMemory; workers: number; me: number; limits: CrewLimits }
export type FromThread = { did: 'part'; part: Part } | { did: 'failed'; message: string }

parentPort?.on('message', ({ reference, memory, workers, me, limits }: ToThread) => {
  const say = (message: FromThread, ...buffers: readonly ArrayBufferLike[]): void =>
    parentPort?.postMessage(message, buffers as unknown as ArrayBuffer[])
  loadReference(reference)
    .then((model) => {
      const part = searchPart(createTables(productOf(model)), memory, workers, me, limits)
      say({ did: 'part', part }, part.words.buffer, part.parents.buffer)
    })
    .catch((error: unknown) => {
      say({ did: 'failed', message: error instanceof Error ? error.message : String(error) })
    })
})
