/** The machine's actions around the VM itself: its steps, its failures, and those who asked about it. */
import { assign, enqueueActions } from 'xstate'
import { fault } from '../../kernel/index.ts'
import { maxWatchers } from './limits.ts'
import { deciderOf, policyRef } from './machine-base.ts'
import { withSnapshots } from './machine-snapshots.ts'
import { announce, failureOf, recordOf, refuse, reply } from './messages.ts'
import type { VmState } from './protocol.ts'
import { backoffDelay, diskFull, type How, statusOf, unavailable, waitsForRoom, without } from './state.ts'

export const vocabulary = withSnapshots.extend({
  actions: {
    become: enqueueActions(({ context, enqueue }, params: { state: VmState }) => {
      const { change, out } = announce(context, { state: params.state, progress: null })
      enqueue.assign(change)
      for (const message of out) enqueue.emit(message)
      const record = recordOf(context, params.state)
      if (record) enqueue.emit(record)
    }),
    nextAttempt: enqueueActions(({ context, enqueue }) => {
      enqueue.assign({ epoch: context.epoch + 1, timings: {}, pid: null, readyAt: null, wasReady: false, again: false, how: 'boot' })
    }),
    nextStand: assign({ stands: ({ context }) => context.stands + 1 }),
    noteProgress: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'image.progress' && event.type !== 'vm.progress') return
      const { change, out } = announce(context, { progress: event.text })
      enqueue.assign(change)
      for (const message of out) enqueue.emit(message)
    }),
    noteStep: enqueueActions(({ context, event, enqueue }) => {
      const timed = (name: string, ms: number): Record<string, number> => ({ ...context.timings, [name]: ms })
      if (event.type === 'probe.found') {
        const { hypervisor, memoryMiB, cpus } = event
        enqueue.assign({ hypervisor, memoryMiB, cpus, timings: timed('probe', event.ms) })
      } else if (event.type === 'image.ready')
        enqueue.assign({ imageDir: event.dir, rolledBack: event.rolledBack, timings: timed('image', event.ms) })
      else if (event.type === 'accelerate.chosen')
        enqueue.assign({ accelerator: event.accelerator, acceleratorWhy: event.why, timings: timed('accelerator', event.ms) })
      else if (event.type === 'lookForSnapshot.found' || event.type === 'lookForSnapshot.none')
        enqueue.assign({ snapshotKey: event.key, timings: timed('snapshot', event.ms) })
      else if (event.type === 'vm.spawned') enqueue.assign({ pid: event.pid })
      else if (event.type === 'vm.handshake')
        enqueue.assign({
          timings: context.how === 'restore' ? timed('restore', event.ms) : { ...timed('boot', event.ms), guest: event.guestMs },
        })
      else if (event.type === 'verify.ok') {
        const { guest: _guest, ...steps } = timed('verify', event.ms)
        const total = Object.values(steps).reduce((sum, ms) => sum + ms, 0)
        enqueue.assign({
          timings: { ...timed('verify', event.ms), total },
          readyAt: event.at,
          wasReady: true,
          hardwareFailures: 0,
          busy: false,
        })
      }
    }),
    noteFull: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'vm.full') enqueue.assign({ lastError: diskFull(event) })
    }),
    trust: enqueueActions(({ enqueue }) => enqueue.assign({ trusted: true })),
    doubt: enqueueActions(({ enqueue }) => enqueue.assign({ trusted: false })),
    noteRoom: enqueueActions(({ enqueue }) => enqueue.assign({ lastError: null })),
    nowHealthy: enqueueActions(({ enqueue }) => enqueue.assign({ failures: 0, saved: false })),
    begin: enqueueActions(({ enqueue }, params: { how: How }) => enqueue.assign({ how: params.how })),
    noteBusy: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'ping.ok') enqueue.assign({ busy: event.busy })
    }),

    // Requests about the VM itself.
    addStarter: enqueueActions(({ context, event, enqueue }) => {
      if ((event.type !== 'start' && event.type !== 'restart') || event.from.request === null) return
      enqueue.assign({ starters: [...context.starters, event.from.request] })
    }),
    addStopper: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'stop' || event.from.request === null) return
      enqueue.assign({ stoppers: [...context.stoppers, event.from.request] })
    }),
    wantAgain: enqueueActions(({ context, enqueue }) => enqueue.assign({ again: context.forbidden === null })),
    wantStopped: enqueueActions(({ enqueue }) => enqueue.assign({ again: false })),
    replyEmpty: enqueueActions(({ event, enqueue }) => {
      if ('from' in event && event.from.request !== null) enqueue.emit(reply(event.from.request, {}))
    }),
    replyStarters: enqueueActions(({ context, enqueue }) => {
      for (const request of context.starters) enqueue.emit(reply(request, {}))
      enqueue.assign({ starters: [] })
    }),
    replyStoppers: enqueueActions(({ context, enqueue }) => {
      for (const request of context.stoppers) enqueue.emit(reply(request, {}))
      enqueue.assign({ stoppers: [] })
    }),
    refuseUnavailable: enqueueActions(({ context, event, enqueue }) => {
      if ('from' in event && event.from.request !== null) enqueue.emit(refuse(event.from.request, unavailable(context)))
    }),
    addWatcher: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'watch' || event.from.request === null) return
      if (context.watchers.length >= maxWatchers) {
        enqueue.emit(refuse(event.from.request, fault('overloaded', 'Too many clients watch the workspace.')))
        return
      }
      enqueue.emit({ type: 'partTo', request: event.from.request, body: { type: 'status', status: statusOf(context, null) } })
      enqueue.assign({ watchers: [...context.watchers, event.from.request] })
    }),
    replyStatus: enqueueActions(({ context, event, enqueue }) => {
      if (event.type === 'readClock.read') enqueue.emit(reply(event.request, statusOf(context, event.at)))
    }),
    forget: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'cancelled') return
      const others = (list: readonly number[]): number[] => list.filter((request) => request !== event.request)
      enqueue.assign({
        waiting: context.waiting.filter(({ request }) => request !== event.request),
        running: without(context.running, event.request),
        starters: others(context.starters),
        stoppers: others(context.stoppers),
        watchers: others(context.watchers),
      })
    }),

    noteFailure: enqueueActions(({ context, event, enqueue }) => {
      const starting = context.state === 'booting' || (context.state === 'handshake' && context.how !== 'restore')
      const hardware = context.accelerator !== null && context.accelerator !== 'tcg' && !context.wasReady && starting
      enqueue.assign({
        // One that stood still and is given up failed for what it stood still for.
        lastError: waitsForRoom(context) && event.type.startsWith('xstate.after') ? context.lastError : failureOf(event, context),
        failures: context.failures + 1,
        hardwareFailures: context.hardwareFailures + (hardware ? 1 : 0),
        restarts: context.restarts + (context.wasReady ? 1 : 0),
        pid: null,
        readyAt: null,
      })
    }),
    noteMissing: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'probe.missing') enqueue.assign({ lastError: event.error })
    }),
    noteDelay: enqueueActions(({ context, event, enqueue }) => {
      const fraction = event.type === 'drawJitter.drawn' ? event.fraction : 0.5
      enqueue.assign({ delayMs: backoffDelay(context.failures, fraction) })
    }),
    noteDown: enqueueActions(({ enqueue }) => enqueue.assign({ pid: null, readyAt: null })),
    watchPolicy: enqueueActions(({ enqueue }) =>
      enqueue.emit({ type: 'send', to: 'policy', kind: 'watch', body: {}, ref: policyRef, deadlineMs: null }),
    ),
    notePolicy: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'part' && event.ref === policyRef) enqueue.assign({ forbidden: deciderOf(event) })
    }),
    interruptAttempt: enqueueActions(({ context, enqueue }) => enqueue.emit({ type: 'interrupt', ref: String(context.epoch) })),
    interruptUnlessVm: enqueueActions(({ context, enqueue }) => {
      if (context.state === 'probing' || context.state === 'image') enqueue.emit({ type: 'interrupt', ref: String(context.epoch) })
    }),
  },
})
