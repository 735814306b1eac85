/**
 * Checks a model with several workers, each on its own thread, that all add to one set of states: the same states, steps, depth and lengths
 * of counterexamples as one worker finds. Temporal properties need the graph in one place, reductions a state's neighbours: one worker asks and
 * makes those.
 */
import { Worker } from 'node:worker_threads'
import { type CheckLimits, type CheckResult, notAsked, productOf, verdicts } from '../explore.ts'
import { Arena } from '../arena.ts'
import { Expansion } from '../expansion.ts'
import type { Product } from '../product.ts'
import { defaultMaxStates, unreached } from '../search.ts'
import { createTables, type Compiled, type Tables } from '../tables.ts'
import { traceAlong, type Violation } from '../trace.ts'
import { layoutOf, unpackAt } from '../layout.ts'
import { Control, controlBytes, OtherFailed, type SharedMemory } from './control.ts'
import { begin, type CrewLimits, looksBytes, type Part, type Told } from './crew.ts'
import { Journal, journalBytes } from './journal.ts'
import { loadReference, type Reference } from './reference.ts'
import { statesMemory } from './shared-states.ts'
import type { FromThread, ToThread } from './thread.ts'

export type PoolLimits = Pick<CheckLimits, 'maxStates' | 'maxBytes' | 'stopAtFirst' | 'onProgress'> & {
  /** States that each worker finds for itself first (crew.ts). Default 20,000, a tenth of a second: most questions are asked by then. */
  firstStates?: number
}

const progressMs = 500

export class Pool {
  readonly #threads: Worker[]
  readonly #heapMiB: number | undefined

  /** @param heapMiB of each thread; default: what Node gives */
  constructor(workers: number, heapMiB?: number) {
    this.#heapMiB = heapMiB
    this.#threads = Array.from({ length: workers }, () => this.#start())
  }

  #start(): Worker {
    const limits = this.#heapMiB === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: this.#heapMiB } }
    const thread = new Worker(new URL('./thread.ts', import.meta.url), limits)
    // Whoever waits for a search hears of a thread's end there.
    thread.on('error', () => {})
    return thread
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(async (thread) => thread.terminate()))
  }

  async check(reference: Reference, limits: PoolLimits = {}): Promise<CheckResult> {
    const {
      maxStates = defaultMaxStates,
      maxBytes = Number.POSITIVE_INFINITY,
      stopAtFirst = false,
      firstStates = 20_000,
      onProgress,
    } = limits
    const bounds: CrewLimits = { maxStates, maxBytes, stopAtFirst, firstStates }
    const product = productOf(await loadReference(reference))
    const workers = this.#threads.length
    const memory: SharedMemory = {
      control: new SharedArrayBuffer(controlBytes(workers)),
      journal: new SharedArrayBuffer(journalBytes.first, { maxByteLength: journalBytes.most }),
      states: statesMemory(maxBytes),
      looks: new SharedArrayBuffer(looksBytes(product)),
    }
    const control = new Control(memory.control, workers, 0)
    const started = performance.now()
    const watch = setInterval(() => onProgress?.(control.states(), 0), progressMs)
    // All are waited for, so that none is still at this search when the next one begins.
    const ends = await Promise.allSettled(
      this.#threads.map(async (thread, me) => this.#partOf(thread, control, { reference, memory, workers, me, limits: bounds })),
    )
    clearInterval(watch)
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as Error] : []))
    if (failures.length > 0) throw failures.find((error) => !(error instanceof OtherFailed)) ?? failures[0]
    const parts = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
    return resultOf(product, { memory, control, limits: bounds }, parts, performance.now() - started)
  }

  async #partOf(port: Worker, control: Control, task: ToThread): Promise<Part> {
    return new Promise((resolve, reject) => {
      let why: Error | null = null
      const onMessage = (message: FromThread): void => {
        port.off('error', onError)
        port.off('exit', onExit)
        if (message.did === 'part') resolve(message.part)
        else reject(message.echo ? new OtherFailed() : new Error(message.message))
      }
      const onError = (error: Error): void => void (why = error)
      // A thread that is no more says nothing to the others, and takes no part in the next search.
      const onExit = (code: number): void => {
        port.off('message', onMessage)
        port.off('error', onError)
        control.fail()
        this.#threads[task.me] = this.#start()
        reject(why ?? new Error(`A worker of the search ended by itself, with code ${code}.`))
      }
      port.once('message', onMessage)
      port.once('error', onError)
      port.once('exit', onExit)
      port.postMessage(task)
    })
  }
}

type Done = { memory: SharedMemory; control: Control; limits: CrewLimits }

function resultOf(product: Product, done: Done, parts: readonly Part[], ms: number): CheckResult {
  const sum = (of: (part: Part) => number): number => parts.reduce((total, part) => total + of(part), 0)
  const tables = createTables(product)
  for (const { reached } of parts) for (const name of reached) tables.reached.add(name)
  const { stopped } = done.control
  const { words, parents, slots } = done.memory.states
  const violations = [...tracesOf(tables, done, parts), ...(stopped === null ? unreached(tables) : [])]
  return {
    name: product.name,
    states: done.control.states(),
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
    bytes: words.byteLength + parents.byteLength + slots.byteLength,
  }
}

/** Each property that somebody saw broken, with the shortest way there that any worker has. */
function tracesOf(tables: Tables, { memory, control, limits }: Done, parts: readonly Part[]): Violation[] {
  const parents = new Int32Array(memory.states.parents)
  const ways = parts.flatMap(({ sightings }) => sightings.map((told) => ({ told, path: pathTo(parents, told.at) })))
  if (ways.length === 0) return []
  // Values have the workers' numbers once all that they asked was asked here.
  const arena = new Arena(tables.product.components.length)
  begin(new Expansion(tables, arena), arena, limits)
  const journal = new Journal(tables, control, memory.journal)
  journal.catchUp()
  const layout = layoutOf(journal.bits)
  const words = new Int32Array(memory.states.words)
  const vectorOf = (state: number): Int32Array => {
    const vector = new Int32Array(journal.bits.length)
    unpackAt(words, state, layout, vector)
    return vector
  }
  const first = new Map<string, (typeof ways)[number]>()
  for (const way of ways.toSorted((a, b) => lengthOf(a) - lengthOf(b))) if (!first.has(way.told.property)) first.set(way.told.property, way)
  return [...first.values()].map(({ told: { kind, property, last, detail }, path }) => {
    const vectors = path.map(vectorOf)
    const compiled: Compiled | undefined = last ? tables.outcomes(last.rule, vectors.at(-1) as Int32Array)[last.place] : undefined
    return { kind, property, trace: traceAlong(tables, vectors, undefined, compiled), ...(detail === undefined ? {} : { detail }) }
  })
}

const lengthOf = ({ told, path }: { told: Told; path: readonly unknown[] }): number => path.length + (told.last ? 1 : 0)

function pathTo(parents: Int32Array, state: number): number[] {
  const path: number[] = []
  for (let at = state; at >= 0; at = parents[at] as number) path.unshift(at)
  return path
}
