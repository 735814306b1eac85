/**
 * One builder at a time, across processes. The lock is the kernel's (`flock`), held by a child that ends when its input does: a
 * builder that dies in any way lets go of it.
 */
import { spawn } from 'node:child_process'
import { fault } from '../../kernel/index.ts'
import { cancelled } from './image-commands.ts'

/** How long it may take before the wait is reported. */
const unnoticedMs = 300

/** Waits for the lock on `path` (the file is made). Resolves to its release. `onWait` is called once if another holds it. */
export function takeLock(path: string, onWait: () => void, signal?: AbortSignal): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled())
    const holder = spawn('flock', [path, 'sh', '-c', 'echo held; exec cat'], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const over = new Promise<void>((done) => holder.once('close', () => done()))
    const waiting = setTimeout(onWait, unnoticedMs)
    const abort = (): void => {
      holder.kill('SIGKILL')
      holder.stdin.destroy()
      reject(cancelled())
    }
    signal?.addEventListener('abort', abort, { once: true })
    const settled = (): void => {
      clearTimeout(waiting)
      signal?.removeEventListener('abort', abort)
    }
    holder.on('error', (error) => {
      settled()
      reject(
        fault('image-failed', 'Could not lock the image folder.', {
          cause: error.message,
          remedy: 'Install util-linux, which brings flock.',
        }),
      )
    })
    holder.stdin.on('error', () => {})
    holder.stdout.once('data', () => {
      settled()
      resolve(() => {
        holder.stdin.end()
        return over
      })
    })
    holder.on('close', (code) => {
      settled()
      reject(fault('image-failed', 'Could not lock the image folder.', { cause: `flock ended with code ${code}.` }))
    })
  })
}
