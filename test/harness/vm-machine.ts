/** The supervisor's machine under a test's hand. */
import { type Command, createStepper } from '../../kernel/stepper.ts'
import type { Badge, Outgoing } from '../../kernel/types.ts'
import type { MachineEvent } from '../../actors/vm-supervisor/events.ts'
import { machine } from '../../actors/vm-supervisor/machine.ts'
import type { Context } from '../../actors/vm-supervisor/state.ts'

const params = { home: '/h', imageDir: '/i', guestDir: '/g', nodeBinary: '/n', vm: 'auto', snapshots: 'off' }
const badge = (session: string | null): Badge => ({ from: 'consent', session, limits: {} })

/** What it said, which effects it asked for, which timers run. */
export function drive(overrides: Record<string, unknown> = {}) {
  const stepper = createStepper(machine)
  let { snapshot, commands } = stepper.initial({ params: { ...params, ...overrides }, slots: [] })
  const timers = new Map<string, { event: { type: string }; delayMs: number }>()
  let said: Outgoing[] = []
  let effects: { name: string; params: Record<string, unknown> }[] = []
  let request = 100
  const settle = (list: Command[]) => {
    for (const command of list) {
      if (command.do === 'emit') said.push(command.message)
      else if (command.do === 'effect') effects.push(command)
      else if (command.do === 'timer') timers.set(command.id, command)
      else timers.delete(command.id)
    }
  }
  settle(commands)
  const send = (event: MachineEvent | { type: string }) => {
    ;({ snapshot, commands } = stepper.step(snapshot, event))
    settle(commands)
  }
  const ask = (type: string, body: unknown = {}, session: string | null = null, caps: number[] = []): number => {
    request++
    send({ type, body, from: { request, badge: badge(session), caps } } as MachineEvent)
    return request
  }
  const self = {
    send,
    ask,
    get context(): Context {
      return snapshot.context as Context
    },
    get state() {
      return (snapshot.context as Context).state
    },
    get ref() {
      return String((snapshot.context as Context).epoch)
    },
    said: () => {
      const list = said
      said = []
      return list
    },
    effects: () => {
      const list = effects
      effects = []
      return list
    },
    answerTo: (id: number) => said.filter((message) => 'request' in message && message.request === id && message.type !== 'partTo'),
    timers,
    fire(name: string) {
      const found = [...timers].find(([, timer]) => timer.event.type.includes(name))
      if (!found) throw new Error(`no timer ${name}: ${[...timers.values()].map((timer) => timer.event.type).join()}`)
      timers.delete(found[0])
      send(found[1].event)
      return found[1].delayMs
    },
    attach: (session: string) => ask('attach', { session, folders: [{ name: 'data', mode: 'rw' }] }, null, [7]),
    exec: (session: string | null = 's') => ask('exec', { command: 'true', timeoutMs: 1000 }, session),
    found: () =>
      send({
        type: 'probe.found',
        ref: self.ref,
        hypervisor: { binary: 'q', version: '7', noJail: null, uid: null, noUser: null },
        memoryMiB: 1024,
        cpus: 2,
        ms: 10,
      }),
    toStart: (saved: boolean) => {
      self.found()
      send({ type: 'image.ready', ref: self.ref, dir: '/i/x', built: false, rolledBack: false, ms: 5 })
      send({ type: 'accelerate.chosen', ref: self.ref, accelerator: 'tcg', why: 'no kvm', cached: true, ms: 1 })
      send({ type: saved ? 'lookForSnapshot.found' : 'lookForSnapshot.none', ref: self.ref, key: 'k', room: true, ms: 2 })
    },
    /** With nothing saved and nothing to be. */
    toBooting: () => self.toStart(false),
    toRestoring: () => self.toStart(true),
    toReady: (saved = false) => {
      self.toStart(saved)
      send({ type: 'vm.spawned', epoch: self.ref, pid: 42 })
      send({ type: 'vm.handshake', epoch: self.ref, ms: 3000, guestMs: 2500, kernel: '6.12' })
      send({ type: 'verify.ok', ref: self.ref, ms: 3, at: 1_000_000 })
    },
    admitted: (session: string) =>
      send({ type: 'admit.ready', ref: self.ref, session, revision: self.context.sessions[session]?.revision ?? 0 }),
    die: () => send({ type: 'runVm.exited', ref: self.ref, code: null, signal: 'SIGKILL', detail: '' }),
  }
  return self
}

export function readyWithSession() {
  const vm = drive()
  vm.attach('s')
  const first = vm.exec()
  vm.toReady()
  vm.admitted('s')
  return { vm, first }
}

/** Commands it started. */
export const ran = (vm: ReturnType<typeof drive>) => vm.effects().filter((effect) => effect.name === 'exec')
