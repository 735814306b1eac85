/** The supervisor's memory: plain, bounded data, and the questions asked of it. Pure. */
import { type Profile, profileOf } from '../../guest/image/recipe.ts'
import { type Badge, type Delegation, fault, type Fault } from '../../kernel/index.ts'
import { firstUid, lastUid, type TerminalSize } from '../../guest/wire.ts'
import type { Hypervisor } from './driver.ts'
import type { ExecResult } from './events.ts'
import {
  backoff,
  freshMs,
  fullGraceMs,
  pauseAfterMs,
  pingEveryMs,
  idleSilentMs,
  pingSilentMs,
  retriesAtOnce,
  retryHintMs,
} from './limits.ts'
import type { VmState, VmStatus } from './protocol.ts'
import type { Accelerator } from './driver.ts'

export type Config = {
  home: string
  imageDir: string
  guestDir: string
  nodeBinary: string
  imageProfile: Profile
  memoryMiB: number | null
  off: boolean
  snapshots: boolean
  timers: Timers
}
/** From `limits.ts`; a test may ask for others. */
export type Timers = { pauseAfterMs: number; pingEveryMs: number; pingSilentMs: number; freshMs: number; fullGraceMs: number }

export type Folder = { name: string; mode: 'ro' | 'rw'; slot: Delegation['slot'] }
export type Session = {
  uid: number
  folders: readonly Folder[]
  /** Of its last attach, like no other's: what the guest says about an earlier one, of a session that went as well, does not count. */
  revision: number
  /** `stale`: it is there, with other folders than it should have. */
  inGuest: 'no' | 'stale' | 'pending' | 'yes' | 'failed'
  error: Fault | null
}
/** How an attempt begins: from a saved memory, from nothing, from nothing and to be saved. */
export type How = 'restore' | 'boot' | 'boot-and-save'
export type Order = { session: string; command: string; cwd: string | null; timeoutMs: number; env: Readonly<Record<string, string>> }
/** `handle`: the caller's name for it, when it takes input. `tty`: the size of its terminal, when it has one. */
export type Waiting = Order & { request: number; handle: string | null; tty: TerminalSize | null }
export type JobEnd = { ending: ExecResult; error: null } | { ending: null; error: Fault }
/** `told`: its session knows that it ended, or asked for that. */
export type Job = Order & { told?: boolean } & ({ state: 'waiting' | 'running'; end: null } | { state: 'ended'; end: JobEnd })

export type Context = {
  config: Config
  state: VmState
  progress: string | null
  /** Boot attempts so far; names the current one, so that news of an earlier one is ignored. */
  epoch: number
  /** Times a VM was told to stand still or to go on; names the last of them, so that what comes of an earlier one is ignored. */
  stands: number
  restarts: number
  /** Failures since the VM was last healthy. */
  failures: number
  /** Failures of boots with hardware acceleration since one of them became ready. */
  hardwareFailures: number
  how: How
  /** Names the saved memory that fits; null before that was looked for. */
  snapshotKey: string | null
  /** A memory was saved and the VM has not been healthy since: if it is not found, saving another one would not help either. */
  saved: boolean
  /** The guest said that something still runs in its sessions. */
  busy: boolean
  /** The guest was heard a moment ago: commands go to it without a question. */
  trusted: boolean
  /** Whether the current attempt got as far as ready. */
  wasReady: boolean
  delayMs: number
  hypervisor: Hypervisor | null
  imageDir: string | null
  /** The image of this version did not start; the one before it is used until the supervisor starts anew. */
  rolledBack: boolean
  accelerator: Accelerator | null
  acceleratorWhy: string | null
  memoryMiB: number
  cpus: number
  pid: number | null
  readyAt: number | null
  lastError: Fault | null
  timings: Readonly<Record<string, number>>
  sessions: Readonly<Record<string, Session>>
  /** Survives detach, so that a session that comes back has its files' owner again. */
  uids: Readonly<Record<string, number>>
  /** Revisions given out so far. */
  revisions: number
  waiting: readonly Waiting[]
  /** Session by request. */
  running: Readonly<Record<number, string>>
  /** By name. */
  jobs: Readonly<Record<string, Job>>
  nextJob: number
  starters: readonly number[]
  stoppers: readonly number[]
  watchers: readonly number[]
  /** Who decided by policy that there is no workspace; null while there may be one. */
  forbidden: string | null
  /** After `stopping`: start again. */
  again: boolean
}

export const standRef = ({ epoch, stands }: Pick<Context, 'epoch' | 'stands'>): string => `${epoch}.${stands}`

export function initialContext(params: Record<string, unknown>): Context {
  return {
    config: {
      home: String(params['home']),
      imageDir: String(params['imageDir']),
      guestDir: String(params['guestDir']),
      nodeBinary: String(params['nodeBinary']),
      imageProfile: profileOf(params['imageProfile'] as string | undefined) ?? 'standard',
      memoryMiB: typeof params['memoryMiB'] === 'number' ? params['memoryMiB'] : null,
      off: params['vm'] === 'off',
      snapshots: params['snapshots'] !== 'off',
      timers: { pauseAfterMs, pingEveryMs, pingSilentMs, freshMs, fullGraceMs, ...(params['timers'] as Partial<Timers> | undefined) },
    },
    state: 'stopped',
    progress: null,
    epoch: 0,
    stands: 0,
    restarts: 0,
    failures: 0,
    hardwareFailures: 0,
    how: 'boot',
    snapshotKey: null,
    saved: false,
    busy: false,
    trusted: false,
    wasReady: false,
    delayMs: 0,
    hypervisor: null,
    imageDir: null,
    rolledBack: false,
    accelerator: null,
    acceleratorWhy: null,
    memoryMiB: 0,
    cpus: 1,
    pid: null,
    readyAt: null,
    lastError: null,
    timings: {},
    sessions: {},
    uids: {},
    revisions: 0,
    waiting: [],
    running: {},
    jobs: {},
    nextJob: 1,
    starters: [],
    stoppers: [],
    watchers: [],
    forbidden: null,
    again: false,
  }
}

/** `now`: epoch ms, or null where no clock was read. */
export function statusOf(context: Context, now: number | null): VmStatus {
  const isolation = isolationOf(context)
  return {
    state: context.state,
    accelerator: context.accelerator,
    isolation: isolation.level,
    isolationReason: isolation.reason,
    pid: context.pid,
    uptimeMs: context.readyAt === null ? null : Math.max(0, (now ?? context.readyAt) - context.readyAt),
    restarts: context.restarts,
    lastError: context.lastError,
    start: context.readyAt === null ? null : context.how === 'restore' ? 'restored' : 'cold',
    timings: { ...context.timings },
    progress: context.progress,
    image: context.imageDir === null ? null : { name: context.imageDir.split('/').at(-1) ?? '', rolledBack: context.rolledBack },
    memoryMiB: context.pid === null ? null : context.memoryMiB,
    sessions: Object.keys(context.sessions).length,
  }
}

function isolationOf({ accelerator, acceleratorWhy, hypervisor }: Context): { level: 'full' | 'reduced' | null; reason: string | null } {
  if (accelerator === null || hypervisor === null) return { level: null, reason: null }
  const reasons: string[] = []
  if (accelerator === 'tcg') reasons.push(`emulated: ${acceleratorWhy ?? 'no hardware acceleration'}`)
  if (hypervisor.noJail !== null) reasons.push(`the hypervisor runs without a jail: ${hypervisor.noJail}`)
  else if (hypervisor.noUser !== null) reasons.push(`QEMU runs as root in its jail: ${hypervisor.noUser}`)
  return reasons.length === 0 ? { level: 'full', reason: null } : { level: 'reduced', reason: reasons.join('; ') }
}

/** Its VM is there and stands still, because the host's disk is full. */
export const isFrozen = ({ state, pid }: Pick<Context, 'state' | 'pid'>): boolean => state === 'degraded' && pid !== null
export const waitsForRoom = (context: Context): boolean => isFrozen(context) && context.lastError?.code === 'disk-full'

/** `free` and `reserve` in bytes. */
export function diskFull({ free, reserve }: { free: number; reserve: number }): Fault {
  const mebibytes = (bytes: number): string => (bytes / 1024 ** 2).toFixed(0)
  return fault('disk-full', 'The disk of this device is full.', {
    cause: `${mebibytes(free)} MiB are free where the workspace is kept, and it leaves ${mebibytes(reserve)} MiB to everything else.`,
  })
}

/** Why a command cannot run now. */
export function unavailable(context: Context): Fault {
  const { state, lastError } = context
  if (context.forbidden !== null)
    return fault('workspace-unavailable', 'Workspace unavailable: policy has switched it off.', {
      rule: `policy secureVmFeaturesEnabled (${context.forbidden})`,
      remedy:
        'File and web tools still work. Ask whoever manages this device; `bulkhead policy explain secureVmFeaturesEnabled` says more.',
    })
  const because = lastError ? `${lastError.message}${lastError.cause ? ` (${lastError.cause})` : ''}` : undefined
  if (state === 'off')
    return fault('workspace-unavailable', 'Workspace unavailable: it is switched off.', {
      cause: 'BULKHEAD_VM=off',
      remedy: 'File and web tools still work. Start the daemon without BULKHEAD_VM=off to use the workspace.',
    })
  if (state === 'absent')
    return fault('workspace-unavailable', 'Workspace unavailable: it is not installed.', {
      ...(because ? { cause: because } : {}),
      ...(lastError ? { remedy: lastError.remedy } : {}),
    })
  if (state === 'degraded' && lastError?.code === 'disk-full')
    return fault('workspace-unavailable', 'Workspace unavailable: the disk of this device is full.', {
      ...(lastError.cause ? { cause: lastError.cause } : {}),
      remedy: 'File and web tools still work. Free some space on this device; the workspace then goes on by itself.',
      retryAfterMs: isFrozen(context) ? retryHintMs : context.delayMs,
    })
  if (state === 'degraded')
    return fault('workspace-unavailable', 'Workspace unavailable: the VM failed and will be tried again.', {
      ...(because ? { cause: because } : {}),
      retryAfterMs: context.delayMs,
    })
  return fault('workspace-unavailable', `Workspace unavailable: the VM is ${state}.`, {
    ...(because ? { cause: because } : {}),
    retryAfterMs: retryHintMs,
  })
}

/** How long the guest may be silent before it counts as dead, ms: less when nothing is lost with it but time. */
export function silenceOf({ config, running, waiting, jobs }: Context): number {
  const states = Object.values(jobs).map(({ state }) => state)
  const awaited = waiting.length > 0 || states.includes('waiting')
  const idle = Object.keys(running).length === 0 && !states.includes('running')
  return awaited && idle ? Math.min(idleSilentMs, config.timers.pingSilentMs) : config.timers.pingSilentMs
}

/** How a VM that ended by itself is reported to the commands it took along. */
export function deathFault(exit: { code: number | null; signal: string | null; detail: string }, wasReady: boolean): Fault {
  const how = exit.signal ? `QEMU was ended by ${exit.signal}` : `QEMU ended with code ${exit.code}`
  return fault(
    'workspace-unavailable',
    wasReady ? 'Workspace unavailable: the VM stopped unexpectedly.' : 'Workspace unavailable: the VM did not start.',
    {
      cause: exit.detail === '' ? how : `${how}: ${exit.detail}`,
      remedy: 'It is being started again; repeat the command.',
      retryAfterMs: retryHintMs,
    },
  )
}

/** `fraction` in [0, 1): half of the delay is fixed, half is drawn, so that several daemons do not try in step. */
export function backoffDelay(failures: number, fraction: number): number {
  const full = Math.min(backoff.lastMs, backoff.firstMs * 2 ** Math.max(0, Math.min(failures - 1 - retriesAtOnce, 20)))
  return Math.round(full / 2 + (full / 2) * fraction)
}

/** Whose a message is: the badge's session, or the one named by a caller whose badge names none. */
export function sessionOf({ from, body }: { from: { badge: Badge }; body: { session?: string | undefined } | object }): string | null {
  return from.badge.session ?? ('session' in body && typeof body.session === 'string' ? body.session : null)
}

export const orderOf = ({ session, command, cwd, timeoutMs, env }: Order): Order => ({ session, command, cwd, timeoutMs, env })

/** What runs in each session: in the background, and in front. */
export function countsOf({ running, jobs }: Pick<Context, 'running' | 'jobs'>): Record<string, { jobs: number; commands: number }> {
  const counts: Record<string, { jobs: number; commands: number }> = {}
  const of = (session: string) => (counts[session] ??= { jobs: 0, commands: 0 })
  for (const session of Object.values(running)) of(session).commands++
  for (const job of Object.values(jobs)) if (job.state === 'running') of(job.session).jobs++
  return counts
}

/** Background commands that are under way or wait for it; of one session, if one is named. */
export function openJobs({ jobs }: Context, session?: string): Job[] {
  return Object.values(jobs).filter((job) => job.state !== 'ended' && (session === undefined || job.session === session))
}

/** The session's user id: the one it had, or the next free one; null when none is left. */
export function uidFor(context: Context, session: string): number | null {
  const known = context.uids[session]
  if (known !== undefined) return known
  const uid = firstUid + Object.keys(context.uids).length
  return uid > lastUid ? null : uid
}

/** Added to what it had; a folder of the same name is replaced. */
export function withFolders(session: Session | undefined, uid: number, revision: number, added: readonly Folder[]): Session {
  const names = new Set(added.map((folder) => folder.name))
  const inGuest = session === undefined || session.inGuest === 'no' || session.inGuest === 'failed' ? 'no' : 'stale'
  const kept = (session?.folders ?? []).filter((folder) => !names.has(folder.name))
  return { uid, folders: [...kept, ...added], revision, inGuest, error: null }
}

export function without<T>(record: Readonly<Record<string | number, T>>, key: string | number): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== String(key)))
}
