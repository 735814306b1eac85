import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acquireLock, readLock } from './lock.js'
import { identify, isAlive } from './process-identity.js'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bulkhead-lock-'))
  path = join(dir, 'lock')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

async function endedProcess(): Promise<{ pid: number; started: string }> {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] })
  const identity = identify(child.pid ?? 0)
  child.kill('SIGKILL')
  await once(child, 'exit')
  if (!identity) throw new Error('the process could not be identified')
  return identity
}

function lockFile(record: Record<string, unknown>): void {
  writeFileSync(path, JSON.stringify({ token: 'other', since: 0, step: 'npm packages', child: null, ...record }))
}

describe('identity of a process', () => {
  test('a running process is alive, an ended one is not', async () => {
    const self = identify(process.pid)
    expect(self && isAlive(self)).toBe(true)
    expect(isAlive(await endedProcess())).toBe(false)
  })

  test('another process with the same pid is not the same process', () => {
    expect(isAlive({ pid: process.pid, started: '1@earlier' })).toBe(false)
  })
})

describe('lock', () => {
  test('is free again after release, and leaves nothing behind', async () => {
    const lock = await acquireLock(path)
    expect(readLock(path)?.owner.pid).toBe(process.pid)
    lock.release()
    expect(readdirSync(dir)).toEqual([])
  })

  test('the second waits until the first is done, and is told for whom', async () => {
    const first = await acquireLock(path)
    first.note({ step: 'npm packages' })
    const waits: string[] = []
    let released = false
    const second = acquireLock(path, {
      onWait(holder) {
        waits.push(holder.step)
        if (released) return
        released = true
        first.release()
      },
    })
    const lock = await second
    expect(waits[0]).toBe('npm packages')
    expect(released).toBe(true)
    lock.release()
  })

  test('a lock whose owner is dead is taken over', async () => {
    lockFile({ owner: await endedProcess() })
    const lock = await acquireLock(path)
    expect(readLock(path)?.owner.pid).toBe(process.pid)
    lock.release()
  })

  test('a lock from before a restart is taken over, even if its pid lives again', async () => {
    lockFile({ owner: { pid: process.pid, started: '1@earlier' } })
    const lock = await acquireLock(path)
    expect(readLock(path)?.owner).toEqual(identify(process.pid))
    lock.release()
  })

  test("while a dead owner's program still works, the lock is held", async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] })
    const identity = identify(child.pid ?? 0)
    lockFile({ owner: await endedProcess(), child: { ...identity, name: 'npm' } })
    let waited = false
    const lock = await acquireLock(path, {
      onWait(holder) {
        expect(holder.child?.name).toBe('npm')
        waited = true
        child.stdin.end()
      },
    })
    expect(waited).toBe(true)
    lock.release()
  })

  test('a file nobody can read is not held for ever', async () => {
    writeFileSync(path, '{"tok')
    utimesSync(path, 1, 1)
    const lock = await acquireLock(path)
    expect(readLock(path)?.owner.pid).toBe(process.pid)
    lock.release()
  })

  test('waiting can be given up', async () => {
    const first = await acquireLock(path)
    const giveUp = new AbortController()
    await expect(acquireLock(path, { onWait: () => giveUp.abort(), signal: giveUp.signal })).rejects.toThrow()
    first.release()
  })

  test('many processes that find a dead owner at once still take turns', async () => {
    lockFile({ owner: await endedProcess() })
    const log = join(dir, 'turns')
    const script = `
      import { appendFileSync } from 'node:fs'
      const { acquireLock } = await import(${JSON.stringify(join(import.meta.dirname, 'lock.js'))})
      const lock = await acquireLock(${JSON.stringify(path)})
      appendFileSync(${JSON.stringify(log)}, 'in ')
      await new Promise((resolve) => setTimeout(resolve, 5))
      appendFileSync(${JSON.stringify(log)}, 'out ')
      lock.release()`
    const children = Array.from({ length: 6 }, () => spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' }))
    await Promise.all(children.map((child) => once(child, 'exit')))
    expect(readFileSync(log, 'utf8').trim().split(' ')).toEqual(Array.from({ length: 6 }, () => ['in', 'out']).flat())
    expect(existsSync(path)).toBe(false)
  })
})
