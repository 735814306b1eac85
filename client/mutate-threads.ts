/** Judges the mutants of an actor on several cores: each thread is given the next one when it is done with the last. */
import { availableParallelism } from 'node:os'
import type { MutantVerdict } from '../checker/mutate.ts'
import { inThread } from './in-thread.ts'

export type MutantTask = { name: string }
export type MutantNews = { count: number } | { index: number; verdict: MutantVerdict }
type Told = (verdict: MutantVerdict, done: number, of: number) => void

/** @returns in the order of the machine, whichever thread was first */
export async function mutateInThreads(name: string, workers: number | null, told: Told): Promise<MutantVerdict[]> {
  const verdicts: MutantVerdict[] = []
  let next = 0
  let done = 0
  const oneThread = (): Promise<void> => {
    let of = 0
    return inThread<MutantNews, void>(
      new URL('./mutate-thread.ts', import.meta.url),
      { workerData: { name } satisfies MutantTask, what: `judged mutants of ${name}` },
      (news, thread, over) => {
        if ('count' in news) of = news.count
        else {
          verdicts[news.index] = news.verdict
          told(news.verdict, ++done, of)
        }
        if (next < of) thread.postMessage(next++, [])
        else over()
      },
    )
  }
  await Promise.all(Array.from({ length: workers ?? availableParallelism() }, oneThread))
  return verdicts
}
