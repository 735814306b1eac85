/**
 * Telemetry as a machine: what policy says about it, and who waits for what. What waits to be exported and what is on the disk is with the
 * effects; nothing that arrives makes anything else wait.
 *
 *   serving --part (policy)--> configure, whoever watches `tracing` is told
 *           --event, hops----> record
 *           --workspace------> record, append
 *           --audit----------> append --done--> reply
 *   stopping: what waits is sent and written for a moment, then it ends
 */
import { setup } from 'xstate'
import { fault, type From, type Inbound, type KernelEvent, type Outgoing } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import { maxWatchers, policyRetryMs } from './limits.ts'
import type { AuditBody, HopView, protocol, TelemetryEvent, WorkspaceEvents } from './protocol.ts'
import { noRules, type Rules, type Settings, settingsOf } from './settings.ts'

export type Context = {
  /** Null until policy has told. */
  settings: Settings | null
  /** Requests that hear whether traces are wanted. */
  watchers: readonly number[]
}
type Answered = { request: number; reply: unknown }
type Failed = { request: number; error?: unknown }
type Event =
  | Inbound<typeof protocol>
  | KernelEvent
  | { type: 'configure.done' | 'configure.failed' | 'configure.crashed' }
  | {
      type:
        | 'record.done'
        | 'record.crashed'
        | 'recordHops.done'
        | 'recordHops.crashed'
        | 'recordWorkspace.done'
        | 'recordWorkspace.crashed'
        | 'close.done'
        | 'close.crashed'
    }
  | ({ type: 'append.done' | 'report.done' | 'selfTest.done' } & Answered)
  | ({ type: 'append.failed' | 'append.crashed' | 'report.crashed' | 'selfTest.failed' | 'selfTest.crashed' } & Failed)

const policyRef = 'policy'

const base = setup({
  types: {} as { context: Context; events: Event; emitted: Outgoing },
  actions: {
    configure: (_, _params: { settings: Settings }) => {},
    record: (_, _params: { event: TelemetryEvent; session: string | null; rules: Rules }) => {},
    recordHops: (_, _params: { hops: readonly HopView[]; dropped: number }) => {},
    recordWorkspace: (_, _params: WorkspaceEvents & { rules: Rules }) => {},
    append: (_, _params: { request: number; from: string; session: string | null; entry: AuditBody }) => {},
    report: (_, _params: { request: number; settings: Settings | null }) => {},
    selfTest: (_, _params: { request: number }) => {},
    close: () => {},
  },
  guards: {
    tooManyWatch: ({ context }) => context.watchers.length >= maxWatchers,
  },
  delays: { policyRetry: policyRetryMs },
})

const wantsTraces = ({ settings }: Context): boolean => settings !== null && settings.endpoint !== null && settings.traces

export const machine = base
  .extend({
    actions: {
      watchPolicy: base.enqueueActions(({ enqueue }) =>
        enqueue.emit({ type: 'send', to: 'policy', kind: 'watch', body: {}, ref: policyRef, deadlineMs: null }),
      ),
      /** Policy also tells when only the headers changed, which it does not show: it is asked for them each time. */
      learn: base.enqueueActions(({ context, event, enqueue }) => {
        if (event.type !== 'part') return
        const settings = settingsOf((event.body as { policy: Policy }).policy)
        enqueue.assign({ settings })
        enqueue({ type: 'configure', params: { settings } })
        const on = wantsTraces({ ...context, settings })
        if (on !== wantsTraces(context)) for (const request of context.watchers) enqueue.emit({ type: 'partTo', request, body: { on } })
      }),
      take: base.enqueueActions(({ context, event, enqueue }) => {
        if (event.type === 'event') {
          const { session } = event.from.badge
          const { capture, resource, prices } = context.settings ?? noRules
          enqueue({ type: 'record', params: { event: event.body, session, rules: { capture, resource, prices } } })
        }
        if (event.type === 'hops') enqueue({ type: 'recordHops', params: event.body })
        if (event.type === 'audit') enqueue({ type: 'append', params: { ...sender(event.from), entry: event.body } })
        if (event.type === 'workspace') {
          const { capture, resource, prices } = context.settings ?? noRules
          const entry: AuditBody = { action: 'workspace.events', data: { ...event.body } }
          enqueue({ type: 'recordWorkspace', params: { ...event.body, rules: { capture, resource, prices } } })
          enqueue({ type: 'append', params: { ...sender(event.from), entry } })
        }
        if (event.type === 'status') enqueue({ type: 'report', params: { request: event.from.request ?? -1, settings: context.settings } })
        if (event.type === 'test') enqueue({ type: 'selfTest', params: { request: event.from.request ?? -1 } })
      }),
      answer: base.enqueueActions(({ event, enqueue }) => {
        if (!('request' in event) || typeof event.request !== 'number' || event.request < 0 || event.type === 'cancelled') return
        const { request } = event
        if ('reply' in event) enqueue.emit({ type: 'reply', request, body: event.reply })
        else enqueue.emit({ type: 'refuse', request, error: asKnown('error' in event ? event.error : undefined) })
      }),
      watchTracing: base.enqueueActions(({ context, event, enqueue }) => {
        if (event.type !== 'tracing' || event.from.request === null) return
        const { request } = event.from
        enqueue.assign({ watchers: [...context.watchers, request] })
        enqueue.emit({ type: 'partTo', request, body: { on: wantsTraces(context) } })
      }),
      refuseWatcher: base.enqueueActions(({ event, enqueue }) => {
        if (event.type === 'tracing' && event.from.request !== null)
          enqueue.emit({
            type: 'refuse',
            request: event.from.request,
            error: fault('overloaded', 'Too many watch whether traces are wanted.'),
          })
      }),
      forget: base.enqueueActions(({ context, event, enqueue }) => {
        if (event.type === 'cancelled') enqueue.assign({ watchers: context.watchers.filter((request) => request !== event.request) })
      }),
    },
  })
  .createMachine({
    id: 'telemetry',
    context: { settings: null, watchers: [] },
    initial: 'serving',
    on: {
      event: { actions: 'take' },
      hops: { actions: 'take' },
      audit: { actions: 'take' },
      workspace: { actions: 'take' },
      status: { actions: 'take' },
      test: { actions: 'take' },
      tracing: [{ guard: 'tooManyWatch', actions: 'refuseWatcher' }, { actions: 'watchTracing' }],
      cancelled: { actions: 'forget' },
      'append.done': { actions: 'answer' },
      'append.failed': { actions: 'answer' },
      'append.crashed': { actions: 'answer' },
      'report.done': { actions: 'answer' },
      'report.crashed': { actions: 'answer' },
      'selfTest.done': { actions: 'answer' },
      'selfTest.failed': { actions: 'answer' },
      'selfTest.crashed': { actions: 'answer' },
    },
    states: {
      serving: {
        initial: 'watching',
        // Nobody but policy is asked anything.
        on: { part: { actions: 'learn' }, stopping: 'stopping' },
        states: {
          watching: {
            entry: 'watchPolicy',
            on: { replied: 'resting', refused: 'resting' },
          },
          // Policy's actor went down: what it said stays in force, and it is asked again in a moment.
          resting: { after: { policyRetry: 'watching' } },
        },
      },
      stopping: { entry: 'close' },
    },
  })

function sender({ request, badge }: From): { request: number; from: string; session: string | null } {
  return { request: request ?? -1, from: badge.from, session: badge.session }
}

function asKnown(error: unknown) {
  return typeof error === 'object' && error !== null && 'code' in error && 'remedy' in error
    ? (error as ReturnType<typeof fault>)
    : fault('internal', 'Telemetry failed.', { cause: String(error) })
}
