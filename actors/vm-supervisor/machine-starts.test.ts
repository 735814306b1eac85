import { describe, expect, it } from 'vitest'
import { fault } from '../../kernel/errors.ts'
import { drive, ran, readyWithSession } from '../../test/harness/vm-machine.ts'
import { retriesAtOnce } from './limits.ts'

describe('a saved memory', () => {
  const savable = () => {
    const vm = drive({ snapshots: 'on' })
    vm.attach('s')
    const request = vm.exec()
    return { vm, request }
  }
  const handshake = (vm: ReturnType<typeof drive>) => {
    vm.send({ type: 'vm.spawned', epoch: vm.ref, pid: 42 })
    vm.send({ type: 'vm.handshake', epoch: vm.ref, ms: 300, guestMs: 2500, kernel: '6.12' })
    vm.send({ type: 'verify.ok', ref: vm.ref, ms: 3, at: 1_000_000 })
  }

  it('is made after the first start, which ends with it; the next goes on from it and runs what waited', () => {
    const { vm, request } = savable()
    vm.toBooting()
    expect(vm.effects().at(-1)).toMatchObject({ name: 'runVm', params: { how: 'boot-and-save' } })
    handshake(vm)
    expect(vm.state).toBe('saving')
    expect(vm.effects().map(({ name }) => name)).toEqual(['verify', 'save'])
    vm.send({ type: 'save.saved', ref: vm.ref, ms: 500 })
    expect(vm.said()).toContainEqual({ type: 'interrupt', ref: '1' })
    expect(vm.ref).toBe('2')
    vm.toRestoring()
    expect(vm.state).toBe('restoring')
    expect(vm.effects().at(-1)).toMatchObject({ name: 'runVm', params: { how: 'restore', key: 'k' } })
    handshake(vm)
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request } }])
    expect(vm.context).toMatchObject({ state: 'ready', restarts: 0, failures: 0, timings: { restore: 300 } })
  })

  it('that cannot be made costs one more start and is not tried again', () => {
    const { vm } = savable()
    vm.toBooting()
    handshake(vm)
    vm.send({ type: 'save.failed', ref: vm.ref, error: fault('io-failed', 'disk full') })
    expect(vm.context).toMatchObject({ state: 'probing', lastError: { code: 'io-failed' } })
    vm.toBooting()
    expect(vm.effects().at(-1)).toMatchObject({ params: { how: 'boot' } })
    handshake(vm)
    expect(vm.state).toBe('ready')
  })

  it.each([
    ['says nothing', (vm: ReturnType<typeof drive>) => void vm.fire('restoreStall')],
    [
      'is refused by QEMU',
      (vm: ReturnType<typeof drive>) => vm.send({ type: 'runVm.exited', ref: vm.ref, code: 1, signal: null, detail: 'bad section' }),
    ],
  ])('that %s is discarded, and the next start is from nothing', (_, fails) => {
    const { vm } = savable()
    vm.toRestoring()
    vm.effects()
    fails(vm)
    expect(vm.effects().filter(({ name }) => name === 'discard')).toMatchObject([{ params: { key: 'k' } }])
    vm.toBooting()
    expect(vm.state).toBe('booting')
  })

  it('is kept when somebody killed the VM that began from it, once', () => {
    const { vm } = savable()
    vm.toRestoring()
    vm.die()
    expect(vm.effects().filter(({ name }) => name === 'discard')).toEqual([])
    vm.toRestoring()
    vm.die()
    expect(vm.effects().filter(({ name }) => name === 'discard')).toHaveLength(1)
  })

  it('is given up when VMs begin from it and keep dying', () => {
    const { vm } = savable()
    for (let i = 0; i <= retriesAtOnce; i++) {
      vm.toRestoring()
      handshake(vm)
      expect(vm.effects().filter(({ name }) => name === 'discard')).toEqual([])
      vm.die()
    }
    expect(vm.effects().filter(({ name }) => name === 'discard')).toHaveLength(1)
  })
})

describe('an image that does not start', () => {
  it('is left for the one before it after three failures, for good', () => {
    const vm = drive()
    vm.ask('start')
    const asked = () => vm.effects().findLast(({ name }) => name === 'image')?.params['rollback']
    for (let failures = 0; failures < 3; failures++) {
      if (vm.state === 'degraded') vm.ask('start')
      vm.toBooting()
      expect(asked()).toBe(false)
      vm.die()
    }
    if (vm.state === 'degraded') vm.ask('start')
    vm.found()
    expect(asked()).toBe(true)
    vm.send({ type: 'image.ready', ref: vm.ref, dir: '/i/older', built: false, rolledBack: true, ms: 1 })
    vm.send({ type: 'accelerate.chosen', ref: vm.ref, accelerator: 'tcg', why: 'no kvm', cached: true, ms: 1 })
    vm.send({ type: 'lookForSnapshot.none', ref: vm.ref, key: 'k', room: true, ms: 2 })
    vm.send({ type: 'vm.handshake', epoch: vm.ref, ms: 300, guestMs: 2500, kernel: '6.12' })
    vm.send({ type: 'verify.ok', ref: vm.ref, ms: 3, at: 1_000_000 })
    vm.fire('healthy')
    vm.die()
    vm.found()
    expect(asked()).toBe(true)
  })
})

describe('nobody uses it', () => {
  const idle = () => {
    const { vm, first } = readyWithSession()
    vm.send({ type: 'exec.exited', request: first, exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' })
    vm.effects()
    return vm
  }

  it('is paused after a while, and not while something runs in it', () => {
    const { vm, first } = readyWithSession()
    vm.fire('pauseAfter')
    vm.fire('pauseAfter')
    expect(vm.state).toBe('ready')
    vm.send({ type: 'exec.exited', request: first, exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' })
    vm.fire('freshFor')
    vm.fire('pingEvery')
    vm.send({ type: 'ping.ok', ref: vm.ref, busy: true })
    vm.fire('pauseAfter')
    expect(vm.state).toBe('ready')
    vm.fire('freshFor')
    vm.fire('pingEvery')
    vm.send({ type: 'ping.ok', ref: vm.ref, busy: false })
    vm.effects()
    vm.fire('pauseAfter')
    expect(vm.state).toBe('paused')
    expect(vm.effects()).toMatchObject([{ name: 'pause' }])
  })

  it('is not ended by the silence to a question from before it was paused', () => {
    const vm = idle()
    vm.fire('freshFor')
    vm.fire('pingEvery')
    vm.fire('pauseAfter')
    expect(vm.state).toBe('paused')
    vm.send({ type: 'pause.done', ref: vm.ref })
    vm.exec()
    vm.send({ type: 'resume.done', ref: vm.ref })
    expect(vm.state).toBe('ready')
    vm.send({ type: 'ping.silent', ref: vm.ref })
    expect(vm.state).toBe('ready')
  })

  it('wakes for a command, which runs without its session being made again', () => {
    const vm = idle()
    vm.fire('pauseAfter')
    expect(vm.state).toBe('paused')
    vm.effects()
    const request = vm.exec()
    expect(vm.effects()).toMatchObject([{ name: 'resume' }])
    vm.send({ type: 'resume.done', ref: vm.ref })
    expect(vm.state).toBe('ready')
    expect(vm.effects()).toMatchObject([{ name: 'exec', params: { request } }])
  })

  it('tells a paused guest of a session that ended', () => {
    const vm = idle()
    vm.fire('pauseAfter')
    vm.effects()
    vm.ask('detach', { session: 's' })
    expect(vm.effects().map(({ name }) => name)).toEqual(['evict', 'resume'])
  })

  it('is stopped when that lasts, and begins anew when it dies meanwhile', () => {
    const vm = idle()
    vm.fire('pauseAfter')
    vm.fire('stopAfter')
    expect(vm.state).toBe('stopping')
    vm.send({ type: 'runVm.exited', ref: vm.ref, code: 0, signal: null, detail: '' })
    expect(vm.state).toBe('stopped')
    const other = idle()
    other.fire('pauseAfter')
    other.die()
    expect(other.context).toMatchObject({ state: 'probing', restarts: 1 })
  })
})
