/**
 * The kernel alone: three small actors that do all it promises things about. An owner holds the store and lends it, narrowed to `put` and two
 * uses, to a worker; the worker asks the store twice; anyone may be revoked, crash or run out of time at any moment.
 */
import { assign, emit, enqueueActions, setup } from 'xstate'
import type { Outgoing } from '../../kernel/types.ts'
import { defineModel } from '../model.ts'
import { defineSystem, type SystemModel, type SystemView } from '../system.ts'

type From = { from: { request: number | null; caps: readonly number[] } }

const owner = setup({
  types: {} as { context: object; events: { type: 'lend' }; emitted: Outgoing },
  actions: {
    lend: emit(
      (): Outgoing => ({
        type: 'send',
        to: 'worker',
        kind: 'borrow',
        body: {},
        caps: [{ slot: 'store', limits: { kinds: ['put'], uses: 2 } }],
      }),
    ),
  },
}).createMachine({ context: {}, initial: 'has', states: { has: { on: { lend: { target: 'lent', actions: 'lend' } } }, lent: {} } })

type WorkerContext = { slot: number | null; asked: number; answers: Readonly<Record<string, number>> }
const worker = setup({
  types: {} as {
    context: WorkerContext
    events: ({ type: 'borrow' } & From) | { type: 'ask' } | { type: 'replied' | 'refused'; ref: string }
    emitted: Outgoing
  },
  actions: {
    keep: assign({ slot: ({ event }) => (event.type === 'borrow' ? (event.from.caps[0] ?? null) : null) }),
    ask: enqueueActions(({ context, enqueue }) => {
      const asked = context.asked + 1
      enqueue.emit({ type: 'send', to: context.slot ?? 'nothing', kind: 'put', body: { n: asked }, ref: `put:${asked}` })
      enqueue.assign({ asked })
    }),
    count: assign({
      answers: ({ context, event }) =>
        event.type === 'replied' || event.type === 'refused'
          ? { ...context.answers, [event.ref]: (context.answers[event.ref] ?? 0) + 1 }
          : context.answers,
    }),
  },
}).createMachine({
  context: { slot: null, asked: 0, answers: {} },
  on: { borrow: { actions: 'keep' }, ask: { actions: 'ask' }, replied: { actions: 'count' }, refused: { actions: 'count' } },
})

type StoreContext = { seen: readonly number[] }
/** Takes its time: what it was asked stays open until its work is done. */
const store = setup({
  types: {} as {
    context: StoreContext
    events: ({ type: 'put'; body: { n: number } } & From) | { type: 'cancelled'; request: number } | { type: 'work.done'; request: number }
    emitted: Outgoing
  },
  actions: {
    note: assign({ seen: ({ context, event }) => (event.type === 'put' ? [...context.seen, event.body.n] : context.seen) }),
    work: (_, _params: { request: number }) => {},
    answer: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'work.done') enqueue.emit({ type: 'reply', request: event.request, body: {} })
    }),
  },
}).createMachine({
  context: { seen: [] },
  on: {
    put: { actions: ['note', { type: 'work', params: ({ event }) => ({ request: event.from.request ?? -1 }) }] },
    'work.done': { actions: 'answer' },
  },
})

const workerIsNew = (view: SystemView): boolean => (view.actor('worker').context as WorkerContext).asked === 0

const none = { effects: {}, always: {}, sometimes: {}, mayEnd: () => true } as const

/** @param crashes how many, of all three together */
export function kernelAlone(crashes = 1): SystemModel {
  return defineSystem({
    system: 'the kernel alone',
    actors: {
      owner: {
        model: defineModel({
          actor: 'owner',
          machine: owner,
          input: undefined,
          stimuli: [{ name: 'lend', request: false, event: () => ({ type: 'lend' }) }],
          ...none,
        }),
        grants: { worker: { to: 'worker' }, store: { to: 'store', reason: 'the store' } },
      },
      worker: {
        model: defineModel<WorkerContext>({
          actor: 'worker',
          machine: worker,
          input: undefined,
          stimuli: [
            { name: 'ask', times: 3, request: false, when: ({ context }) => context.slot !== null, event: () => ({ type: 'ask' }) },
          ],
          ...none,
        }),
      },
      store: {
        model: defineModel<StoreContext>({
          actor: 'store',
          machine: store,
          input: undefined,
          stimuli: [],
          ...none,
          effects: { work: () => [{ event: { type: 'work.done' }, ends: true }] },
        }),
      },
    },
    mailbox: 1,
    faults: {
      crashes: { times: crashes, of: ['owner', 'worker', 'store'] },
      revocations: { 'the store': { holder: 'owner', slot: 'store' } },
      deadlines: true,
    },
    always: {
      'no request is answered twice': (view) =>
        Object.values((view.actor('worker').context as WorkerContext).answers).every((count) => count <= 1),
      'nobody is answered what an earlier life of his asked': (view) => {
        const { asked, answers } = view.actor('worker').context as WorkerContext
        return Object.keys(answers).length <= asked
      },
      'messages from one actor arrive in order': (view) => {
        const { seen } = view.actor('store').context as StoreContext
        return seen.every((n, i) => i === 0 || n > (seen[i - 1] as number))
      },
      'what was lent for two uses is used twice at most': (view) => (view.actor('store').context as StoreContext).seen.length <= 2,
    },
    steps: {
      'nothing is delivered on a grant that was revoked': (before, step, after) =>
        !before.faults.revoked.includes('the store') ||
        step.actor !== 'store' ||
        (after.actor('store').context as StoreContext).seen.length <= (before.actor('store').context as StoreContext).seen.length,
    },
    sometimes: {
      'whoever asks may crash before it is answered': (view) =>
        view.faults.crashes > 0 && view.actor('worker').sent['ask'] === 1 && view.actor('store').open.length > 0 && workerIsNew(view),
      'both uses are made': (view) => (view.actor('store').context as StoreContext).seen.length === 2,
      'all three are answered': (view) => Object.keys((view.actor('worker').context as WorkerContext).answers).length === 3,
    },
    leadsTo: {
      'every request is answered': {
        from: (view) => (view.actor('worker').context as WorkerContext).asked > 0,
        to: (view) => {
          const { asked, answers } = view.actor('worker').context as WorkerContext
          return Object.keys(answers).length === asked
        },
      },
    },
  })
}

export const system = (size: 'small' | 'full'): SystemModel => kernelAlone(size === 'full' ? 3 : 1)
