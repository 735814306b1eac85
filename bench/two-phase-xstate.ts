/** xstate's own graph on the same protocol: it knows one machine, so the protocol is written as one. */
import { setup, assign } from 'xstate'
import { getAdjacencyMap } from 'xstate/graph'

type Context = { tm: string; rm: readonly string[]; known: readonly boolean[]; sent: readonly boolean[]; commit: boolean; abort: boolean }
type Event = { type: 'decideCommit' | 'decideAbort' } | { type: 'know' | 'prepare' | 'giveUp' | 'commit' | 'abort'; rm: number }

export function xstateGraph(count: number): { states: number; seconds: number } {
  const rmOf = (event: Event): number => ('rm' in event ? event.rm : -1)
  const machine = setup({ types: {} as { context: Context; events: Event } }).createMachine({
    context: {
      tm: 'deciding',
      rm: Array.from({ length: count }, () => 'working'),
      known: Array.from({ length: count }, () => false),
      sent: Array.from({ length: count }, () => false),
      commit: false,
      abort: false,
    },
    on: {
      decideCommit: {
        guard: ({ context }) => context.tm === 'deciding' && context.known.every(Boolean),
        actions: assign({ tm: 'committed', commit: true }),
      },
      decideAbort: { guard: ({ context }) => context.tm === 'deciding', actions: assign({ tm: 'aborted', abort: true }) },
      know: {
        guard: ({ context, event }) => context.tm === 'deciding' && context.sent[rmOf(event)] === true,
        actions: assign({ known: ({ context, event }) => context.known.with(rmOf(event), true) }),
      },
      prepare: {
        guard: ({ context, event }) => context.rm[rmOf(event)] === 'working',
        actions: assign({
          rm: ({ context, event }) => context.rm.with(rmOf(event), 'prepared'),
          sent: ({ context, event }) => context.sent.with(rmOf(event), true),
        }),
      },
      giveUp: {
        guard: ({ context, event }) => context.rm[rmOf(event)] === 'working',
        actions: assign({ rm: ({ context, event }) => context.rm.with(rmOf(event), 'aborted') }),
      },
      commit: {
        guard: ({ context }) => context.commit,
        actions: assign({ rm: ({ context, event }) => context.rm.with(rmOf(event), 'committed') }),
      },
      abort: {
        guard: ({ context }) => context.abort,
        actions: assign({ rm: ({ context, event }) => context.rm.with(rmOf(event), 'aborted') }),
      },
    },
  })
  const events: Event[] = [
    { type: 'decideCommit' },
    { type: 'decideAbort' },
    ...(['know', 'prepare', 'giveUp', 'commit', 'abort'] as const).flatMap((type) =>
      Array.from({ length: count }, (_, rm): Event => ({ type, rm })),
    ),
  ]
  const started = performance.now()
  const map = getAdjacencyMap(machine, { events, limit: 10_000_000 })
  return { states: Object.keys(map).length, seconds: (performance.now() - started) / 1000 }
}
