import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, it, onTestFinished, vi } from 'vitest'
import { identify, isAlive, signalProcess } from './process-identity.js'

it('signals exactly the process it knows, and says when that one does not run', async () => {
  const child = spawn('sleep', ['60'])
  const ended = once(child, 'exit')
  const known = identify(child.pid as number)
  if (known === null) throw new Error('it does not run')
  expect(signalProcess({ ...known, started: 'another time' }, 'SIGKILL')).toBe(false)
  expect(isAlive(known)).toBe(true)
  expect(signalProcess(known, 'SIGTERM')).toBe(true)
  expect(await ended).toEqual([null, 'SIGTERM'])
  expect(signalProcess(known, 'SIGTERM')).toBe(false)
})

it('takes one that ends while it is looked at for ended', () => {
  const known = identify(process.pid)
  if (known === null) throw new Error('it does not run')
  vi.spyOn(process, 'kill').mockImplementation(() => {
    throw Object.assign(new Error('kill ESRCH'), { code: 'ESRCH' })
  })
  onTestFinished(() => void vi.restoreAllMocks())
  expect(signalProcess(known, 'SIGTERM')).toBe(false)
})
