/** Judges the mutants of an actor on several cores: each thread is given the next one when it is done with the last. */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { MutantVerdict } from '../checker/mutate.ts'

export type MutantTask = { name: string }
export type MutantNews = { count: number } | { index: number; verdict: MutantVerdict }
type Told = (verdict: MutantVerdict, done: number, of: number) => void

/** @returns in the order of the machine, whichever thread was first */
export async function mutateInThreads(name: string, workers: number | null, told: Told): Promise<MutantVerdict[]> {
  const verdicts: MutantVerdict[] = []
  let next = 0
  let done = 0
  const oneThread = async (): Promise<void> => {
    const thread = new Worker(new URL('./mutate-thread.ts', import.meta.url), { workerData: { name } satisfies MutantTask })
    try {
      await new Promise<void>((resolve, reject) => {
        let of = 0
        const goOn = (): void => (next < of ? thread.postMessage(next++, []) : resolve())
        thread.on('message', (news: MutantNews) => {
          if ('count' in news) of = news.count
          else {
            verdicts[news.index] = news.verdict
            told(news.verdict, ++done, of)
          }
          goOn()
        })
        thread.once('error', reject)
        thread.once('exit', () => {
          reject(new Error(`check: the thread that judged mutants of ${name} ended before it was done.`))
        })
      })
    } finally {
      await thread.terminate()
    }
  }
  await Promise.all(Array.from({ length: workers ?? availableParallelism() }, oneThread))
  return verdicts
}
