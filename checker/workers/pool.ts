/**
 * Checks a model with several workers, each on its own thread with its own share of the states: the same states, steps, depth and lengths of
 * counterexamples as one worker finds. Temporal properties need the graph in one place, reductions a state's neighbours: one worker asks and
 * makes those.
 */
import { Worker } from 'node:worker_threads'
import { type CheckLimits, type CheckResult, notAsked, productOf, verdicts } from '../explore.ts'
import { Expansion } from '../expansion.ts'
import type { Product } from '../product.ts'
import { defaultMaxStates, unreached } from '../search.ts'
import { createTables, type Compiled, type Tables } from '../tables.ts'
import { traceAlong, type Violation } from '../trace.ts'
import { layoutOf, unpackAt } from '../layout.ts'
import { Control, controlBytes, type SharedMemory } from './control.ts'
import { begin, type CrewLimits, type Part, type Told } from './crew.ts'
import { Journal, journalBytes } from './journal.ts'
import { queueBytes } from './queue.ts'
import { loadReference, type Reference } from './reference.ts'
import type { FromThread, ToThread } from './thread.ts'

export type PoolLimits = Pick<CheckLimits, 'maxStates' | 'maxBytes' | 'stopAtFirst' | 'onProgress'> & {
  /** States that each worker finds for itself first (crew.ts). Default 4000. */
  firstStates?: number
}

const progressMs = 500

export class Pool {
  readonly #threads: readonly Worker[]

  /** @param heapMiB of each thread; default: what Node gives */
  constructor(workers: number, heapMiB?: number) {
    const limits = heapMiB === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: heapMiB } }
    this.#threads = Array.from({ length: workers }, () => new Worker(new URL('./thread.ts', import.meta.url), limits))
    // Whoever waits for a search hears of a thread's end there.
    for (const thread of this.#threads) thread.on('error', () => {})
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(async (thread) => thread.terminate()))
  }

  async check(reference: Reference, limits: PoolLimits = {}): Promise<CheckResult> {
    const {
      maxStates = defaultMaxStates,
      maxBytes = Number.POSITIVE_INFINITY,
      stopAtFirst = false,
      firstStates = 4_000,
      onProgress,
    } = limits
    const bounds: CrewLimits = { maxStates, maxBytes, stopAtFirst, firstStates }
    const product = productOf(await loadReference(reference))
    const workers = this.#threads.length
    const memory: SharedMemory = {
      control: new SharedArrayBuffer(controlBytes(workers)),
      journal: new SharedArrayBuffer(journalBytes.first, { maxByteLength: journalBytes.most }),
      queues: Array.from(
        { length: workers ** 2 },
        (_, at) => new SharedArrayBuffer(at % workers === Math.floor(at / workers) ? 8 : queueBytes),
      ),
    }
    const control = new Control(memory.control, workers, -1)
    const started = performance.now()
    const watch = setInterval(() => onProgress?.(control.states(), 0), progressMs)
    let parts: Part[]
    try {
      parts = await Promise.all(this.#threads.map(async (thread, me) => partOf(thread, { reference, memory, workers, me, limits: bounds })))
    } finally {
      clearInterval(watch)
    }
    return resultOf(product, { memory, control, limits: bounds }, parts, performance.now() - started)
  }
}

async function partOf(port: Worker, task: ToThread): Promise<Part> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: FromThread): void => {
      port.off('error', onError)
      if (message.did === 'part') resolve(message.part)
      else reject(new Error(message.message))
    }
    const onError = (error: Error): void => {
      port.off('message', onMessage)
      reject(error)
    }
    port.once('message', onMessage)
    port.once('error', onError)
    port.postMessage(task)
  })
}

type Done = { memory: SharedMemory; control: Control; limits: CrewLimits }

function resultOf(product: Product, done: Done, parts: readonly Part[], ms: number): CheckResult {
  const sum = (of: (part: Part) => number): number => parts.reduce((total, part) => total + of(part), 0)
  const tables = createTables(product)
  for (const { reached } of parts) for (const name of reached) tables.reached.add(name)
  const { stopped } = done.control
  const violations = [...tracesOf(tables, done, parts), ...(stopped === null ? unreached(tables) : [])]
  return {
    name: product.name,
    states: sum(({ states }) => states),
    transitions: sum(({ transitions }) => transitions),
    depth: Math.max(...parts.map(({ depth }) => depth)),
    complete: stopped === null,
    stopped,
    reduced: [],
    properties: verdicts(product, tables.reached, violations),
    violations,
    notAsked: notAsked(product),
    notReduced: null,
    ms,
    expansions: Math.max(...parts.map(({ expansions }) => expansions)),
    bytes: sum(({ bytes }) => bytes),
  }
}

/** Each property that somebody saw broken, with the shortest way there that any worker has. */
function tracesOf(tables: Tables, { memory, control, limits }: Done, parts: readonly Part[]): Violation[] {
  const ways = parts.flatMap(({ sightings }, worker) => sightings.map((told) => ({ told, path: pathTo(parts, worker, told.at) })))
  if (ways.length === 0) return []
  // Values have the workers' numbers once all that they asked was asked here.
  begin(new Expansion(tables, {}), limits)
  new Journal(tables, control, memory.journal).catchUp()
  const first = new Map<string, (typeof ways)[number]>()
  for (const way of ways.toSorted((a, b) => lengthOf(a) - lengthOf(b))) if (!first.has(way.told.property)) first.set(way.told.property, way)
  return [...first.values()].map(({ told: { kind, property, last, detail }, path }) => {
    const vectors = path.map(({ worker, index }) => vectorOf(parts[worker] as Part, index))
    const compiled: Compiled | undefined = last ? tables.outcomes(last.rule, vectors.at(-1) as Int32Array)[last.place] : undefined
    return { kind, property, trace: traceAlong(tables, vectors, undefined, compiled), ...(detail === undefined ? {} : { detail }) }
  })
}

const lengthOf = ({ told, path }: { told: Told; path: readonly unknown[] }): number => path.length + (told.last ? 1 : 0)

function pathTo(parts: readonly Part[], worker: number, index: number): { worker: number; index: number }[] {
  const path: { worker: number; index: number }[] = []
  for (let at = index * parts.length + worker; at >= 0; ) {
    const place = { worker: at % parts.length, index: Math.floor(at / parts.length) }
    path.unshift(place)
    at = parts[place.worker]?.parents[place.index] as number
  }
  return path
}

function vectorOf({ words, bits }: Part, index: number): Int32Array {
  const vector = new Int32Array(bits.length)
  unpackAt(words, index, layoutOf(bits), vector)
  return vector
}
