/** The machine's actions around sessions and the commands they run. */
import { enqueueActions } from 'xstate'
import { fault } from '../../kernel/index.ts'
import { maxRunning, maxSessionRunning, maxSessions, maxWaiting } from './limits.ts'
import { withJobs } from './machine-jobs.ts'
import { asWaiting, detailOf, failureOf, interrupted, refuse, reply } from './messages.ts'
import {
  countsOf,
  type Folder,
  openJobs,
  type Session,
  sessionOf,
  uidFor,
  unavailable,
  type Waiting,
  withFolders,
  without,
} from './state.ts'

export const withCommands = withJobs.extend({
  actions: {
    // Sessions.
    attach: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'attach') return
      const { session, folders } = event.body
      const { request, caps } = event.from
      const uid = uidFor(context, session)
      const known = context.sessions[session]
      const wrong =
        caps.length !== folders.length
          ? fault('malformed', 'As many capabilities as folders must travel with attach.', {
              cause: `${folders.length} folders, ${caps.length} capabilities`,
            })
          : uid === null || (known === undefined && Object.keys(context.sessions).length >= maxSessions)
            ? fault('overloaded', 'The workspace holds as many sessions as it can.')
            : null
      if (wrong !== null || uid === null) {
        if (request !== null && wrong !== null) enqueue.emit(refuse(request, wrong))
        return
      }
      const added = folders.map((folder, i): Folder => ({ ...folder, slot: caps[i] as number }))
      const revision = context.revisions + 1
      enqueue.assign({
        revisions: revision,
        sessions: { ...context.sessions, [session]: withFolders(known, uid, revision, added) },
        uids: { ...context.uids, [session]: uid },
      })
      if (request !== null) enqueue.emit(reply(request, {}))
    }),
    network: withJobs.enqueueActions(({ event, enqueue }) => {
      if (event.type !== 'network') return
      const { request, caps } = event.from
      const [slot] = caps
      const wrong = slot === undefined || caps.length > 1 ? fault('malformed', 'One capability must travel with network.') : null
      if (slot !== undefined && wrong === null) enqueue({ type: 'setNetwork', params: { session: event.body.session, slot } })
      if (request !== null) enqueue.emit(wrong === null ? reply(request, {}) : refuse(request, wrong))
    }),
    detach: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'detach') return
      const { session } = event.body
      for (const { request } of context.waiting.filter((item) => item.session === session))
        enqueue.emit(refuse(request, fault('no-such-session', 'The session was closed.')))
      enqueue.assign({ sessions: without(context.sessions, session), waiting: context.waiting.filter((item) => item.session !== session) })
      if (event.from.request !== null) enqueue.emit(reply(event.from.request, {}))
    }),
    evictDetached: withJobs.enqueueActions(({ context, event, enqueue }) => {
      if (event.type === 'detach') enqueue({ type: 'evict', params: { ref: String(context.epoch), session: event.body.session } })
    }),
    /** Tells the guest of every session a command waits for that it does not know yet, and of those whose folders changed. */
    admitSessions: withJobs.enqueueActions(({ context, enqueue }) => {
      const sessions: Record<string, Session> = { ...context.sessions }
      for (const [name, session] of Object.entries(context.sessions)) {
        const wanted = context.waiting.some((item) => item.session === name) || openJobs(context, name).length > 0
        if (session.inGuest !== 'stale' && !(session.inGuest === 'no' && wanted)) continue
        sessions[name] = { ...session, inGuest: 'pending' }
        const { revision, uid, folders } = session
        enqueue({ type: 'admit', params: { ref: String(context.epoch), session: name, revision, uid, folders } })
      }
      enqueue.assign({ sessions })
    }),
    noteAdmission: enqueueActions(({ context, event, enqueue }) => {
      // Whose it was is not known: nobody waits for what may never come, and one that is made all the same is there.
      if (event.type === 'admit.crashed') {
        const failed = Object.entries(context.sessions).map(([name, session]): [string, Session] => [
          name,
          session.inGuest === 'pending' ? { ...session, inGuest: 'failed', error: event.error } : session,
        ])
        enqueue.assign({ sessions: Object.fromEntries(failed) })
      }
      if (event.type !== 'admit.ready' && event.type !== 'admit.failed') return
      const session = context.sessions[event.session]
      if (!session || session.revision !== event.revision) return
      const failed = event.type === 'admit.failed'
      enqueue.assign({
        sessions: {
          ...context.sessions,
          [event.session]: { ...session, inGuest: failed ? 'failed' : 'yes', error: failed ? event.error : null },
        },
      })
    }),
    /** A session the guest could not make gets another try with each new command. */
    retryFailedSession: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'exec' && event.type !== 'shell' && event.type !== 'job') return
      const name = sessionOf(event) ?? ''
      const session = context.sessions[name]
      if (session?.inGuest === 'failed')
        enqueue.assign({ sessions: { ...context.sessions, [name]: { ...session, inGuest: 'no', error: null } } })
    }),
    forgetGuestSessions: enqueueActions(({ context, enqueue }) => {
      const fresh = Object.entries(context.sessions).map(([name, session]) => [name, { ...session, inGuest: 'no', error: null }] as const)
      enqueue.assign({ sessions: Object.fromEntries(fresh) })
    }),

    // Commands.
    queueExec: enqueueActions(({ context, event, enqueue }) => {
      if ((event.type !== 'exec' && event.type !== 'shell') || event.from.request === null) return
      const { request } = event.from
      const session = sessionOf(event)
      if (session === null || context.sessions[session] === undefined) {
        enqueue.emit(refuse(request, fault('no-such-session', 'The workspace does not know this session.', { cause: String(session) })))
        return
      }
      if (context.waiting.length >= maxWaiting) {
        enqueue.emit(refuse(request, fault('overloaded', 'Too many commands wait for the workspace.', { cause: `${maxWaiting} waiting` })))
        return
      }
      enqueue.assign({ waiting: [...context.waiting, asWaiting(event, request, session)] })
      if (!['ready', 'stopped', 'absent', 'paused'].includes(context.state))
        enqueue.emit({
          type: 'partTo',
          request,
          body: {
            type: 'vm',
            state: context.state,
            detail: detailOf(context),
            ...(context.progress === null ? {} : { progress: context.progress }),
          },
        })
    }),
    /** Starts what can start, refuses what cannot, keeps what waits for its session. */
    runWaiting: withJobs.enqueueActions(({ context, enqueue }) => {
      if (!context.trusted) return
      const waiting: Waiting[] = []
      const running: Record<number, string> = { ...context.running }
      const counts = countsOf(context)
      let underWay = Object.keys(running).length
      for (const item of context.waiting) {
        const session = context.sessions[item.session]
        const own = counts[item.session] ?? { jobs: 0, commands: 0 }
        if (!session) enqueue.emit(refuse(item.request, fault('no-such-session', 'The session was closed.')))
        else if (session.inGuest === 'failed')
          enqueue.emit(refuse(item.request, session.error ?? fault('exec-failed', 'The session could not be prepared in the workspace.')))
        else if (session.inGuest === 'yes' && underWay < maxRunning && own.jobs + own.commands < maxSessionRunning) {
          underWay++
          counts[item.session] = { ...own, commands: own.commands + 1 }
          running[item.request] = item.session
          enqueue({ type: 'exec', params: item })
        } else waiting.push(item)
      }
      enqueue.assign({ waiting, running })
    }),
    finishExec: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'exec.exited' && event.type !== 'exec.failed' && event.type !== 'exec.lost' && event.type !== 'exec.crashed')
        return
      const { request } = event
      if (request === undefined || context.running[request] === undefined) return
      enqueue.assign({ running: without(context.running, request) })
      if (event.type === 'exec.exited') {
        const { exitCode, signal, timedOut, oom, durationMs, cwd, outputFile } = event
        enqueue.emit(reply(request, { exitCode, signal, timedOut, oom, durationMs, cwd, outputFile }))
        enqueue.assign({ failures: 0 })
      } else enqueue.emit(refuse(request, event.error))
    }),
    refuseRunning: enqueueActions(({ context, event, enqueue }) => {
      const error =
        context.forbidden !== null
          ? unavailable(context)
          : event.type === 'stop' || event.type === 'restart' || event.type === 'stopping'
            ? interrupted
            : failureOf(event, context)
      for (const request of Object.keys(context.running)) enqueue.emit(refuse(Number(request), error))
      enqueue.assign({ running: {} })
    }),
    refuseWaiting: enqueueActions(({ context, enqueue }) => {
      if (context.again) return
      const error = unavailable(context)
      for (const { request } of context.waiting) enqueue.emit(refuse(request, error))
      for (const request of context.starters) enqueue.emit(refuse(request, error))
      enqueue.assign({ waiting: [], starters: [] })
    }),
  },
})
