/** What must hold of any run of the supervisor: where each thing leads, what is under way where, what is kept, and who is heard. */
import { askedBy, type Event, type Model, type Pending, type View } from '../../checker/model.ts'
import type { Outgoing } from '../../kernel/index.ts'
import { failuresWithoutSaving, maxSessionJobs, maxSessionRunning, retriesAtOnce } from './limits.ts'
import { deciderOf, hasVm, policyRef } from './machine-base.ts'
import type { MachineEvent } from './events.ts'
import { type Context, countsOf, isFrozen, openJobs, standRef } from './state.ts'

type Seen = View<Context>
type Place = string

/** `stopped`, `working.booting`, `ready`, `degraded.waiting`: deeper only where several effects or timers are told apart by it. */
export function placeOf({ value }: { value: unknown }): Place {
  if (typeof value === 'string') return value
  const [outer, inner] = Object.entries(value as object)[0] as [string, unknown]
  if (outer === 'ready') return outer
  return `${outer}.${typeof inner === 'string' ? inner : Object.keys(inner as object)[0]}`
}
const regions = ({ value }: Seen) => (value as { ready: { watchdog: string; idleness: string; health: string } }).ready
/** Nothing of a VM is there, nor on its way. */
const down = new Set(['stopped', 'off', 'absent.resting', 'absent.stale', 'degraded.drawing', 'degraded.waiting'])
const starting = new Set(['working.restoring', 'working.booting', 'working.handshake', 'working.verifying', 'working.saving'])
export const early = new Set(['working.probing', 'working.image', 'working.accelerating', 'working.choosing'])
const standing = new Set(['ready', 'paused', 'full', 'waking'])

const isUnchanged = (before: Seen, after: Seen, out: readonly Outgoing[]): boolean =>
  out.length === 0 &&
  after.pending.length === before.pending.length &&
  after.context === before.context &&
  placeOf(after) === placeOf(before)

const named = ({ pending }: Seen, name: string): Extract<Pending, { what: 'effect' }>[] =>
  pending.filter((item) => item.what === 'effect' && item.name === name) as never
/** What is asked more than once of one VM. */
const stands = ['pause', 'resume']
const begins = (before: Seen, after: Seen, name: string): boolean => {
  const isStand = stands.includes(name)
  const ref = isStand ? standRef(after.context) : String(after.context.epoch)
  return (
    (!isStand || after.context.stands === before.context.stands + 1) &&
    named(after, name).some((item) => !before.pending.includes(item) && (item.params['ref'] ?? '') === ref)
  )
}
const begun = (before: Seen, after: Seen, name: string): boolean => named(after, name).some((item) => !before.pending.includes(item))
const timed = ({ pending }: Seen, delay: string): boolean =>
  pending.some((item) => item.what === 'timer' && item.id.startsWith(`xstate.after.${delay}.`))

/** What an event is called in the tables: a timer by its delay. */
export const nameOf = ({ type }: Event): string => (type.startsWith('xstate.after.') ? `after ${type.split('.')[2]}` : type)
const ofAttempt = /^(probe|image|accelerate|lookForSnapshot|vm|runVm|verify|save|awaitRoom|pause|resume|ping|admit|drawJitter)\.[a-z]+$/
const attemptOf = (event: Event): unknown => event['ref'] ?? event['epoch']
export const isStale = ({ context }: Seen, event: Event): boolean =>
  ofAttempt.test(event.type) && ![undefined, String(context.epoch), standRef(context)].includes(attemptOf(event) as string | undefined)
const sessionOf = (event: Event): string =>
  (event['from'] as { badge: { session: string | null } }).badge.session ?? (event['body'] as { session?: string }).session ?? ''

/** What the place says the VM is. */
const says: Readonly<Record<Place, string>> = {
  off: 'off',
  stopped: 'stopped',
  'absent.resting': 'absent',
  'absent.stale': 'absent',
  'working.probing': 'probing',
  'working.image': 'image',
  'working.accelerating': 'probing',
  'working.choosing': 'probing',
  'working.restoring': 'restoring',
  'working.booting': 'booting',
  'working.handshake': 'handshake',
  'working.verifying': 'verifying',
  'working.saving': 'saving',
  ready: 'ready',
  paused: 'paused',
  full: 'degraded',
  'degraded.drawing': 'degraded',
  'degraded.waiting': 'degraded',
  stopping: 'stopping',
  closing: 'stopping',
}

/** What begins where a place is entered. */
const entered: Readonly<Record<Place, readonly string[]>> = {
  'working.probing': ['probe'],
  'working.image': ['image'],
  'working.accelerating': ['accelerate'],
  'working.choosing': ['lookForSnapshot'],
  'working.restoring': ['runVm'],
  'working.booting': ['runVm'],
  'working.verifying': ['verify'],
  'working.saving': ['save'],
  paused: ['pause'],
  full: ['pause', 'awaitRoom'],
  waking: ['resume'],
  'degraded.drawing': ['drawJitter'],
  stopping: ['halt'],
  closing: ['halt'],
}

/** The timer that a place must not be without. */
const limited: Readonly<Record<Place, string>> = {
  'working.image': 'imageStall',
  'working.restoring': 'restoreStall',
  'working.booting': 'bootStall',
  'working.handshake': 'handshakeStall',
  'working.verifying': 'verifyStall',
  'working.saving': 'saveStall',
  'absent.resting': 'absentRest',
  paused: 'stopAfter',
  full: 'fullGrace',
  waking: 'verifyStall',
  'degraded.waiting': 'backoff',
  stopping: 'stopLimit',
}
const isTimed = (view: Seen): boolean => {
  const limit = limited[placeOf(view)]
  if (limit !== undefined) return timed(view, limit)
  if (placeOf(view) !== 'ready') return true
  const { watchdog, health } = regions(view)
  return (
    timed(view, 'pauseAfter') &&
    (health === 'proven' || timed(view, 'healthy')) &&
    (watchdog === 'asking' ? named(view, 'ping').length > 0 : timed(view, watchdog === 'fresh' ? 'freshFor' : 'pingEvery'))
  )
}

/** It failed: tried again at once, or after a while. */
const failed = 'failed'
/** It did not even get as far as a VM: tried again after a while. */
const later = 'later'
const endsStart = { 'runVm.exited': failed, 'runVm.crashed': failed, 'vm.full': failed, stop: 'stopping' }
const died = { 'runVm.exited': failed, 'runVm.crashed': failed, stop: 'stopping', restart: 'stopping' }
const notPaused = { 'pause.failed': failed, 'pause.crashed': failed }
const wanted = { start: 'working.probing', restart: 'working.probing' }
const connecting = { 'vm.handshake': 'working.verifying', ...endsStart }

/** Where each thing leads. What belongs to an attempt is of the present one. */
export const leads: Readonly<Record<Place, Readonly<Record<string, Place | ((before: Seen, after: Seen) => boolean)>>>> = {
  stopped: wanted,
  'absent.resting': { ...wanted, 'after absentRest': 'absent.stale' },
  'absent.stale': wanted,
  'working.probing': {
    'probe.found': 'working.image',
    'probe.missing': 'absent.resting',
    'probe.failed': later,
    'probe.crashed': later,
    stop: 'stopped',
  },
  'working.image': {
    'image.ready': 'working.accelerating',
    'image.failed': later,
    'image.crashed': later,
    'after imageStall': later,
    stop: 'stopped',
  },
  'working.accelerating': { 'accelerate.chosen': 'working.choosing', 'accelerate.crashed': later, stop: 'stopped' },
  'working.choosing': {
    'lookForSnapshot.found': 'working.restoring',
    'lookForSnapshot.none': 'working.booting',
    'lookForSnapshot.crashed': 'working.booting',
    stop: 'stopped',
  },
  'working.restoring': { ...connecting, 'vm.connected': 'working.handshake', 'after restoreStall': failed },
  'working.booting': { ...connecting, 'vm.connected': 'working.handshake', 'after bootStall': failed },
  'working.handshake': { ...connecting, 'after handshakeStall': failed },
  'working.verifying': {
    ...endsStart,
    'verify.ok': ({ context }, after) => placeOf(after) === (context.how === 'boot-and-save' ? 'working.saving' : 'ready'),
    'verify.failed': failed,
    'verify.crashed': failed,
    'after verifyStall': failed,
  },
  'working.saving': {
    ...endsStart,
    'save.saved': 'working.probing',
    'save.failed': 'working.probing',
    'save.crashed': 'working.probing',
    'after saveStall': 'working.probing',
  },
  ready: {
    ...died,
    'vm.full': 'full',
    'after freshFor': (_, after) => regions(after).watchdog === 'stale',
    'after pingEvery': (_, after) => regions(after).watchdog === 'asking',
    'after pauseAfter': (before, after) => placeOf(after) === (isIdle(before) ? 'paused' : 'ready'),
    'after healthy': (before, after) => (regions(after).health === 'proven') === nobodyWaits(before),
    'ping.ok': (before, after) => regions(before).watchdog !== 'asking' || regions(after).watchdog === 'fresh',
    'ping.crashed': (before, after) => regions(before).watchdog !== 'asking' || regions(after).watchdog === 'fresh',
    'ping.silent': (before, after) => regions(before).watchdog !== 'asking' || hasFailed(before, after, failed),
  },
  paused: { ...died, ...notPaused, start: 'waking', detach: 'waking', 'after stopAfter': 'stopping' },
  full: { ...died, ...notPaused, 'awaitRoom.found': 'waking', 'awaitRoom.crashed': failed, 'after fullGrace': failed },
  waking: {
    ...died,
    'vm.full': 'full',
    'resume.done': 'ready',
    'resume.failed': failed,
    'resume.crashed': failed,
    'after verifyStall': failed,
  },
  'degraded.drawing': { ...wanted, stop: 'stopped', 'drawJitter.drawn': 'degraded.waiting', 'drawJitter.crashed': 'degraded.waiting' },
  'degraded.waiting': { ...wanted, stop: 'stopped', 'after backoff': 'working.probing' },
  stopping: { 'runVm.exited': isOver, 'runVm.crashed': isOver, 'after stopLimit': isOver },
}
function isOver({ context }: Seen, after: Seen): boolean {
  return placeOf(after) === (context.again ? 'working.probing' : context.forbidden === null ? 'stopped' : 'off')
}
function isIdle({ context }: Seen): boolean {
  const { busy, waiting, running } = context
  return !busy && waiting.length === 0 && Object.keys(running).length === 0 && openJobs(context).length === 0
}
function nobodyWaits({ context }: Seen): boolean {
  return context.waiting.length === 0 && openJobs(context).every(({ state }) => state === 'running')
}
function hasFailed(before: Seen, after: Seen, how: string): boolean {
  const { failures, lastError, pid } = after.context
  const at = placeOf(after)
  const again = how === failed && failures <= retriesAtOnce
  return (
    at === (again ? 'working.probing' : 'degraded.drawing') &&
    failures === before.context.failures + 1 &&
    lastError !== null &&
    pid === null
  )
}
/** A command of a session that is known. */
export const isCommand = ({ context }: Seen, event: Event): boolean =>
  ['exec', 'shell', 'job'].includes(event.type) && askedBy(event) !== null && context.sessions[sessionOf(event)] !== undefined
const commandLeads: Readonly<Record<Place, Place>> = {
  stopped: 'working.probing',
  'absent.stale': 'working.probing',
  paused: 'waking',
}

/** What a step of the start found is kept. */
const found: Readonly<Record<string, (context: Context, event: never) => boolean>> = {
  'probe.found': ({ hypervisor }, event: { hypervisor: unknown }) => hypervisor === event.hypervisor,
  'image.ready': ({ imageDir }, event: { dir: string }) => imageDir === event.dir,
  'image.progress': ({ progress }, event: { text: string }) => progress === event.text,
  'accelerate.chosen': ({ accelerator }, event: { accelerator: string }) => accelerator === event.accelerator,
  'lookForSnapshot.found': ({ snapshotKey, how }, event: { key: string }) => snapshotKey === event.key && how === 'restore',
  'lookForSnapshot.none': ({ snapshotKey }, event: { key: string }) => snapshotKey === event.key,
  'vm.spawned': ({ pid }, event: { pid: number }) => pid === event.pid,
  'vm.progress': ({ progress }, event: { text: string }) => progress === event.text,
  'vm.handshake': ({ timings, how }) => (how === 'restore' ? timings['restore'] : timings['boot']) !== undefined,
  'save.saved': ({ saved }) => saved,
}
const foundIn: Readonly<Record<string, readonly Place[]>> = {
  'probe.found': ['working.probing'],
  'image.ready': ['working.image'],
  'image.progress': ['working.image'],
  'accelerate.chosen': ['working.accelerating'],
  'lookForSnapshot.found': ['working.choosing'],
  'lookForSnapshot.none': ['working.choosing'],
  'vm.spawned': ['working.restoring', 'working.booting', 'working.handshake'],
  'vm.progress': ['working.booting'],
  'vm.handshake': ['working.restoring', 'working.booting', 'working.handshake'],
  'save.saved': ['working.saving'],
}

export const always: Model<Context>['always'] = {
  'it says where it is': (view) => says[placeOf(view)] === undefined || view.context.state === says[placeOf(view)],
  'no place where it might wait for ever is without its timer': isTimed,
  'who waits for a start, or for an end, waits where one is under way': (view) => {
    const at = placeOf(view)
    const { waiting, starters, stoppers } = view.context
    return (
      (at !== 'stopped' || waiting.length === 0) &&
      (starters.length === 0 || at.startsWith('working.') || at === 'waking' || at === 'stopping') &&
      (stoppers.length === 0 || at === 'stopping' || at === 'closing')
    )
  },
  'what was just heard is trusted, what is asked is not': (view) =>
    placeOf(view) !== 'ready' || regions(view).watchdog === 'stale' || view.context.trusted === (regions(view).watchdog === 'fresh'),
  'in a VM that is ready, sessions that are needed are known or on their way': ({ value, context }) =>
    placeOf({ value }) !== 'ready' ||
    Object.entries(context.sessions).every(
      ([name, { inGuest }]) =>
        inGuest !== 'stale' &&
        (inGuest !== 'no' || !context.waiting.some(({ session }) => session === name)) &&
        (inGuest !== 'no' || openJobs(context, name).every(({ state }) => state !== 'waiting')),
    ),
  'in a VM that is ready and was heard, what can begin has': ({ value, context }) => {
    if (placeOf({ value }) !== 'ready' || !context.trusted) return true
    const counts = countsOf(context)
    const isReady = (session: string): boolean => ['yes', 'failed'].includes(context.sessions[session]?.inGuest ?? 'no')
    const room = (session: string): boolean => (counts[session]?.jobs ?? 0) + (counts[session]?.commands ?? 0) < maxSessionRunning
    return (
      context.waiting.every(({ session }) => !isReady(session) || !room(session)) &&
      openJobs(context).every(
        ({ state, session }) =>
          state !== 'waiting' || !isReady(session) || !room(session) || (counts[session]?.jobs ?? 0) >= maxSessionJobs,
      )
    )
  },
  'a session on its way into a VM is being made there': (view) =>
    !standing.has(placeOf(view)) ||
    Object.entries(view.context.sessions).every(
      ([name, { inGuest, revision }]) =>
        inGuest !== 'pending' ||
        named(view, 'admit').some(
          ({ params }) => params['session'] === name && params['revision'] === revision && params['ref'] === String(view.context.epoch),
        ),
    ),
  'a new VM knows no session': ({ value, context }) =>
    !placeOf({ value }).startsWith('working.') || Object.values(context.sessions).every(({ inGuest }) => inGuest === 'no'),
  'where there is no VM there is no process, and none that has been ready': (view) =>
    !down.has(placeOf(view)) || (view.context.pid === null && view.context.readyAt === null),
  'policy is watched, or asked again in a moment': (view) =>
    view.value === 'closing' ||
    named(view, 'rest').length > 0 ||
    view.pending.some((item) => item.what === 'request' && item.ref === policyRef),
  'a VM that has proved itself has no failures against it': (view) =>
    placeOf(view) !== 'ready' || regions(view).health !== 'proven' || (view.context.failures === 0 && !view.context.saved),
}

export const steps: NonNullable<Model<Context>['steps']> = {
  'news of an earlier attempt is not news': (before, event, after, out) => !isStale(before, event) || isUnchanged(before, after, out),
  // Of what each step leaves: states that differ in what no longer matters are one.
  'nothing that starts a VM runs where there is none, and nothing of an earlier attempt': (_before, _event, after) => {
    const at = placeOf(after)
    const parts = ['probe', 'image', 'accelerate', 'lookForSnapshot']
    return [...parts, 'runVm'].every((name) =>
      named(after, name).every(
        ({ params }) => params['ref'] === String(after.context.epoch) && !down.has(at) && (at !== 'closing' || !parts.includes(name)),
      ),
    )
  },
  'each thing leads where it should': (before, event, after) => {
    const expected = leads[placeOf(before)]?.[nameOf(event)]
    if (expected === undefined || isStale(before, event)) return true
    if (typeof expected === 'function') return expected(before, after)
    return expected === failed || expected === later ? hasFailed(before, after, expected) : placeOf(after) === expected
  },
  'a command starts or wakes what it needs': (before, event, after) => {
    const to = commandLeads[placeOf(before)]
    if (!isCommand(before, event)) return true
    if (to !== undefined) return placeOf(after) === to
    return placeOf(before) !== 'ready' || regions(before).watchdog !== 'stale' || regions(after).watchdog === 'asking'
  },
  'a command of a session that could not be made has it made again': (before, event, after) =>
    !isCommand(before, event) ||
    !['ready', 'paused', 'waking'].includes(placeOf(before)) ||
    after.context.sessions[sessionOf(event)]?.inGuest !== 'failed',
  'a command of a session that is not known starts nothing': (before, event, after) =>
    !['exec', 'shell', 'job'].includes(event.type) ||
    isCommand(before, event) ||
    askedBy(event) === null ||
    placeOf(after) === placeOf(before),
  'what a place is for begins there': (before, _event, after) =>
    (placeOf(before) === placeOf(after) && before.context.epoch === after.context.epoch) ||
    (entered[placeOf(after)] ?? []).every((name) => begins(before, after, name)),
  'each attempt is a new one': (before, _event, { context, value }) =>
    context.epoch === before.context.epoch
      ? placeOf({ value }) !== 'working.probing' || placeOf(before) === 'working.probing'
      : context.epoch === before.context.epoch + 1 && !context.again && context.how === 'boot' && !context.wasReady,
  'what was found is kept': (before, event, after) => {
    if (isStale(before, event) || foundIn[event.type]?.includes(placeOf(before)) !== true) return true
    return found[event.type]?.(after.context, event as never) === true
  },
  'what makes progress gets new time': (before, event, after) =>
    isStale(before, event) ||
    (!(placeOf(before) === 'working.image' && event.type === 'image.progress') &&
      !(placeOf(before) === 'working.booting' && ['vm.progress', 'vm.spawned'].includes(event.type))) ||
    after.pending.some((item) => item.what === 'timer' && !before.pending.includes(item)),
  'a VM that is verified is ready since then': (before, event, { context, value }) =>
    event.type !== 'verify.ok' ||
    isStale(before, event) ||
    placeOf({ value }) !== 'ready' ||
    (context.readyAt === event['at'] && context.wasReady && context.hardwareFailures === 0),
  'a memory is saved only where there is room, and not again and again': ({ context }, event, { context: { how } }) =>
    event.type !== 'lookForSnapshot.none' ||
    attemptOf(event) !== String(context.epoch) ||
    context.state !== 'probing' ||
    (how === 'boot-and-save') ===
      (event['room'] === true &&
        event['key'] !== null &&
        context.config.snapshots &&
        !context.saved &&
        context.failures < failuresWithoutSaving),
  'a memory that could not be saved is not tried again, and why is known': (before, event, { context }) =>
    placeOf(before) !== 'working.saving' ||
    isStale(before, event) ||
    !['save.failed', 'save.crashed', 'after saveStall'].includes(nameOf(event)) ||
    (context.failures >= failuresWithoutSaving && (event['error'] === undefined || context.lastError !== null)),
  'a saved memory from which no VM becomes ready is thrown away': (before, event, after) =>
    before.context.how !== 'restore' ||
    before.context.wasReady ||
    !starting.has(placeOf(before)) ||
    event.type === 'runVm.exited' ||
    after.context.failures === before.context.failures ||
    after.context.lastError?.code === 'disk-full' ||
    begun(before, after, 'discard'),
  'a disk that is full is said to be, until there is room': (before, event, { context, value }) =>
    isStale(before, event) ||
    ((event.type !== 'vm.full' || placeOf({ value }) !== 'full' || context.lastError?.code === 'disk-full') &&
      (event.type !== 'awaitRoom.found' || placeOf(before) !== 'full' || context.lastError === null)),
  'what the guest says of its work is kept': (before, event, { context, value }) =>
    event.type !== 'ping.ok' || isStale(before, event) || placeOf({ value }) !== 'ready' || context.busy === event['busy'],
  'what policy says is known, and in force': (before, event, { context, value }) => {
    if (event.type !== 'part' || event['ref'] !== policyRef) return true
    const decider = deciderOf(event as unknown as MachineEvent)
    const at = placeOf({ value })
    if (context.forbidden !== decider) return false
    if (placeOf(before) === 'closing') return at === 'closing'
    if (decider === null) return at === (placeOf(before) === 'off' && !context.config.off ? 'stopped' : placeOf(before))
    return at === (hasVm(before.context) || placeOf(before) === 'stopping' ? 'stopping' : 'off') && !context.again
  },
  'only the word of policy’s actor is policy': (before, event, after, out) =>
    !['part', 'replied', 'refused'].includes(event.type) || event['ref'] === policyRef || isUnchanged(before, after, out),
  'told to stop, it winds down': (before, event, { context, value }) =>
    event.type !== 'stopping' ||
    placeOf(before) === 'closing' ||
    (value === 'closing' && !context.again && Object.keys(context.running).length === 0),
  'whoever is to be stopped does not begin again, and who wants it again has it': (before, event, { context }) => {
    const at = placeOf(before)
    if (at === 'stopping' && event.type === 'stop') return !context.again
    const again = at === 'stopping' ? ['start', 'restart'] : standing.has(at) ? ['restart'] : []
    return !again.includes(event.type) || context.again === (context.forbidden === null)
  },
  'who gave up is forgotten': (_before, event, { context }) => {
    if (event.type !== 'cancelled') return true
    const request = event['request'] as number
    const { waiting, running, starters, stoppers, watchers } = context
    return (
      running[request] === undefined &&
      waiting.every((one) => one.request !== request) &&
      [starters, stoppers, watchers].every((list) => !list.includes(request))
    )
  },
  'a session that is closed is gone, and the guest hears of it': (before, event, after) => {
    if (event.type !== 'detach') return true
    const { session } = event['body'] as { session: string }
    return (
      after.context.sessions[session] === undefined &&
      Object.values(after.context.jobs).every((job) => job.session !== session) &&
      (!standing.has(placeOf(before)) || begun(before, after, 'evict'))
    )
  },
  'a session that is attached is known, with what it was given': (before, event, { context, open }) => {
    const request = askedBy(event)
    if (event.type !== 'attach' || request === null || open.includes(request)) return event.type !== 'attach' || request === null
    return (
      context.revisions > before.context.revisions ||
      (event['from'] as { caps: unknown[] }).caps.length !== (event['body'] as { folders: unknown[] }).folders.length ||
      Object.keys(context.sessions).length > 0
    )
  },
  'a network that is given is given on': (before, event, after) =>
    event.type !== 'network' || (event['from'] as { caps: unknown[] }).caps.length !== 1 || begun(before, after, 'setNetwork'),
  'who asks is answered at once, worked for, or waits for something named': (_before, event, { context, open, pending }, out) => {
    const request = askedBy(event)
    if (request === null) return true
    return (
      !open.includes(request) ||
      context.running[request] !== undefined ||
      context.waiting.some((one) => one.request === request) ||
      [context.starters, context.stoppers, context.watchers].some((list) => list.includes(request)) ||
      pending.some((item) => item.what === 'effect' && item.params['request'] === request) ||
      out.some((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === request)
    )
  },
  'who waits for a command hears how it ended': (before, event, _after, out) =>
    !event.type.startsWith('exec.') ||
    before.context.running[event['request'] as number] === undefined ||
    out.some((message) => (message.type === 'reply' || message.type === 'refuse') && message.request === event['request']),
  'whom a defect keeps from an answer is told so': (before, event, _after, out) =>
    !['readClock.crashed', 'readJob.crashed', 'steerCommand.crashed'].includes(event.type) ||
    !before.open.includes(event['request'] as number) ||
    out.some(({ type, ...message }) => type === 'refuse' && 'request' in message && message.request === event['request']),
  'why there is no workspace is known': (before, event, { context }) =>
    event.type !== 'probe.missing' || placeOf(before) !== 'working.probing' || isStale(before, event) || context.lastError !== null,
  'a stop before there is a VM is over at once': (before, event, after) =>
    event.type !== 'stop' || !early.has(placeOf(before)) || (down.has(placeOf(after)) && after.context.stoppers.length === 0),
  'who runs in a VM that is given up is told': (before, _event, after) =>
    !standing.has(placeOf(before)) ||
    standing.has(placeOf(after)) ||
    (Object.keys(after.context.running).length === 0 && openJobs(after.context).every(({ state }) => state !== 'running')),
  'a VM that stands still because the disk is full takes nothing new along': (before, _event, after) =>
    !isFrozen(after.context) || isFrozen(before.context) || after.context.waiting.length === 0 || placeOf(after) === 'waking',
}
