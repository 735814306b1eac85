import { describe, expect, it } from 'vitest'
import { fault } from '../../kernel/errors.ts'
import { drive, ran, readyWithSession } from '../../test/harness/vm-machine.ts'
import { maxWaiting, retriesAtOnce } from './limits.ts'
import { backoffDelay } from './state.ts'

describe('a lazy start', () => {
  it('does nothing until something needs it', () => {
    const vm = drive()
    vm.attach('s')
    expect(vm.effects()).toEqual([])
    expect(vm.state).toBe('stopped')
  })

  it('boots on the first command, tells it how that goes, and runs it once its session is there', () => {
    const vm = drive()
    vm.attach('s')
    vm.said()
    const request = vm.exec()
    expect(vm.effects().map((effect) => effect.name)).toEqual(['probe'])
    vm.found()
    vm.send({ type: 'image.progress', epoch: vm.ref, text: 'unpacking' })
    const parts = vm.said().filter((message) => message.type === 'partTo' && message.request === request)
    expect(parts.map((part) => (part as { body: { state: string } }).body.state)).toEqual(['probing', 'image', 'image'])
    expect(parts.at(-1)).toMatchObject({ body: { progress: 'unpacking' } })
    vm.send({ type: 'image.ready', ref: vm.ref, dir: '/i/x', built: true, rolledBack: false, ms: 5 })
    vm.send({ type: 'accelerate.chosen', ref: vm.ref, accelerator: 'tcg', why: 'no kvm', cached: false, ms: 1 })
    vm.send({ type: 'lookForSnapshot.none', ref: vm.ref, key: 'k', room: true, ms: 2 })
    expect(vm.state).toBe('booting')
    vm.send({ type: 'vm.handshake', epoch: vm.ref, ms: 3000, guestMs: 2500, kernel: '6.12' })
    expect(vm.state).toBe('verifying')
    vm.send({ type: 'verify.ok', ref: vm.ref, ms: 3, at: 1 })
    expect(vm.effects().filter((effect) => effect.name === 'admit')).toMatchObject([{ params: { session: 's', uid: 20_000, revision: 1 } }])
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request, command: 'true', session: 's' } }])
    expect(vm.context.timings).toEqual({
      probe: 10,
      image: 5,
      accelerator: 1,
      snapshot: 2,
      boot: 3000,
      guest: 2500,
      verify: 3,
      total: 3021,
    })
  })

  it('replies to start when ready', () => {
    const vm = drive()
    const request = vm.ask('start')
    vm.toReady()
    expect(vm.answerTo(request)).toEqual([{ type: 'reply', request, body: {} }])
  })

  it('re-arms the stall timer with every sign of life', () => {
    const vm = drive()
    vm.ask('start')
    vm.toBooting()
    const before = [...vm.timers.keys()].length
    for (let i = 0; i < 5; i++) vm.send({ type: 'vm.progress', epoch: vm.ref, text: `${i}` })
    expect([...vm.timers.keys()].length).toBe(before)
    expect(vm.state).toBe('booting')
  })

  it.each([
    ['from nothing', false],
    ['from a saved memory', true],
  ])('adopts a guest that comes late, however long it took, as long as it was heard of: %s', (_, saved) => {
    const vm = drive()
    vm.attach('s')
    const request = vm.exec()
    vm.toStart(saved)
    vm.send({ type: 'vm.spawned', epoch: vm.ref, pid: 42 })
    const attempt = vm.ref
    for (let i = 0; i < 1_000; i++) vm.send({ type: 'vm.progress', epoch: vm.ref, text: `${i}` })
    vm.send({ type: 'vm.connected', epoch: vm.ref })
    expect(vm.state).toBe('handshake')
    vm.send({ type: 'vm.handshake', epoch: vm.ref, ms: 86_400_000, guestMs: 86_400_000, kernel: '6.12' })
    vm.send({ type: 'verify.ok', ref: vm.ref, ms: 3, at: 1 })
    vm.admitted('s')
    // The same VM: none was ended or begun meanwhile.
    expect([vm.state, vm.ref, vm.context.pid]).toEqual(['ready', attempt, 42])
    expect(vm.said().filter(({ type }) => type === 'interrupt')).toEqual([])
    expect(ran(vm)).toMatchObject([{ params: { request } }])
  })

  it('ends a boot that stalls, tries twice more at once, then backs off', () => {
    const vm = drive()
    const request = vm.ask('start')
    vm.toBooting()
    vm.said()
    vm.fire('bootStall')
    expect(vm.said()).toContainEqual({ type: 'interrupt', ref: '1' })
    for (let i = 1; i <= retriesAtOnce; i++) {
      expect(vm.state).toBe('probing')
      vm.toBooting()
      vm.fire('bootStall')
    }
    expect(vm.state).toBe('degraded')
    expect(vm.answerTo(request)).toMatchObject([{ type: 'refuse', error: { code: 'workspace-unavailable' } }])
  })
})

describe('when it cannot run', () => {
  it('off: refuses at once', () => {
    const vm = drive({ vm: 'off' })
    vm.attach('s')
    const request = vm.exec()
    expect(vm.answerTo(request)).toMatchObject([{ type: 'refuse', error: { code: 'workspace-unavailable', cause: 'BULKHEAD_VM=off' } }])
    expect(vm.effects()).toEqual([])
  })

  it('not installed: refuses those waiting, then at once, and looks again after a rest', () => {
    const vm = drive()
    vm.attach('s')
    const waiting = vm.exec()
    const missing = fault('workspace-unavailable', 'QEMU is not installed.', { remedy: 'Install qemu-system-x86.' })
    vm.send({ type: 'probe.missing', ref: vm.ref, error: missing })
    expect(vm.state).toBe('absent')
    expect(vm.answerTo(waiting)).toMatchObject([{ error: { remedy: 'Install qemu-system-x86.' } }])
    const second = vm.exec()
    expect(vm.answerTo(second)).toMatchObject([{ type: 'refuse' }])
    vm.fire('absentRest')
    vm.effects()
    const third = vm.exec()
    expect(vm.answerTo(third)).toEqual([])
    expect(vm.effects().map((effect) => effect.name)).toEqual(['probe'])
  })

  it('backs off further with every failure, never for good, and says how long', () => {
    const vm = drive()
    vm.attach('s')
    vm.ask('start')
    const delays: number[] = []
    for (let i = 0; i < 14; i++) {
      vm.found()
      vm.send({ type: 'image.failed', ref: vm.ref, error: fault('image-failed', 'No mirror.') })
      expect(vm.state).toBe('degraded')
      vm.send({ type: 'drawJitter.drawn', ref: vm.ref, fraction: 0 })
      const refused = vm.exec()
      expect(vm.answerTo(refused)).toMatchObject([
        { error: { code: 'workspace-unavailable', cause: 'No mirror.', retryAfterMs: vm.context.delayMs } },
      ])
      delays.push(vm.fire('backoff'))
    }
    expect(delays.slice(0, 6)).toEqual([500, 500, 500, 1000, 2000, 4000])
    expect(delays.at(-1)).toBe(60_000)
    expect(vm.state).toBe('probing')
  })

  it('keeps jitter between half and all of the delay', () => {
    expect(backoffDelay(5, 0)).toBe(2000)
    expect(backoffDelay(5, 1)).toBe(4000)
  })

  it('refuses a session it was never told of', () => {
    const vm = drive()
    const request = vm.exec('other')
    expect(vm.answerTo(request)).toMatchObject([{ error: { code: 'no-such-session' } }])
    expect(vm.effects()).toEqual([])
  })

  it('bounds those who wait', () => {
    const vm = drive()
    vm.attach('s')
    for (let i = 0; i < maxWaiting; i++) vm.exec()
    const request = vm.exec()
    expect(vm.answerTo(request)).toMatchObject([{ error: { code: 'overloaded' } }])
  })
})

describe('a VM that dies', () => {
  it('refuses what ran at once, starts again at once, and runs the next command in the same session with the same user', () => {
    const { vm, first } = readyWithSession()
    vm.said()
    vm.effects()
    vm.die()
    expect(vm.answerTo(first)).toMatchObject([
      { type: 'refuse', error: { code: 'workspace-unavailable', cause: 'QEMU was ended by SIGKILL' } },
    ])
    expect(vm.state).toBe('probing')
    expect(vm.context.restarts).toBe(1)
    const next = vm.exec()
    vm.send({ type: 'exec.lost', request: first, error: fault('workspace-unavailable', 'late') })
    expect(vm.answerTo(first)).toHaveLength(1)
    vm.toReady()
    expect(vm.effects().filter((effect) => effect.name === 'admit')).toMatchObject([{ params: { uid: 20_000 } }])
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request: next } }])
  })

  it('backs off when it dies again before it was healthy, not when it was healthy in between', () => {
    const { vm } = readyWithSession()
    for (let i = 1; i <= retriesAtOnce; i++) {
      vm.die()
      vm.toReady()
    }
    vm.die()
    expect(vm.state).toBe('degraded')
    vm.ask('start')
    vm.toReady()
    vm.fire('healthy')
    vm.die()
    expect(vm.state).toBe('probing')
  })

  it('counts a command that ended well as health', () => {
    const { vm, first } = readyWithSession()
    vm.die()
    const request = vm.exec()
    vm.toReady()
    vm.admitted('s')
    vm.send({ type: 'exec.exited', request, exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' })
    expect(vm.answerTo(request)).toMatchObject([{ type: 'reply', body: { exitCode: 0, cwd: '/' } }])
    vm.die()
    expect(vm.state).toBe('probing')
    expect(first).not.toBe(request)
  })

  it('ends a guest that answers no ping', () => {
    const { vm, first } = readyWithSession()
    vm.fire('freshFor')
    vm.fire('pingEvery')
    expect(vm.effects().map((effect) => effect.name)).toContain('ping')
    vm.send({ type: 'ping.silent', ref: vm.ref })
    expect(vm.said()).toContainEqual({ type: 'interrupt', ref: '1' })
    expect(first).toBeGreaterThan(0)
    expect(vm.state).toBe('probing')
  })

  it('ignores news of an earlier attempt', () => {
    const { vm } = readyWithSession()
    vm.send({ type: 'runVm.exited', ref: '0', code: 0, signal: null, detail: '' })
    expect(vm.state).toBe('ready')
  })

  it('gives hardware acceleration up after two boots that never became ready', () => {
    const vm = drive()
    vm.ask('start')
    for (let i = 0; i < 2; i++) {
      vm.found()
      vm.send({ type: 'image.ready', ref: vm.ref, dir: '/i', built: false, rolledBack: false, ms: 1 })
      vm.send({ type: 'accelerate.chosen', ref: vm.ref, accelerator: 'kvm', why: 'works', cached: true, ms: 1 })
      vm.send({ type: 'lookForSnapshot.none', ref: vm.ref, key: 'k', room: true, ms: 2 })
      vm.die()
    }
    vm.effects()
    vm.found()
    vm.send({ type: 'image.ready', ref: vm.ref, dir: '/i', built: false, rolledBack: false, ms: 1 })
    expect(vm.effects().at(-1)).toMatchObject({ name: 'accelerate', params: { avoidHardware: true } })
  })
})

describe('stop and restart', () => {
  it('winds the VM down, refuses what ran, replies, and boots again for the next command', () => {
    const { vm, first } = readyWithSession()
    const request = vm.ask('stop')
    expect(vm.answerTo(first)).toMatchObject([{ type: 'refuse' }])
    expect(vm.effects().map((effect) => effect.name)).toContain('halt')
    const during = vm.exec()
    expect(vm.answerTo(during)).toMatchObject([{ error: { code: 'workspace-unavailable' } }])
    vm.die()
    expect(vm.answerTo(request)).toEqual([{ type: 'reply', request, body: {} }])
    expect(vm.state).toBe('stopped')
    expect(vm.context.pid).toBeNull()
    vm.exec()
    expect(vm.state).toBe('probing')
  })

  it('interrupts what is under way before there is a VM', () => {
    const vm = drive()
    vm.attach('s')
    const waiting = vm.exec()
    vm.found()
    const request = vm.ask('stop')
    expect(vm.said()).toEqual(
      expect.arrayContaining([
        { type: 'interrupt', ref: '1' },
        { type: 'reply', request, body: {} },
      ]),
    )
    expect(vm.state).toBe('stopped')
    expect(waiting).toBeGreaterThan(0)
  })

  it('restart replies when ready again; commands meanwhile wait', () => {
    const { vm } = readyWithSession()
    const request = vm.ask('restart')
    const meanwhile = vm.exec()
    vm.die()
    expect(vm.state).toBe('probing')
    vm.toReady()
    vm.admitted('s')
    expect(vm.answerTo(request)).toEqual([{ type: 'reply', request, body: {} }])
    expect(vm.answerTo(meanwhile)).toEqual([])
    expect(vm.context.running[meanwhile]).toBe('s')
  })

  it('gives up waiting for a stop and has the VM killed', () => {
    const { vm } = readyWithSession()
    const request = vm.ask('stop')
    vm.said()
    vm.fire('stopLimit')
    const said = vm.said()
    expect(said).toContainEqual({ type: 'interrupt', ref: '1' })
    expect(said).toContainEqual({ type: 'reply', request, body: {} })
  })

  it('who asked for the stop hears of it, though another wants it to begin again meanwhile', () => {
    const { vm } = readyWithSession()
    const stop = vm.ask('stop')
    const restart = vm.ask('restart')
    vm.fire('stopLimit')
    expect(vm.state).toBe('probing')
    expect(vm.answerTo(stop)).toEqual([{ type: 'reply', request: stop, body: {} }])
    vm.toReady()
    expect(vm.answerTo(restart)).toEqual([{ type: 'reply', request: restart, body: {} }])
  })

  it('winds down when the daemon stops', () => {
    const { vm, first } = readyWithSession()
    vm.effects()
    vm.send({ type: 'stopping' })
    expect(vm.answerTo(first)).toMatchObject([{ type: 'refuse' }])
    expect(vm.effects().map((effect) => effect.name)).toEqual(['halt'])
  })
})

describe('requests come and go', () => {
  it('forgets a cancelled command wherever it is', () => {
    const vm = drive()
    vm.attach('s')
    const request = vm.exec()
    vm.send({ type: 'cancelled', request })
    vm.toReady()
    vm.admitted('s')
    expect(ran(vm)).toEqual([])
  })

  it('adds folders to a session and holds its commands until the guest has them', () => {
    const { vm } = readyWithSession()
    vm.effects()
    vm.ask('attach', { session: 's', folders: [{ name: 'more', mode: 'ro' }] }, null, [9])
    expect(vm.effects()).toMatchObject([
      {
        name: 'admit',
        params: {
          revision: 2,
          folders: [
            { name: 'data', slot: 7 },
            { name: 'more', slot: 9 },
          ],
        },
      },
    ])
    const request = vm.exec()
    vm.send({ type: 'admit.ready', ref: vm.ref, session: 's', revision: 1 })
    expect(ran(vm)).toEqual([])
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request } }])
  })

  it('refuses commands of a session the guest cannot make, and tries again with the next', () => {
    const vm = drive()
    vm.attach('s')
    const request = vm.exec()
    vm.toReady()
    vm.send({ type: 'admit.failed', ref: vm.ref, session: 's', revision: 1, error: fault('exec-failed', 'mount failed') })
    expect(vm.answerTo(request)).toMatchObject([{ error: { code: 'exec-failed' } }])
    vm.effects()
    vm.exec()
    expect(vm.effects().map((effect) => effect.name)).toEqual(['admit'])
  })

  it('a defect while a session is made: its commands are refused and the next has it tried again; another session on its way is there yet', () => {
    const vm = drive()
    vm.attach('s')
    vm.attach('t')
    const [broken, sound] = [vm.exec('s'), vm.exec('t')]
    const job = vm.ask('job', { command: 'make' }, 's')
    vm.toReady()
    const oops = fault('internal', 'oops')
    vm.send({ type: 'admit.crashed', ref: 'earlier', error: oops })
    expect([vm.answerTo(broken), vm.answerTo(sound)]).toEqual([[], []])
    // Whose it was is not known: none may wait for what may never come.
    vm.send({ type: 'admit.crashed', ref: vm.ref, error: oops })
    for (const request of [broken, sound]) expect(vm.answerTo(request)).toEqual([{ type: 'refuse', request, error: oops }])
    expect(vm.answerTo(job)).toMatchObject([{ type: 'reply' }])
    expect(vm.context.jobs['job-1']).toMatchObject({ state: 'ended', end: { error: oops } })
    vm.admitted('t')
    vm.effects()
    const next = [vm.exec('t'), vm.exec('s')]
    expect(vm.effects().map(({ name, params }) => [name, params['session']])).toEqual([
      ['exec', 't'],
      ['admit', 's'],
    ])
    vm.admitted('s')
    expect(ran(vm)).toMatchObject([{ params: { request: next[1] } }])
  })

  it('hears how the making of a session came out also while the VM wakes: its commands do not wait for it for ever', () => {
    const { vm, first } = readyWithSession()
    vm.send({
      type: 'exec.exited',
      request: first,
      exitCode: 0,
      signal: null,
      timedOut: false,
      oom: false,
      durationMs: 1,
      cwd: '/',
      outputFile: null,
    })
    vm.attach('s')
    expect(vm.context.sessions['s']?.inGuest).toBe('pending')
    vm.send({ type: 'vm.full', epoch: vm.ref, free: 0, reserve: 1 })
    vm.admitted('s')
    vm.send({ type: 'awaitRoom.found', ref: vm.ref })
    vm.effects()
    const request = vm.exec()
    vm.send({ type: 'resume.done', ref: vm.ref })
    expect(ran(vm)).toMatchObject([{ params: { request } }])
  })

  it('keeps the user id of a session that comes back and gives others their own', () => {
    const vm = drive()
    vm.attach('a')
    vm.attach('b')
    vm.ask('detach', { session: 'a' })
    vm.attach('c')
    vm.attach('a')
    expect([vm.context.sessions['a']?.uid, vm.context.sessions['b']?.uid, vm.context.sessions['c']?.uid]).toEqual([20_000, 20_001, 20_002])
  })

  it('does not take for a session that came back what the guest says of the one that went', () => {
    const vm = drive()
    vm.attach('s')
    vm.exec()
    vm.toReady()
    const revision = vm.context.sessions['s']?.revision as number
    vm.ask('detach', { session: 's' })
    vm.attach('s')
    vm.exec()
    vm.effects()
    vm.send({ type: 'admit.ready', ref: vm.ref, session: 's', revision })
    expect(ran(vm)).toEqual([])
    vm.admitted('s')
    expect(ran(vm)).toHaveLength(1)
  })

  it('wants a capability for every folder', () => {
    const vm = drive()
    const request = vm.ask('attach', { session: 's', folders: [{ name: 'x', mode: 'rw' }] }, null, [])
    expect(vm.answerTo(request)).toMatchObject([{ error: { code: 'malformed' } }])
  })

  it('whoever asked for what a defect kept from being found out is told so', () => {
    const { vm } = readyWithSession()
    vm.ask('job', { command: 'make' }, 's')
    const oops = fault('internal', 'oops')
    for (const [effect, request] of [
      ['readClock', vm.ask('status')],
      ['readJob', vm.ask('job-output', { job: 'job-1' }, 's')],
      ['steerCommand', vm.ask('job-stop', { job: 'job-1' }, 's')],
    ] as const) {
      vm.send({ type: `${effect}.crashed` as const, request, error: oops })
      expect(vm.answerTo(request)).toEqual([{ type: 'refuse', request, error: oops }])
    }
  })

  it('reports its status with the time, and every change to watchers', () => {
    const { vm } = readyWithSession()
    vm.effects()
    const request = vm.ask('status')
    vm.send({ type: 'readClock.read', request, at: 1_005_000 })
    expect(vm.answerTo(request)).toMatchObject([{ body: { state: 'ready', uptimeMs: 5000, isolation: 'reduced', pid: 42, sessions: 1 } }])
    const watcher = vm.ask('watch')
    vm.said()
    vm.die()
    const states = vm
      .said()
      .flatMap((message) =>
        message.type === 'partTo' && message.request === watcher ? [(message.body as { status: { state: string } }).status.state] : [],
      )
    expect(states).toEqual(['recovering', 'probing'])
  })
})
