/** Checks several models at a time, each in a thread with a heap of its own; says what each gave in the order in which they are listed. */
import { availableParallelism, totalmem } from 'node:os'
import type { Subject } from '../checker/subjects.ts'
import type { CheckCommand } from './check-args.ts'
import { exitCodes } from './exit-codes.ts'
import { inThread } from './in-thread.ts'

export type CheckTask = { name: string; options: CheckCommand }
type Checked = { text: string; failed: boolean }
export type CheckNews = { progress: string } | Checked

/** What all heaps together may take of a machine's memory: states are kept beside them. */
const heapShare = 0.6

export async function checkInThreads(
  wanted: readonly Subject[],
  { out, progress, ...options }: CheckCommand & { out(text: string): void; progress(text: string): void },
): Promise<number> {
  const jobs = Math.min(options.workers ?? availableParallelism(), wanted.length)
  const heapMiB = Math.floor((heapShare * totalmem()) / jobs / 2 ** 20)
  const results = wanted.map(() => Promise.withResolvers<Checked>())
  // Whoever reads them in order meets a failure when its turn comes.
  for (const { promise } of results) promise.catch(() => {})
  const waiting = wanted.entries()
  const done = Promise.all(
    Array.from({ length: jobs }, async () => {
      for (const [index, { name }] of waiting) {
        const { resolve, reject } = results[index] as PromiseWithResolvers<Checked>
        await oneInThread({ name, options: { ...options, workers: 1 } }, heapMiB, progress).then(resolve, reject)
      }
    }),
  )
  let failed = false
  for (const { promise } of results) {
    const checked = await promise
    out(checked.text)
    failed ||= checked.failed
  }
  await done
  return failed ? exitCodes.failed : exitCodes.done
}

const oneInThread = (task: CheckTask, heapMiB: number, progress: (text: string) => void): Promise<Checked> =>
  inThread<CheckNews, Checked>(
    new URL('./check-thread.ts', import.meta.url),
    { workerData: task, heapMiB, what: `checked ${task.name}` },
    (news, _thread, done) => ('progress' in news ? progress(news.progress) : done(news)),
  )
