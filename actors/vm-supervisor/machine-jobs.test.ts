import { describe, expect, it } from 'vitest'
import { readyWithSession } from '../../test/harness/vm-machine.ts'
import { maxSessionJobs, maxSessionRunning, maxWaiting, rememberedJobs } from './limits.ts'

type Machine = ReturnType<typeof readyWithSession>['vm']
const ending = { exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/', outputFile: null }

/** The reply to a request, or the refusal's code. */
function answer(vm: Machine, request: number): unknown {
  const [message] = vm.answerTo(request)
  return message?.type === 'reply' ? message.body : message?.type === 'refuse' ? message.error.code : null
}

const start = (vm: Machine, session: string | null = 's') => vm.ask('job', { command: 'make' }, session)
const started = (vm: Machine) => vm.effects().flatMap(({ name, params }) => (name === 'job' ? [String(params['ref'])] : []))
const list = (vm: Machine, session = 's') =>
  (answer(vm, vm.ask('jobs', {}, session)) as { jobs: { job: string; state: string; error: { code: string } | null }[] }).jobs

describe('background commands', () => {
  it('are named at once, run, and stay on the list with their end', () => {
    const { vm } = readyWithSession()
    vm.effects()
    const request = start(vm)
    expect(answer(vm, request)).toEqual({ job: 'job-1' })
    expect(vm.effects()).toMatchObject([{ name: 'job', params: { ref: 'job-1', session: 's', command: 'make', timeoutMs: 86_400_000 } }])
    expect(list(vm)).toMatchObject([{ job: 'job-1', state: 'running' }])
    vm.send({ type: 'job.exited', ref: 'job-1', ...ending })
    expect(vm.effects()).toMatchObject([{ name: 'settleJobs', params: { over: ['job-1'] } }])
    expect(list(vm)).toMatchObject([{ job: 'job-1', state: 'ended', ending }])
    // A second end of the same one changes nothing.
    vm.send({ type: 'job.lost', ref: 'job-1', error: { code: 'x', message: '', remedy: '' } })
    expect(list(vm)).toMatchObject([{ ending, error: null }])
  })

  it('their end is told once, to their session, unless it was read or asked for', () => {
    const { vm } = readyWithSession()
    const news = (session = 's') => (answer(vm, vm.ask('job-news', {}, session)) as { jobs: { job: string }[] }).jobs.map(({ job }) => job)
    for (let n = 0; n < 4; n++) start(vm)
    expect(news()).toEqual([])
    for (const ref of ['job-1', 'job-2', 'job-3']) vm.send({ type: 'job.exited', ref, ...ending })
    vm.send({
      type: 'readJob.read',
      request: vm.ask('job-output', { job: 'job-2' }, 's'),
      job: 'job-2',
      output: '',
      missed: 0,
      outputFile: null,
    })
    vm.ask('job-stop', { job: 'job-4' }, 's')
    vm.send({ type: 'job.exited', ref: 'job-4', ...ending })
    expect(news('other')).toEqual([])
    expect(news()).toEqual(['job-1', 'job-3'])
    expect(news()).toEqual([])
    // Another session's asking to end it takes nothing from its own.
    start(vm)
    vm.ask('job-stop', { job: 'job-5' }, 'other')
    vm.send({ type: 'job.exited', ref: 'job-5', ...ending })
    expect(news()).toEqual(['job-5'])
  })

  it("a signal to a command in the foreground that waits ends it; to another session's it does nothing", () => {
    const { vm } = readyWithSession()
    vm.attach('t')
    vm.die()
    const request = vm.ask('exec', { command: 'true', handle: 'mine' }, 's')
    vm.ask('signal', { handle: 'mine', signal: 'SIGTERM' }, 't')
    expect(vm.context.waiting.map((one) => one.request)).toContain(request)
    const asked = vm.ask('signal', { handle: 'mine', signal: 'SIGTERM' }, 's')
    expect(answer(vm, asked)).toEqual({})
    expect(answer(vm, request)).toBe('cancelled')
    expect(vm.context.waiting.map((one) => one.request)).not.toContain(request)
  })

  it('a thousand at once: some run, the others get their turn, a command in the foreground finds room', () => {
    const { vm } = readyWithSession()
    vm.effects()
    for (let n = 0; n < 1_000; n++) start(vm)
    let running = started(vm)
    expect(running.length).toBe(maxSessionJobs)
    vm.exec()
    expect(vm.effects()).toMatchObject([{ name: 'exec' }])
    let ran = 0
    while (running.length > 0) {
      ran += running.length
      for (const ref of running) vm.send({ type: 'job.exited', ref, ...ending })
      running = started(vm)
      expect(running.length).toBeLessThanOrEqual(maxSessionJobs)
    }
    expect(ran).toBe(1_000)
    expect(list(vm).length).toBe(rememberedJobs)
  })

  it('beyond what may wait: refused, and nothing else is', () => {
    const { vm } = readyWithSession()
    for (let n = 0; n < maxWaiting; n++) expect(answer(vm, start(vm))).toMatchObject({ job: expect.any(String) })
    expect(answer(vm, start(vm))).toBe('overloaded')
    expect(answer(vm, start(vm, 'nobody'))).toBe('no-such-session')
    expect(vm.state).toBe('ready')
  })

  it('commands in the foreground are bounded by session as well', () => {
    const { vm } = readyWithSession()
    const before = Object.keys(vm.context.running).length
    for (let n = 0; n < 100; n++) vm.exec()
    expect(Object.keys(vm.context.running).length).toBe(maxSessionRunning)
    expect(vm.context.waiting.length).toBe(100 + before - maxSessionRunning)
    vm.attach('other')
    vm.exec('other')
    vm.admitted('other')
    expect(Object.values(vm.context.running).filter((session) => session === 'other').length).toBe(1)
  })

  it('one that waits is ended without a process; one that runs is told', () => {
    const { vm } = readyWithSession()
    for (let n = 0; n <= maxSessionJobs; n++) start(vm)
    vm.effects()
    const last = `job-${maxSessionJobs + 1}`
    expect(answer(vm, vm.ask('job-stop', { job: last }, 'other'))).toBeNull()
    expect(vm.effects()).toMatchObject([{ name: 'steerCommand', params: { session: 'other', handle: last } }])
    expect(answer(vm, vm.ask('job-stop', { job: last }, 's'))).toEqual({})
    expect(list(vm).find(({ job }) => job === last)).toMatchObject({ state: 'ended', error: { code: 'cancelled' } })
    vm.effects()
    const request = vm.ask('job-stop', { job: 'job-1' }, 's')
    expect(vm.effects()).toMatchObject([
      { name: 'steerCommand', params: { request, session: 's', handle: 'job-1', steering: { act: 'stop' } } },
    ])
    vm.send({ type: 'steerCommand.done', request })
    expect(answer(vm, request)).toEqual({})
  })

  it('their output is the session’s own', () => {
    const { vm } = readyWithSession()
    start(vm)
    vm.attach('other')
    expect(answer(vm, vm.ask('job-output', { job: 'job-1' }, 'other'))).toBe('not-found')
    vm.effects()
    const request = vm.ask('job-output', { job: 'job-1' }, 's')
    expect(vm.effects()).toMatchObject([{ name: 'readJob', params: { request, job: 'job-1', waitMs: 0 } }])
    vm.send({ type: 'readJob.read', request, job: 'job-1', output: 'x', missed: 2, outputFile: null })
    expect(answer(vm, request)).toMatchObject({ job: 'job-1', state: 'running', output: 'x', missed: 2 })
    expect(list(vm, 'other')).toEqual([])
  })

  it('are lost with the VM, say so, and keep it from being paused', () => {
    const { vm, first } = readyWithSession()
    vm.send({ type: 'exec.exited', request: first, ...ending })
    start(vm)
    vm.fire('pauseAfter')
    expect(vm.state).toBe('ready')
    vm.effects()
    vm.die()
    expect(list(vm)).toMatchObject([{ state: 'ended', error: { code: 'workspace-unavailable' } }])
    expect(vm.effects()).toContainEqual({ do: 'effect', name: 'settleJobs', params: { over: ['job-1'], forgotten: [] } })
  })

  it('that end late, after their VM, do not speak for the next one', () => {
    const { vm } = readyWithSession()
    start(vm)
    vm.die()
    const { failures } = vm.context
    expect(failures).toBeGreaterThan(0)
    vm.send({ type: 'job.exited', ref: 'job-1', ...ending })
    expect(vm.context.failures).toBe(failures)
  })

  it('wait for the workspace, and are over when it cannot be had; end with their session', () => {
    const { vm } = readyWithSession()
    vm.ask('stop')
    vm.send({ type: 'runVm.exited', ref: vm.ref, code: 0, signal: null, detail: '' })
    expect(vm.state).toBe('stopped')
    start(vm)
    expect(vm.state).toBe('probing')
    vm.found()
    vm.send({ type: 'image.failed', ref: vm.ref, error: { code: 'image-failed', message: 'No mirror.', remedy: '' } })
    expect(vm.state).toBe('degraded')
    expect(list(vm).at(-1)).toMatchObject({ state: 'ended', error: { code: 'workspace-unavailable' } })
    vm.effects()
    vm.ask('detach', { session: 's' })
    expect(vm.context.jobs).toEqual({})
    expect(vm.effects()).toMatchObject([{ name: 'settleJobs', params: { forgotten: ['job-1'] } }])
  })
})

describe('terminals and input', () => {
  it('a shell is a command on a terminal, with no time limit, for whoever names the session', () => {
    const { vm } = readyWithSession()
    vm.effects()
    vm.ask('shell', { session: 's', handle: 'terminal', cols: 80, rows: 24, env: { TERM: 'vt100' } })
    expect(vm.effects()).toMatchObject([
      {
        name: 'exec',
        params: {
          session: 's',
          command: 'exec bash -i',
          timeoutMs: 0,
          handle: 'terminal',
          tty: { cols: 80, rows: 24 },
          env: { TERM: 'vt100' },
        },
      },
    ])
    // The badge's session is what counts where there is one.
    vm.attach('other')
    const request = vm.ask('input', { session: 's', handle: 'terminal', bytes: new Uint8Array([1]) }, 'other')
    expect(vm.effects()).toMatchObject([{ name: 'steerCommand', params: { session: 'other' } }])
    vm.send({ type: 'steerCommand.failed', request, error: { code: 'not-found', message: '', remedy: '' } })
    expect(answer(vm, request)).toBe('not-found')
  })
})
