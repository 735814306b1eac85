/** Policy's `secureVmFeaturesEnabled` on the supervisor's machine: at the start, under way and in the orders the checker thinks of. */
import { describe, expect, test } from 'vitest'
import { check } from '../../checker/explore.ts'
import type { View } from '../../checker/model.ts'
import { type Command, createStepper } from '../../kernel/stepper.ts'
import type { Outgoing } from '../../kernel/types.ts'
import { machine } from './machine.ts'
import { model } from './model.ts'
import type { Context } from './state.ts'

const policy = (secureVmFeaturesEnabled: boolean) => ({
  type: 'part',
  ref: 'policy',
  kind: 'watch',
  body: { policy: { values: { secureVmFeaturesEnabled }, decidedBy: { secureVmFeaturesEnabled: 'managed settings, /m' } } },
})

function supervisor() {
  const stepper = createStepper(machine)
  let { snapshot, commands } = stepper.initial({
    params: { home: '/h', imageDir: '/i', guestDir: '/g', nodeBinary: '/n', vm: 'auto' },
    slots: [],
  })
  const said: Outgoing[] = []
  const effects: string[] = []
  const settle = (list: Command[]) => {
    for (const command of list) {
      if (command.do === 'emit') said.push(command.message)
      if (command.do === 'effect') effects.push(command.name)
    }
  }
  settle(commands)
  let request = 0
  const self = {
    said,
    effects,
    feed(event: { type: string; [key: string]: unknown }) {
      ;({ snapshot, commands } = stepper.step(snapshot, event))
      settle(commands)
      return self
    },
    ask(type: string, body: object = {}) {
      self.feed({ type, body, from: { request: ++request, badge: { from: 'x', session: 's', limits: {} }, caps: [] } })
      return said.find((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === request)
    },
    answer: (id: number) => said.find((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === id),
    get context() {
      return snapshot.context as Context
    },
  }
  self.ask('attach', { session: 's', folders: [] })
  return self
}

const ready = () => {
  const it = supervisor().feed(policy(true))
  it.ask('exec', { command: 'true', timeoutMs: 1000 })
  const ref = String(it.context.epoch)
  it.feed({ type: 'probe.found', ref, hypervisor: { noJail: null, uid: null, noUser: null }, memoryMiB: 512, cpus: 1, ms: 1 })
  it.feed({ type: 'image.ready', ref, dir: '/i/x', built: false, rolledBack: false, ms: 1 })
  it.feed({ type: 'accelerate.chosen', ref, accelerator: 'tcg', why: 'x', cached: true, ms: 1 })
  it.feed({ type: 'lookForSnapshot.found', ref, key: 'k', ms: 1 })
  it.feed({ type: 'vm.handshake', epoch: ref, ms: 1, guestMs: 1, kernel: 'k' })
  it.feed({ type: 'verify.ok', ref, ms: 1, at: 1 })
  it.feed({ type: 'admit.ready', ref, session: 's', revision: 1 })
  expect(it.context.state).toBe('ready')
  return it
}

const refusal = { type: 'refuse', error: { code: 'workspace-unavailable', rule: 'policy secureVmFeaturesEnabled (managed settings, /m)' } }

describe('forbidden', () => {
  test('from the start: off, and refused with who decided', () => {
    const it = supervisor().feed(policy(false))
    expect(it.context.state).toBe('off')
    expect(it.ask('exec', { command: 'true', timeoutMs: 1000 })).toMatchObject(refusal)
    expect(it.ask('start')).toMatchObject(refusal)
    expect(it.effects).not.toContain('probe')
  })

  test('while a command runs: it is refused at once, the VM is stopped, then off; allowed again it can start', () => {
    const it = ready()
    expect(Object.keys(it.context.running)).toHaveLength(1)
    it.feed(policy(false))
    expect(it.answer(2)).toMatchObject(refusal)
    expect(it.effects).toContain('halt')
    expect(it.ask('start')).toBeUndefined()
    it.feed({ type: 'runVm.exited', ref: String(it.context.epoch), code: 0, signal: null, detail: '' })
    expect(it.context.state).toBe('off')
    expect(it.answer(3)).toMatchObject(refusal)
    it.feed(policy(true))
    expect(it.context.state).toBe('stopped')
    it.ask('exec', { command: 'true', timeoutMs: 1000 })
    expect(it.context.state).toBe('probing')
  })

  test('while it boots: given up', () => {
    const it = supervisor()
    it.ask('exec', { command: 'true', timeoutMs: 1000 })
    it.feed(policy(false))
    expect(it.answer(2)).toMatchObject(refusal)
    expect(it.context.state).toBe('off')
  })
})

test('policy goes down: what it said stays, and it is asked again', () => {
  const it = supervisor().feed(policy(false))
  it.feed({ type: 'refused', ref: 'policy', kind: 'watch', error: {} })
  expect(it.effects).toContain('rest')
  it.feed({ type: 'rest.done' })
  expect(it.said.filter((message) => message.type === 'send' && message.kind === 'watch')).toHaveLength(2)
  expect(it.context.state).toBe('off')
})

test('in every order of a command, a change of policy and failing effects', () => {
  const stimuli = [
    ...model.stimuli.filter(({ name }) => name === 'attach' || name === 'exec'),
    { name: 'forbid', request: false, event: () => policy(false) },
    { name: 'allow', request: false, when: ({ sent }: View<Context>) => (sent['forbid'] ?? 0) > 0, event: () => policy(true) },
  ]
  const sometimes = {
    'off by policy': ({ context }: View<Context>) => context.state === 'off',
    'ready after all': ({ context, sent }: View<Context>) => context.state === 'ready' && (sent['allow'] ?? 0) > 0,
  }
  const { violations, complete } = check({ ...model, stimuli, sometimes })
  expect(violations).toEqual([])
  expect(complete).toBe(true)
})
