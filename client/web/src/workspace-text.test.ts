import { describe, expect, it } from 'vitest'
import type { VmState } from '../../../actors/vm-supervisor/protocol.ts'
import type { Fault, Vm } from './types.ts'
import { workspaceText } from './workspace-text.ts'

const vm = (state: VmState, more: Partial<Vm> = {}): Vm => ({
  state,
  isolation: 'full',
  lastError: null,
  timings: {},
  progress: null,
  ...more,
})
const failed = (code: string): Fault => ({ code, message: 'It stopped.' }) as Fault

describe('what the page says of the workspace', () => {
  it('only a start is called one', () => {
    const states: readonly VmState[] = ['off', 'absent', 'stopped', 'ready', 'paused', 'degraded', 'stopping']
    for (const state of states) expect(workspaceText(vm(state)).text).not.toMatch(/starting/)
    expect(workspaceText(vm('image', { progress: 'fetching packages (10 %)' })).text).toBe('Workspace starting: fetching packages (10 %)')
  })

  it('one that sleeps is calm: the next command wakes it', () => {
    expect(workspaceText(vm('paused'))).toMatchObject({ text: 'Workspace asleep', tone: 'calm' })
  })

  it('what failed says why, and a full disk that it goes on by itself', () => {
    expect(workspaceText(vm('degraded', { lastError: failed('vm-failed') }))).toMatchObject({ why: 'It stopped.', tone: 'bad' })
    expect(workspaceText(vm('degraded', { lastError: failed('disk-full') })).text).toBe('Workspace waits: disk full')
    expect(workspaceText(vm('recovering', { lastError: failed('vm-failed') }))).toMatchObject({ why: 'It stopped.', tone: 'busy' })
  })

  it('reduced isolation is said while it is ready', () => {
    expect(workspaceText(vm('ready')).text).toBe('Workspace ready')
    expect(workspaceText(vm('ready', { isolation: 'reduced' })).text).toContain('reduced isolation')
  })
})
