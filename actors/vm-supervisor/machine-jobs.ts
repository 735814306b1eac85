/** The machine's actions around background commands, and around what is sent to commands under way. */
import { enqueueActions } from 'xstate'
import { fault, type Fault, type Outgoing } from '../../kernel/index.ts'
import { maxExecMs, maxSessionJobs, maxSessionRunning, maxWaiting, rememberedJobs } from './limits.ts'
import { base } from './machine-base.ts'
import { failureOf, interrupted, jobView, refuse, reply } from './messages.ts'
import type { MachineEvent } from './events.ts'
import type { Steering } from './running-commands.ts'
import { type Context, type Job, type JobEnd, countsOf, orderOf, sessionOf, unavailable } from './state.ts'

type Change = { jobs: Context['jobs']; out: readonly Outgoing[]; over: readonly string[]; forgotten: readonly string[] }

/** These end with `end`, if they have not; of each session only the last ones that ended are remembered. */
function withEnds(jobs: Context['jobs'], names: readonly string[], end: JobEnd): Omit<Change, 'out'> {
  const over = names.filter((name) => jobs[name] !== undefined && jobs[name].state !== 'ended')
  const ended = Object.fromEntries(
    over.map((name): [string, Job] => [name, { ...orderOf(jobs[name] as Job), told: jobs[name]?.told ?? false, state: 'ended', end }]),
  )
  return { ...remembered({ ...jobs, ...ended }), over }
}

function remembered(jobs: Context['jobs']): { jobs: Context['jobs']; forgotten: readonly string[] } {
  const bySession = Map.groupBy(
    Object.entries(jobs).filter(([, job]) => job.state === 'ended'),
    ([, job]) => job.session,
  )
  const forgotten = [...bySession.values()].flatMap((list) => list.slice(0, -rememberedJobs).map(([name]) => name))
  return { jobs: Object.fromEntries(Object.entries(jobs).filter(([name]) => !forgotten.includes(name))), forgotten }
}

const namesOf = (jobs: Context['jobs'], which: (job: Job) => boolean): string[] =>
  Object.entries(jobs).flatMap(([name, job]) => (which(job) ? [name] : []))

const withTold = (jobs: Context['jobs'], names: readonly string[]): Context['jobs'] =>
  Object.fromEntries(Object.entries(jobs).map(([name, job]) => [name, names.includes(name) ? { ...job, told: true } : job]))

function endOf(event: MachineEvent): JobEnd | null {
  if (event.type === 'job.exited') {
    const { exitCode, signal, timedOut, oom, durationMs, cwd, outputFile } = event
    return { ending: { exitCode, signal, timedOut, oom, durationMs, cwd, outputFile }, error: null }
  }
  if (event.type === 'job.failed' || event.type === 'job.lost' || event.type === 'job.crashed') return { ending: null, error: event.error }
  return null
}

const noSuchJob = (job: string): Fault =>
  fault('not-found', `The session has no background command ${job}.`, { remedy: 'List them; those that ended long ago are forgotten.' })

function steeringOf(event: MachineEvent): Steering | null {
  if (event.type === 'input') return { act: 'input', bytes: event.body.bytes, end: event.body.end ?? false }
  if (event.type === 'resize') return { act: 'resize', cols: event.body.cols, rows: event.body.rows }
  if (event.type === 'signal') return { act: 'signal', signal: event.body.signal }
  return event.type === 'job-stop' ? { act: 'stop' } : null
}

export const withJobs = base.extend({
  actions: {
    /** The reply is the job's name; what it waits for is nobody else's business. */
    queueJob: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'job' || event.from.request === null) return
      const { request } = event.from
      const session = sessionOf(event)
      if (session === null || context.sessions[session] === undefined) {
        enqueue.emit(refuse(request, fault('no-such-session', 'The workspace does not know this session.', { cause: String(session) })))
        return
      }
      const open = namesOf(context.jobs, (one) => one.state !== 'ended')
      if (open.length >= maxWaiting) {
        enqueue.emit(refuse(request, fault('overloaded', 'Too many background commands are there.', { rule: `at most ${maxWaiting}` })))
        return
      }
      const { command, cwd = null, timeoutMs = maxExecMs, env = {} } = event.body
      const name = `job-${context.nextJob}`
      enqueue.assign({
        nextJob: context.nextJob + 1,
        jobs: { ...context.jobs, [name]: { session, command, cwd, timeoutMs, env, state: 'waiting', end: null } },
      })
      enqueue.emit(reply(request, { job: name }))
    }),
    runJobs: base.enqueueActions(({ context, enqueue }) => {
      if (!context.trusted) return
      const begun: Record<string, Job> = {}
      const counts = countsOf(context)
      for (const [name, job] of Object.entries(context.jobs)) {
        if (job.state !== 'waiting' || context.sessions[job.session]?.inGuest !== 'yes') continue
        const { jobs = 0, commands = 0 } = counts[job.session] ?? {}
        if (jobs >= maxSessionJobs || jobs + commands >= maxSessionRunning) continue
        counts[job.session] = { jobs: jobs + 1, commands }
        begun[name] = { ...job, state: 'running' }
        enqueue({ type: 'job', params: { ref: name, ...orderOf(job) } })
      }
      if (Object.keys(begun).length > 0) enqueue.assign({ jobs: { ...context.jobs, ...begun } })
    }),
    finishJob: base.enqueueActions(({ context, event, enqueue }) => {
      const end = endOf(event)
      if (end === null || !('ref' in event) || event.ref === undefined) return
      const { jobs, over, forgotten } = withEnds(context.jobs, [event.ref], end)
      // One that was given up with its VM says nothing of the VM there is now.
      enqueue.assign({ jobs, ...(end.ending && over.length > 0 ? { failures: 0 } : {}) })
      if (over.length + forgotten.length > 0) enqueue({ type: 'settleJobs', params: { over, forgotten } })
    }),
    /** The VM is gone, or is about to be. */
    endRunningJobs: base.enqueueActions(({ context, event, enqueue }) => {
      const asked = event.type === 'stop' || event.type === 'restart' || event.type === 'stopping'
      const error = context.forbidden !== null ? unavailable(context) : asked ? interrupted : failureOf(event, context)
      const { jobs, over, forgotten } = withEnds(
        context.jobs,
        namesOf(context.jobs, ({ state }) => state === 'running'),
        { ending: null, error },
      )
      enqueue.assign({ jobs })
      if (over.length > 0) enqueue({ type: 'settleJobs', params: { over, forgotten } })
    }),
    endWaitingJobs: base.enqueueActions(({ context, enqueue }) => {
      if (context.again) return
      const end: JobEnd = { ending: null, error: unavailable(context) }
      const { jobs, over, forgotten } = withEnds(
        context.jobs,
        namesOf(context.jobs, ({ state }) => state === 'waiting'),
        end,
      )
      enqueue.assign({ jobs })
      if (over.length > 0) enqueue({ type: 'settleJobs', params: { over, forgotten } })
    }),
    /** The session is closed, and what ran in it with it. */
    forgetJobs: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'detach') return
      const gone = namesOf(context.jobs, ({ session }) => session === event.body.session)
      if (gone.length === 0) return
      enqueue.assign({ jobs: Object.fromEntries(Object.entries(context.jobs).filter(([name]) => !gone.includes(name))) })
      enqueue({ type: 'settleJobs', params: { over: [], forgotten: gone } })
    }),
    /** Those of sessions that could not be made. */
    endFailedJobs: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'admit.failed' && event.type !== 'admit.crashed') return
      const isFailed = (name: string): boolean => context.sessions[name]?.inGuest === 'failed'
      const waiting = namesOf(context.jobs, ({ session, state }) => state === 'waiting' && isFailed(session))
      const { jobs, over, forgotten } = withEnds(context.jobs, waiting, { ending: null, error: event.error })
      enqueue.assign({ jobs })
      if (over.length > 0) enqueue({ type: 'settleJobs', params: { over, forgotten } })
    }),

    listJobs: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'jobs' || event.from.request === null) return
      const { session } = event.from.badge
      const own = Object.entries(context.jobs).filter(([, job]) => job.session === session)
      enqueue.emit(reply(event.from.request, { jobs: own.map(([name, job]) => jobView(name, job)) }))
    }),
    /** Each end once. */
    tellEnds: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'job-news' || event.from.request === null) return
      const { request, badge } = event.from
      const news = namesOf(context.jobs, ({ session, state, told }) => session === badge.session && state === 'ended' && told !== true)
      enqueue.assign({ jobs: withTold(context.jobs, news) })
      enqueue.emit(reply(request, { jobs: news.map((name) => jobView(name, context.jobs[name] as Job)) }))
    }),
    takeOutput: base.enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'job-output' || event.from.request === null) return
      const { job: name, waitMs = 0 } = event.body
      const job = context.jobs[name]
      const { request, badge } = event.from
      if (job === undefined || job.session !== badge.session) enqueue.emit(refuse(request, noSuchJob(name)))
      else enqueue({ type: 'readJob', params: { request, job: name, waitMs } })
    }),
    replyJob: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'readJob.read') return
      const { request, job: name, output, missed, outputFile } = event
      const job = context.jobs[name]
      if (job?.state === 'ended') enqueue.assign({ jobs: withTold(context.jobs, [name]) })
      enqueue.emit(
        job === undefined ? refuse(request, noSuchJob(name)) : reply(request, { ...jobView(name, job), output, missed, outputFile }),
      )
    }),
    /** A job that has not begun has no process: it is over, whatever it is sent to end it. */
    steer: base.enqueueActions(({ context, event, enqueue }) => {
      const steering = steeringOf(event)
      if (steering === null || !('from' in event) || event.from.request === null) return
      const { request } = event.from
      const handle = event.type === 'job-stop' ? event.body.job : 'handle' in event.body ? event.body.handle : undefined
      const session = sessionOf(event)
      const job = context.jobs[handle ?? '']
      const queued = context.waiting.find((one) => one.session === session && one.handle === handle)
      // Whoever ends it need not be told that it ended.
      if (event.type === 'job-stop' && job?.session === session) enqueue.assign({ jobs: withTold(context.jobs, [event.body.job]) })
      if (
        handle !== undefined &&
        job?.session === session &&
        job.state === 'waiting' &&
        steering.act !== 'input' &&
        steering.act !== 'resize'
      ) {
        const end: JobEnd = { ending: null, error: fault('cancelled', 'It was ended before its turn came.') }
        const { jobs, over, forgotten } = withEnds(context.jobs, [handle], end)
        enqueue.assign({ jobs })
        enqueue({ type: 'settleJobs', params: { over, forgotten } })
        enqueue.emit(reply(request, {}))
      } else if (steering.act === 'signal' && queued !== undefined) {
        // The same for a command in the foreground that waits for the workspace or its turn.
        enqueue.assign({ waiting: context.waiting.filter((one) => one !== queued) })
        enqueue.emit(refuse(queued.request, fault('cancelled', 'It was ended before its turn came.')))
        enqueue.emit(reply(request, {}))
      } else enqueue({ type: 'steerCommand', params: { request, session: session ?? '', handle: handle ?? '', steering } })
    }),
    replySteered: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'steerCommand.done') enqueue.emit(reply(event.request, {}))
    }),
    refuseAsked: enqueueActions(({ event, enqueue }) => {
      if ('request' in event && 'error' in event && event.request !== undefined) enqueue.emit(refuse(event.request, event.error))
    }),
  },
})
