import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { mark, reap, startTimeOf } from './orphans.ts'

async function file(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-orphans-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'qemu.json')
}

it.runIf(process.platform === 'linux')('ends exactly the process it remembered', async () => {
  const child = spawn('sleep', ['60'])
  const ended = new Promise((resolve) => child.on('exit', (_code, signal) => resolve(signal)))
  const path = await file()
  await mark(path, child.pid as number)
  expect(await reap(path)).toBe(true)
  expect(await ended).toBe('SIGKILL')
  expect(await reap(path)).toBe(false)
})

it.runIf(process.platform === 'linux')('leaves a process alone that only got the same id', async () => {
  const path = await file()
  await writeFile(path, JSON.stringify({ pid: process.pid, startTime: '1' }))
  expect(await reap(path)).toBe(false)
  expect(await startTimeOf(process.pid)).toMatch(/^\d+$/)
  await expect(readFile(path)).rejects.toThrow()
})

it('survives a file that makes no sense', async () => {
  const path = await file()
  await writeFile(path, '{"pid":')
  expect(await reap(path)).toBe(false)
})

it.runIf(process.platform === 'linux')('takes a process that ends while it is looked at for ended, and forgets it', async () => {
  const child = spawn('sleep', ['60'])
  onTestFinished(() => void child.kill('SIGKILL'))
  const path = await file()
  await mark(path, child.pid as number)
  vi.spyOn(process, 'kill').mockImplementationOnce(() => {
    throw Object.assign(new Error('kill ESRCH'), { code: 'ESRCH' })
  })
  onTestFinished(() => void vi.restoreAllMocks())
  expect(await reap(path)).toBe(false)
  await expect(readFile(path)).rejects.toThrow()
})
