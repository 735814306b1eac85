/**
 * Two-phase commit as Gray and Lamport specify it (TLA+ Examples, `transaction_commit/TwoPhase.tla`), in the machine dialect: one machine for
 * the transaction manager, one for each resource manager, messages in a set that never forgets. TLC counts 288 states for three managers.
 *
 * The manager keeps who prepared as a record rather than a list: the order in which they did is nothing the specification knows.
 */
import { assign, emit, enqueueActions, setup } from 'xstate'
import type { Outgoing } from '../../kernel/types.ts'
import { defineModel, type View } from '../model.ts'
import type { SystemModel } from '../system.ts'

type From = { from: { badge: { from: string } } }
type ManagerContext = { prepared: Readonly<Record<string, true>> }

/** Whom it tells is known when the machine is made. */
function managerOf(names: readonly string[]) {
  return setup({
    types: {} as {
      context: ManagerContext
      events: ({ type: 'prepared' } & From) | { type: 'decideCommit' } | { type: 'decideAbort' }
      emitted: Outgoing
    },
    actions: {
      tell: enqueueActions(({ enqueue }, { kind }: { kind: string }) => {
        for (const to of names) enqueue.emit({ type: 'send', to, kind, body: {} })
      }),
    },
    guards: { allPrepared: ({ context }) => Object.keys(context.prepared).length === names.length },
  }).createMachine({
    context: { prepared: {} },
    initial: 'init',
    states: {
      init: {
        on: {
          prepared: {
            actions: assign({ prepared: ({ context, event }) => ({ ...context.prepared, [event.from.badge.from]: true as const }) }),
          },
          decideCommit: { guard: 'allPrepared', target: 'committed' },
          decideAbort: 'aborted',
        },
      },
      committed: { entry: { type: 'tell', params: { kind: 'commit' } } },
      aborted: { entry: { type: 'tell', params: { kind: 'abort' } } },
    },
  })
}

const resource = setup({
  types: {} as { context: object; events: { type: 'prepare' | 'giveUp' | 'commit' | 'abort' }; emitted: Outgoing },
  actions: { take: assign({}), tellPrepared: emit((): Outgoing => ({ type: 'send', to: 'tm', kind: 'prepared', body: {} })) },
}).createMachine({
  context: {},
  initial: 'working',
  // A message that tells nothing new is a step all the same, as in the specification: it is taken, and changes nothing.
  on: { commit: { target: '.committed', actions: 'take' }, abort: { target: '.aborted', actions: 'take' } },
  states: {
    working: { on: { prepare: { target: 'prepared', actions: 'tellPrepared' }, giveUp: 'aborted' } },
    prepared: {},
    committed: {},
    aborted: {},
  },
})

const often = { times: Number.POSITIVE_INFINITY, request: false as const }
const choice = <C>(name: string, when: (view: View<C>) => boolean) => ({ name, ...often, when, event: () => ({ type: name }) })

const resourceNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `rm${i + 1}`)

export function twoPhase(count: number): SystemModel {
  const names = resourceNames(count)
  const tm = defineModel<ManagerContext>({
    actor: 'tm',
    machine: managerOf(names),
    input: undefined,
    stimuli: [
      choice('decideCommit', ({ value, context }) => value === 'init' && Object.keys(context.prepared).length === count),
      choice('decideAbort', ({ value }) => value === 'init'),
    ],
    effects: {},
    always: {},
    sometimes: {},
  })
  const rm = defineModel<object>({
    actor: 'rm',
    machine: resource,
    input: undefined,
    stimuli: [choice('prepare', ({ value }) => value === 'working'), choice('giveUp', ({ value }) => value === 'working')],
    effects: {},
    always: {},
    sometimes: {},
  })
  return {
    system: `two-phase commit, ${count} resource managers`,
    channel: 'set',
    mailbox: 2 * count,
    actors: {
      tm: { model: tm, grants: Object.fromEntries(names.map((name) => [name, { to: name }])) },
      ...Object.fromEntries(names.map((name) => [name, { model: rm, grants: { tm: { to: 'tm' } } }])),
    },
    always: {
      'no manager aborts what another commits': (view) => {
        let committed = false
        let aborted = false
        for (const name of names) {
          const { value } = view.actor(name)
          if (value === 'committed') committed = true
          else if (value === 'aborted') aborted = true
        }
        return !(committed && aborted)
      },
    },
    sometimes: {
      'all commit': (view) => names.every((name) => view.actor(name).value === 'committed'),
      'all abort': (view) => names.every((name) => view.actor(name).value === 'aborted'),
    },
    // The specification asks nothing about ends.
    mayEnd: true,
    symmetric: names,
  }
}
