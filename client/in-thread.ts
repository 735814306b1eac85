/** Work in a thread with a heap of its own, for as long as it has something to say. */
import { type ResourceLimits, Worker } from 'node:worker_threads'

type Talk<News, Result> = (news: News, thread: Worker, done: (result: Result) => void) => void

/**
 * Runs the module at `file`; the thread is ended when `talk` is done with it.
 * @throws what the thread throws, or that it ended before
 */
export async function inThread<News, Result>(
  file: URL,
  { workerData, heapMiB, what }: { workerData: unknown; heapMiB?: number; what: string },
  talk: Talk<News, Result>,
): Promise<Result> {
  const resourceLimits: ResourceLimits = heapMiB === undefined ? {} : { maxOldGenerationSizeMb: heapMiB }
  const thread = new Worker(file, { workerData, resourceLimits })
  try {
    return await new Promise<Result>((resolve, reject) => {
      thread.on('message', (news: News) => talk(news, thread, resolve))
      thread.once('error', reject)
      thread.once('exit', () => {
        reject(new Error(`check: the thread that ${what} ended before it was done.`))
      })
    })
  } finally {
    await thread.terminate()
  }
}
