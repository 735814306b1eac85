/** The host's disk is full, or the guest does not answer: what the machine does with the VM, and with those who wait. */
import { describe, expect, it } from 'vitest'
import { drive, ran, readyWithSession } from '../../test/harness/vm-machine.ts'

const MiB = 1024 * 1024
type Driven = ReturnType<typeof drive>
const full = (vm: Driven): void => vm.send({ type: 'vm.full', epoch: vm.ref, free: MiB, reserve: 8 * MiB })

describe('the disk of the host is full', () => {
  it('the VM stands still with what runs in it, and says so; new commands are refused, with the reason and the remedy', () => {
    const { vm, first } = readyWithSession()
    vm.effects()
    vm.said()
    full(vm)
    expect(vm.effects().map(({ name }) => name)).toEqual(['pause', 'awaitRoom'])
    expect(vm.context).toMatchObject({
      state: 'degraded',
      pid: 42,
      lastError: { code: 'disk-full', cause: expect.stringContaining('1 MiB') },
    })
    expect(vm.said()).toContainEqual(
      expect.objectContaining({ kind: 'audit', body: expect.objectContaining({ action: 'vm.stands-still' }) }),
    )
    const next = vm.exec()
    expect(vm.answerTo(next)).toMatchObject([
      {
        error: {
          code: 'workspace-unavailable',
          message: expect.stringMatching(/disk of this device is full/),
          cause: expect.stringMatching(/1 MiB are free/),
          remedy: expect.stringMatching(/Free some space/),
          retryAfterMs: expect.any(Number),
        },
      },
    ])
    // What ran still does.
    expect(vm.answerTo(first)).toEqual([])
    expect(vm.context.running).toEqual({ [first]: 's' })
  })

  it('goes on when there is room again: what ran ends as if nothing had been', () => {
    const { vm, first } = readyWithSession()
    full(vm)
    vm.effects()
    vm.send({ type: 'awaitRoom.found', ref: vm.ref })
    expect(vm.effects()).toMatchObject([{ name: 'resume' }])
    const meanwhile = vm.exec()
    vm.said()
    vm.send({ type: 'resume.done', ref: vm.ref })
    expect(vm.context).toMatchObject({ state: 'ready', lastError: null, restarts: 0 })
    // It had been started before: nothing new for the record.
    expect(vm.said().filter((message) => message.type === 'send')).toEqual([])
    expect(ran(vm)).toMatchObject([{ params: { request: meanwhile } }])
    vm.send({ type: 'exec.exited', request: first, exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' })
    expect(vm.answerTo(first)).toMatchObject([{ type: 'reply', body: { exitCode: 0 } }])
  })

  it('stands still again when the room was gone again at once', () => {
    const { vm } = readyWithSession()
    full(vm)
    vm.send({ type: 'awaitRoom.found', ref: vm.ref })
    vm.effects()
    full(vm)
    expect(vm.state).toBe('degraded')
    expect(vm.effects().map(({ name }) => name)).toEqual(['pause', 'awaitRoom'])
    // What became of the first try to go on is no news.
    vm.send({ type: 'resume.done', ref: vm.ref })
    expect(vm.state).toBe('degraded')
  })

  it('what becomes of an earlier try to go on, or of an earlier pause, is not taken for the last one', () => {
    const { vm } = readyWithSession()
    const asked = (): string[] => vm.effects().map(({ params }) => String(params['ref']))
    asked()
    full(vm)
    const [pause] = asked()
    vm.send({ type: 'awaitRoom.found', ref: vm.ref })
    const [first] = asked()
    full(vm)
    const [again] = asked()
    expect(new Set([pause, first, again]).size).toBe(3)
    vm.send({ type: 'pause.failed', ref: String(pause), error: { code: 'internal', message: 'late', remedy: '' } })
    expect(vm.context).toMatchObject({ state: 'degraded', pid: 42 })
    vm.send({ type: 'awaitRoom.found', ref: vm.ref })
    const [last] = asked()
    vm.send({ type: 'resume.done', ref: String(first) })
    expect(vm.state).toBe('degraded')
    vm.send({ type: 'resume.done', ref: String(last) })
    expect(vm.state).toBe('ready')
  })

  it('too long: those who wait are told what it was, the VM is ended, and none is started before there is room', () => {
    const { vm, first } = readyWithSession()
    full(vm)
    vm.said()
    vm.fire('fullGrace')
    expect(vm.answerTo(first)).toMatchObject([
      { type: 'refuse', error: { code: 'workspace-unavailable', message: expect.stringMatching(/full/) } },
    ])
    expect(vm.said()).toContainEqual({ type: 'interrupt', ref: '1' })
    expect(vm.context).toMatchObject({ state: 'probing', pid: null, lastError: { code: 'disk-full' }, restarts: 1 })
    const waits = vm.exec()
    vm.send({ type: 'probe.failed', ref: vm.ref, error: { code: 'disk-full', message: 'Full.', cause: 'none free', remedy: 'x' } })
    expect(vm.state).toBe('degraded')
    expect(vm.answerTo(waits)).toMatchObject([
      { error: { code: 'workspace-unavailable', cause: 'none free', remedy: expect.stringMatching(/Free/) } },
    ])
    // And it looks again, for good.
    for (let at = 0; at < 30; at++) {
      vm.send({ type: 'drawJitter.drawn', ref: vm.ref, fraction: 0.5 })
      vm.fire('backoff')
      expect(vm.state).toBe('probing')
      vm.send({ type: 'probe.failed', ref: vm.ref, error: { code: 'disk-full', message: 'Full.', remedy: 'x' } })
    }
    vm.send({ type: 'drawJitter.drawn', ref: vm.ref, fraction: 0.5 })
    vm.fire('backoff')
    const last = vm.exec()
    vm.effects()
    vm.toReady()
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request: last } }])
  })

  it('is no fault of the image, nor of a saved memory', () => {
    const vm = drive()
    vm.attach('s')
    vm.exec()
    for (let at = 0; at < 3; at++) {
      vm.toRestoring()
      full(vm)
    }
    expect(vm.effects().map(({ name }) => name)).not.toContain('discard')
    expect(vm.state).toBe('degraded')
    vm.ask('start')
    vm.found()
    expect(vm.effects().findLast(({ name }) => name === 'image')).toMatchObject({ params: { rollback: false } })
  })

  it('no memory is saved for which there is no room', () => {
    const vm = drive({ snapshots: 'on' })
    vm.attach('s')
    vm.exec()
    vm.found()
    vm.send({ type: 'image.ready', ref: vm.ref, dir: '/i/x', built: false, rolledBack: false, ms: 5 })
    vm.send({ type: 'accelerate.chosen', ref: vm.ref, accelerator: 'tcg', why: 'no kvm', cached: true, ms: 1 })
    vm.send({ type: 'lookForSnapshot.none', ref: vm.ref, key: 'k', room: false, ms: 2 })
    expect(vm.effects().findLast(({ name }) => name === 'runVm')).toMatchObject({ params: { how: 'boot' } })
  })
})

describe('a guest that has not been heard for a moment', () => {
  it('is asked before a command goes to it, and gets it when it answers', () => {
    const { vm } = readyWithSession()
    vm.fire('freshFor')
    vm.effects()
    const request = vm.exec()
    expect(vm.effects()).toMatchObject([{ name: 'ping' }])
    const another = vm.exec()
    expect(vm.effects()).toEqual([])
    vm.send({ type: 'ping.ok', ref: vm.ref, busy: false })
    expect(ran(vm)).toMatchObject([{ params: { request } }, { params: { request: another } }])
    // It was heard just now.
    vm.exec()
    expect(ran(vm)).toHaveLength(1)
  })

  it('and is silent: the command, which it never got, runs in its successor', () => {
    const { vm, first } = readyWithSession()
    vm.send({ type: 'exec.exited', request: first, exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' })
    vm.fire('freshFor')
    vm.effects()
    const request = vm.exec()
    expect(vm.effects()).toMatchObject([{ name: 'ping', params: { silentMs: 20_000 } }])
    vm.send({ type: 'ping.silent', ref: vm.ref })
    expect(vm.answerTo(request)).toEqual([])
    expect(vm.context).toMatchObject({ state: 'probing', restarts: 1 })
    vm.toReady()
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request } }])
  })

  it('gets more time while something runs in it', () => {
    const { vm } = readyWithSession()
    vm.fire('freshFor')
    vm.effects()
    vm.exec()
    expect(vm.effects()).toMatchObject([{ name: 'ping', params: { silentMs: 60_000 } }])
  })
})

describe('each step of a start has a name', () => {
  it('from a saved memory, and from nothing', () => {
    for (const saved of [true, false]) {
      const vm = drive()
      const watcher = vm.ask('watch')
      vm.attach('s')
      vm.exec()
      vm.toStart(saved)
      vm.send({ type: 'vm.spawned', epoch: vm.ref, pid: 42 })
      vm.send({ type: 'vm.connected', epoch: vm.ref })
      vm.send({ type: 'vm.handshake', epoch: vm.ref, ms: 3000, guestMs: 2500, kernel: '6.12' })
      vm.send({ type: 'verify.ok', ref: vm.ref, ms: 3, at: 1_000_000 })
      vm.die()
      const states = vm.said().flatMap((message) => {
        const body = (message.type === 'partTo' && message.request === watcher ? message.body : null) as {
          status: { state: string }
        } | null
        return body === null ? [] : [body.status.state]
      })
      expect(states).toEqual([
        'stopped',
        'probing',
        'image',
        'probing',
        saved ? 'restoring' : 'booting',
        'handshake',
        'verifying',
        'ready',
        'recovering',
        'probing',
      ])
    }
  })

  it('a background command that comes while it wakes has a session that could not be made tried again', () => {
    const vm = drive()
    vm.attach('s')
    vm.ask('job', { command: 'make' }, 's')
    vm.toReady()
    const error = { code: 'exec-failed', message: 'x', remedy: '' } as const
    vm.send({ type: 'admit.failed', ref: vm.ref, session: 's', revision: 1, error })
    vm.send({ type: 'vm.full', epoch: vm.ref, free: 0, reserve: 1 })
    vm.send({ type: 'awaitRoom.found', ref: vm.ref })
    vm.effects()
    vm.ask('job', { command: 'make' }, 's')
    vm.send({ type: 'resume.done', ref: vm.ref })
    expect(vm.effects()).toMatchObject([{ name: 'admit', params: { session: 's' } }])
    vm.admitted('s')
    expect(vm.effects()).toMatchObject([{ name: 'job', params: { ref: 'job-2' } }])
  })
})
