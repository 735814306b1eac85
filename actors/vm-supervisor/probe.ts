/**
 * Does hardware acceleration really run the workspace's kernel here? Only an experiment tells: `/dev/kvm` may be there, open, make a VM and
 * run real-mode code (a boot sector passes) and yet never get a kernel into long mode. So the kernel itself is booted, with no root; it
 * works if it gets as far as missing that. The verdict is kept, keyed by everything it depends on.
 */
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { cpus, release, version } from 'node:os'
import type { Readable } from 'node:stream'
import { acceleratorLimitMs, acceleratorStallMs } from './limits.ts'
import type { Accelerator } from './driver.ts'

export type KeptVerdict = { key: string; accelerator: Accelerator; why: string }

/** What a verdict depends on: host kernel, processor, hypervisor build, guest kernel, and who may open the device. */
export function verdictKey(hypervisorVersion: string, guestKernel: string, access = ''): string {
  const parts = [release(), version(), cpus()[0]?.model ?? '', hypervisorVersion, guestKernel, access]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

export async function readVerdict(path: string, key: string): Promise<KeptVerdict | null> {
  const kept = await lastVerdict(path)
  return kept?.key === key ? kept : null
}

/** The last one, for whatever it was. */
export async function lastVerdict(path: string): Promise<KeptVerdict | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as KeptVerdict
  } catch {
    return null
  }
}

export function keepVerdict(path: string, verdict: KeptVerdict): Promise<void> {
  return writeFile(path, JSON.stringify(verdict))
}

/** What the kernel says when it is fully up and finds no root. */
const upText = 'Unable to mount root fs'

/** Null when the kernel came up, else why not. Ends by itself: on silence, at the limit, on exit, on abort. */
export function watchBoot(console: Readable, exited: Promise<string>, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    let tail = ''
    let seen = 0
    const finish = (verdict: string | null): void => {
      clearTimeout(stall)
      clearTimeout(limit)
      resolve(verdict)
    }
    const silent = (): void => finish(`the kernel stopped after ${seen} bytes of output`)
    let stall = setTimeout(silent, acceleratorStallMs)
    const limit = setTimeout(() => finish('the kernel did not come up in time'), acceleratorLimitMs)
    console.on('data', (bytes: Buffer) => {
      clearTimeout(stall)
      stall = setTimeout(silent, acceleratorStallMs)
      seen += bytes.length
      tail = (tail + bytes.toString('latin1')).slice(-4_000)
      if (tail.includes(upText)) finish(null)
    })
    console.on('error', () => {})
    void exited.then((how) => finish(how))
    signal.addEventListener('abort', () => finish('interrupted'), { once: true })
  })
}
