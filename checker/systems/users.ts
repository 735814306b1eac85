/**
 * Two sessions in one workspace: the production supervisor, a client of each session that runs commands on its own capability, sessions that
 * come, go and come back, a VM that dies. Whatever happens in between, a command runs as its own session's user and nobody else's.
 */
import { emit, setup } from 'xstate'
import { firstUid } from '../../guest/wire.ts'
import { model as supervisor } from '../../actors/vm-supervisor/model.ts'
import type { Context } from '../../actors/vm-supervisor/state.ts'
import type { Outgoing } from '../../kernel/types.ts'
import { defineModel, type Model, type View } from '../model.ts'
import { defineSystem, type SystemModel, type SystemView } from '../system.ts'

const sessions = ['a', 'b'] as const
const from = (request: number) => ({ request, badge: { from: 'x', session: null, limits: {} }, caps: [] })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const goesOn = (event: { type: string; [key: string]: unknown }) => ({ event, ends: false })

/** Holds a capability for each session, and runs a command on each that is named like it. */
const caller = setup({
  types: {} as { context: object; events: { type: 'run'; session: string } | { type: 'replied' | 'refused' | 'part' }; emitted: Outgoing },
  actions: {
    ask: emit(({ event }): Outgoing => {
      const session = event.type === 'run' ? event.session : ''
      return { type: 'send', to: session, kind: 'exec', body: { command: session }, ref: session, deadlineMs: null }
    }),
  },
}).createMachine({ context: {}, on: { run: { actions: 'ask' }, replied: {}, refused: {}, part: {} } })

/** How the VM comes up is the supervisor's own model's business; here it does, or dies once it has. */
const shared = (comesBack: boolean, dies: boolean): Model => ({
  ...supervisor,
  input: { params: { home: '/h', imageDir: '/i', guestDir: '/g', nodeBinary: '/n', vm: 'auto', snapshots: 'off' }, slots: [] },
  stimuli: [
    ...sessions.map((session) => ({
      name: `attach ${session}`,
      event: (_: View<Context>, request: number) => ({ type: 'attach', body: { session, folders: [] }, from: from(request) }),
    })),
    {
      name: 'detach a',
      when: ({ sent }: View<Context>) => sent['attach a'] === 1,
      event: (_: View<Context>, request: number) => ({ type: 'detach', body: { session: 'a' }, from: from(request) }),
    },
    {
      name: 'attach a again',
      when: ({ sent }: View<Context>) => comesBack && sent['detach a'] === 1,
      event: (_: View<Context>, request: number) => ({ type: 'attach', body: { session: 'a', folders: [] }, from: from(request) }),
    },
  ],
  effects: {
    ...supervisor.effects,
    probe: () => [end({ type: 'probe.found', hypervisor: { noJail: null, uid: null, noUser: null }, memoryMiB: 512, cpus: 1, ms: 1 })],
    image: () => [end({ type: 'image.ready', dir: '/i/x', built: false, rolledBack: false, ms: 1 })],
    accelerate: () => [end({ type: 'accelerate.chosen', accelerator: 'tcg', why: 'x', cached: true, ms: 1 })],
    runVm: ({ ref }: { ref: string }, { context, pending }: View<Context>) => [
      ...(context.state === 'booting' && context.pid === null ? [goesOn({ type: 'vm.spawned', epoch: ref, pid: 7 })] : []),
      ...(context.state === 'booting' && context.pid !== null
        ? [goesOn({ type: 'vm.handshake', epoch: ref, ms: 1, guestMs: 1, kernel: 'k' })]
        : []),
      ...((dies && context.state === 'ready' && context.restarts === 0) ||
      pending.some((item) => item.what === 'effect' && item.name === 'halt')
        ? [end({ type: 'runVm.exited', code: null, signal: 'SIGKILL', detail: '' })]
        : []),
    ],
    verify: () => [end({ type: 'verify.ok', ms: 1, at: 1 })],
    exec: () => [end({ type: 'exec.exited', exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/' })],
    ping: () => [],
  },
  // Users are what is asked about here.
  project: (context: Context) => ({
    known: (supervisor.project as (context: Context) => object)(context),
    uids: context.uids,
    sessions: Object.fromEntries(Object.entries(context.sessions).map(([name, { uid, inGuest }]) => [name, [uid, inGuest]])),
    failures: Math.min(context.failures, 1),
  }),
  sometimes: {},
})

const contextOf = (view: SystemView): Context => view.actor('supervisor').context as Context
const effects = (view: SystemView, name: string): Readonly<Record<string, unknown>>[] =>
  view.actor('supervisor').pending.flatMap((item) => (item.what === 'effect' && item.name === name ? [item.params] : []))

export function system(size: 'small' | 'full'): SystemModel {
  return defineSystem({
    system: 'two sessions in one workspace',
    actors: {
      supervisor: { model: shared(size === 'full', true) },
      caller: {
        model: defineModel<object>({
          actor: 'caller',
          machine: caller,
          input: undefined,
          stimuli: sessions.map((session) => ({ name: `run in ${session}`, request: false, event: () => ({ type: 'run', session }) })),
          effects: {},
          always: {},
          sometimes: {},
        }),
        grants: Object.fromEntries(
          sessions.map((session) => [session, { to: 'supervisor', limits: { kinds: ['exec'], session } }] as const),
        ),
      },
    },
    mailbox: 1,
    always: {
      'no two sessions have one user': (view) => {
        const uids = Object.values(contextOf(view).uids)
        return new Set(uids).size === uids.length && uids.every((uid) => uid >= firstUid)
      },
      'the guest is told of a session with its own user': (view) =>
        effects(view, 'admit').every(({ session, uid }) => contextOf(view).uids[session as string] === uid),
      'a command runs in the session of the capability it came on': (view) =>
        effects(view, 'exec').every(({ session, command }) => session === command),
      'a session has the user it was given': (view) =>
        Object.entries(contextOf(view).sessions).every(([session, { uid }]) => contextOf(view).uids[session] === uid),
    },
    steps: {
      'a user once given stays its session’s, whatever goes and comes back': (before, _step, after) =>
        Object.entries(contextOf(before).uids).every(([session, uid]) => contextOf(after).uids[session] === uid),
      'a command begins only once the guest has said that its session is there': (before, _step, after) => {
        const was = contextOf(before).running
        return Object.entries(contextOf(after).running).every(
          ([request, session]) => was[Number(request)] !== undefined || contextOf(after).sessions[session]?.inGuest === 'yes',
        )
      },
    },
    sometimes: {
      'both run at once': (view) => new Set(Object.values(contextOf(view).running)).size === 2,
      'a session went and the other runs': (view) =>
        contextOf(view).sessions['a'] === undefined &&
        contextOf(view).uids['a'] !== undefined &&
        Object.values(contextOf(view).running).includes('b'),
      'the VM died, and a command runs in the next one': (view) =>
        contextOf(view).restarts > 0 && Object.keys(contextOf(view).running).length > 0,
    },
    mayEnd: true,
  })
}
