/** What the machine's commands do. Decisions are the machine's; the one running VM is held here. */
import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism, freemem } from 'node:os'
import * as Effect from 'effect/Effect'
import { asFault, type Effects, type Fault, fault, isFault } from '../../kernel/index.ts'
import type { Driver, Hypervisor, LaunchSpec } from './driver.ts'
import { driversOf } from './drivers.ts'
import { buildImage, markGood, previousGood } from './image.ts'
import { type ImageProgress, progressText } from './image-progress.ts'
import { joinedInitrd } from './initrd.ts'
import { admitMostMs, admitMs, maxCpus, policyRetryMs } from './limits.ts'
import { LiveVm } from './live-vm.ts'
import { chosenMemory } from './memory-size.ts'
import type { Accelerator } from './driver.ts'
import { beginSnapshot, discardSnapshot, findSnapshot, prepareScratch, removeScratch, scratchOf } from './snapshots.ts'
import { type Outcome, readJob, runCommand, runJob, settleJobs, type Steering, steer } from './running-commands.ts'
import { hasRoomFor, isLow, roomAgainOn, roomOn, takeBallast } from './room.ts'
import { whileHeard } from './while-heard.ts'
import { type Config, diskFull, type Folder, type How, type Order, type Waiting } from './state.ts'

/** This process serves one supervisor, which has at most one VM. */
let live: LiveVm | null = null
/** Egress as each session may use it. */
const networks = new Map<string, number>()
/** What programs of a session trust besides; PEM. */
const certificates = new Map<string, string>()
let found: { driver: Driver; hypervisor: Hypervisor } | null = null
/** A VM became ready from what was found, and that has not been used for another start yet: it need not be looked for. */
let proven = false

/** An effect from a promise; what it throws becomes the outcome `otherwise` with the fault. */
function attempt(work: (signal: AbortSignal) => Promise<Outcome>, otherwise: string): Effect.Effect<Outcome> {
  return Effect.promise((signal) => work(signal).catch((error: unknown): Outcome => ({ type: otherwise, error: hostFault(error) })))
}

/** What the operating system, or Node's permission model, refused; with the path it was about. */
function hostFault(error: unknown): Fault {
  if (isFault(error) || !(error instanceof Error)) return asFault(error)
  const { resource, code } = error as { resource?: unknown; code?: unknown }
  if (code === 'ENOSPC') return fault('disk-full', 'The disk of this device is full.', { cause: error.message })
  return fault('io-failed', 'The workspace could not be prepared.', {
    cause: typeof resource === 'string' ? `${error.message} (${resource})` : error.message,
  })
}

function gone(): Fault {
  return fault('workspace-unavailable', 'Workspace unavailable: the VM stopped unexpectedly.', {
    remedy: 'It is being started again; repeat the command.',
    retryAfterMs: 5_000,
  })
}

const since = (start: number): number => Math.round(performance.now() - start)

type Machine = { ref: string; config: Config; imageDir: string; accelerator: Accelerator; memoryMiB: number; cpus: number }

/** The first of the platform's that is there; else why its first choice is not. */
async function lookForDriver(home: string, onReaped: () => void): Promise<NonNullable<typeof found> | { error: Fault }> {
  let error: Fault | null = null
  for (const { make } of driversOf(process.platform)) {
    const driver = make(home)
    if ((await driver.reap()) > 0) onReaped()
    const look = await driver.find()
    if (!look.ok) {
      error ??= look.error
      continue
    }
    await removeScratch(home).catch(() => {})
    return { driver, hypervisor: look.hypervisor }
  }
  return { error: error ?? fault('workspace-unavailable', 'Workspace unavailable: no hypervisor is known on this platform.') }
}

/** The same as last time, without looking whether it is still there: starting it will tell. */
async function lookAgain(last: NonNullable<typeof found>, onReaped: () => void): Promise<NonNullable<typeof found>> {
  if ((await last.driver.reap()) > 0) onReaped()
  return last
}

async function specOf({
  config,
  imageDir,
  accelerator,
  memoryMiB: memory,
  cpus,
}: Machine): Promise<Omit<LaunchSpec, 'begin' | 'scratchDir' | 'on'>> {
  if (!found) throw new Error('no hypervisor was found')
  const initrd = await joinedInitrd(config.home, imageDir, config.guestDir)
  return { hypervisor: found.hypervisor, accelerator, cpus, memoryMiB: memory, imageDir, initrd }
}

export const effects = {
  /** Waits before policy is asked again. */
  rest: { outcomes: ['done'], run: () => Effect.as(Effect.sleep(policyRetryMs), { type: 'done' }) },
  probe: {
    outcomes: ['found', 'missing', 'failed'],
    run: ({ config }: { config: Config }, context) =>
      attempt(async () => {
        const start = performance.now()
        await mkdir(config.home, { recursive: true, mode: 0o700 })
        const room = await roomOn(config.home)
        // It would have to stop as soon as it runs.
        if (isLow(room)) return { type: 'failed', error: diskFull(room) }
        await takeBallast(config.home).catch(() => {})
        const left = (): void => context.log('warn', 'ended a VM that was left from an earlier start')
        const look = proven && found ? await lookAgain(found, left) : await lookForDriver(config.home, left)
        proven = false
        if ('error' in look) return { type: 'missing', error: look.error }
        found = look
        const cpus = Math.min(maxCpus, availableParallelism())
        return { type: 'found', hypervisor: look.hypervisor, memoryMiB: chosenMemory(config.memoryMiB, freemem()), cpus, ms: since(start) }
      }, 'missing'),
  },

  image: {
    outcomes: ['ready', 'failed'],
    run: ({ ref, config, rollback }: { ref: string; config: Config; rollback: boolean }, context) =>
      attempt(async (signal) => {
        const start = performance.now()
        const { imageDir, nodeBinary, guestDir, imageProfile: profile } = config
        const previous = rollback ? await previousGood({ imageDir, nodeBinary, profile }) : null
        if (previous !== null) {
          context.log('warn', 'the image does not start; the one before it is used', { image: previous.manifest.recipe })
          return { type: 'ready', dir: previous.dir, built: false, rolledBack: true, ms: since(start) }
        }
        let built = false
        let shown = ''
        const onProgress = (progress: ImageProgress): void => {
          built = true
          const text = progressText(progress)
          if (text !== shown) context.raise({ type: 'image.progress', epoch: ref, text })
          shown = text
        }
        const image = await buildImage({ imageDir, nodeBinary, guestDir, profile, onProgress, signal })
        return { type: 'ready', dir: image.dir, built, rolledBack: false, ms: since(start) }
      }, 'failed'),
  },

  accelerate: {
    outcomes: ['chosen'],
    run: ({ imageDir, avoidHardware }: { imageDir: string; avoidHardware: boolean }) =>
      Effect.promise(async (signal) => {
        const start = performance.now()
        if (!found) return { type: 'chosen', accelerator: 'tcg', why: 'no hypervisor was found', cached: false, ms: 0 }
        const verdict = await found.driver.accelerate({ hypervisor: found.hypervisor, imageDir, avoidHardware, signal })
        return { type: 'chosen', ...verdict, ms: since(start) }
      }),
  },

  lookForSnapshot: {
    outcomes: ['found', 'none'],
    run: (params: Machine) =>
      Effect.promise(async () => {
        const start = performance.now()
        if (!found) throw new Error('no hypervisor was found')
        const key = found.driver.snapshotKey(await specOf(params))
        const there = key !== null && params.config.snapshots && (await findSnapshot(params.imageDir, key)) !== null
        if (there) return { type: 'found', key, ms: since(start) }
        return { type: 'none', key, room: await roomToSave(params.imageDir, params.memoryMiB), ms: since(start) }
      }),
  },

  /** Ends only when the VM has ended. */
  runVm: {
    outcomes: ['exited'],
    run: (params: Machine & { how: How; key: string | null }, context) =>
      Effect.promise(async (signal) => {
        const { ref } = params
        let scratchDir: string | null = null
        try {
          if (!found) throw new Error('no hypervisor was found')
          const begin = await beginning(params)
          scratchDir = params.how === 'boot-and-save' ? await beginSnapshot(params.imageDir) : scratchOf(params.config.home, ref)
          if (params.how !== 'boot-and-save') await prepareScratch(scratchDir)
          const spec = { ...(await specOf(params)), begin, scratchDir, home: params.config.home }
          const hold = (vm: LiveVm | null): void => {
            // A successor may be there already when one that was killed is finally gone.
            if (vm !== null || live?.epoch === ref) live = vm
          }
          const networkOf = (session: string) => networks.get(session) ?? null
          const ended = await LiveVm.run(found.driver, spec, ref, context, signal, hold, networkOf)
          return { type: 'exited', ...ended }
        } catch (error) {
          return { type: 'exited', code: null, signal: null, detail: hostFault(error).cause ?? asFault(error).message }
        } finally {
          // Not waited for: that it ended is news the machine needs at once.
          if (scratchDir !== null) rm(scratchDir, { recursive: true, force: true }).catch(() => {})
        }
      }),
  },

  verify: {
    outcomes: ['ok', 'failed'],
    run: () =>
      attempt(async () => {
        const start = performance.now()
        if (!live) throw gone()
        await live.prove()
        proven = true
        await markGood(live.imageDir)
        return { type: 'ok', ms: since(start), at: Date.now() }
      }, 'failed'),
  },

  save: {
    outcomes: ['saved', 'failed'],
    run: ({ imageDir, key }: { imageDir: string; key: string }, context) =>
      attempt(async () => {
        const start = performance.now()
        try {
          if (!live) throw gone()
          if (!(await roomToSave(imageDir, live.memoryMiB)))
            throw fault('disk-full', 'There is no room on the disk of this device to save the memory of the workspace.')
          await live.save(imageDir, key)
        } catch (error) {
          context.log('warn', 'a memory could not be saved; starts from nothing take longer', { why: hostFault(error) })
          throw error
        }
        return { type: 'saved', ms: since(start) }
      }, 'failed'),
  },

  discard: {
    outcomes: ['done'],
    run: ({ imageDir, key }: { imageDir: string; key: string }, context) =>
      Effect.promise(async () => {
        context.log('warn', 'a saved memory did not work and is discarded', { key })
        await discardSnapshot(imageDir, key).catch(() => {})
        return { type: 'done' }
      }),
  },

  pause: {
    outcomes: ['done', 'failed'],
    run: () =>
      attempt(async () => {
        await live?.pause()
        return { type: 'done' }
      }, 'failed'),
  },

  resume: {
    outcomes: ['done', 'failed'],
    run: () =>
      attempt(async () => {
        if (!live) throw gone()
        await live.resume()
        return { type: 'done' }
      }, 'failed'),
  },

  /** Looks now and then, until there is room or the VM is gone. */
  awaitRoom: {
    outcomes: ['found', 'gone'],
    run: ({ ref, config }: { ref: string; config: Config }) =>
      Effect.promise(async (signal) => {
        if (!(await roomAgainOn(config.home, () => live?.epoch === ref, signal))) return { type: 'gone' }
        await takeBallast(config.home).catch(() => {})
        return { type: 'found' }
      }),
  },

  ping: {
    outcomes: ['ok', 'silent'],
    run: ({ silentMs }: { silentMs: number }) => Effect.promise(() => pingOutcome(silentMs)),
  },

  halt: {
    outcomes: ['done'],
    run: () =>
      Effect.promise(async () => {
        await live?.halt()
        return { type: 'done' }
      }),
  },

  drawJitter: { outcomes: ['drawn'], run: () => Effect.sync(() => ({ type: 'drawn', fraction: Math.random() })) },

  readClock: { outcomes: ['read'], run: () => Effect.sync(() => ({ type: 'read', at: Date.now() })) },

  admit: {
    outcomes: ['ready', 'failed'],
    run: ({ session, revision, uid, folders }: { session: string; revision: number; uid: number; folders: readonly Folder[] }) =>
      Effect.promise(async () => {
        try {
          if (!live) throw gone()
          const { control } = live
          const patience = { received: () => control.received, silentMs: admitMs, mostMs: admitMostMs }
          await whileHeard(live.admit(session, uid, folders), patience).catch(unprepared)
          const pem = certificates.get(session)
          if (pem !== undefined) live.control.trust(session, pem)
          return { type: 'ready', session, revision }
        } catch (error) {
          return { type: 'failed', session, revision, error: asFault(error) }
        }
      }),
  },

  /** From now on the session's connections go by this capability of egress. */
  setNetwork: {
    outcomes: ['done'],
    run: ({ session, slot }: { session: string; slot: number }, context) =>
      Effect.gen(function* () {
        networks.set(session, slot)
        // Egress reads some of what programs send: they have to know its certificate, which is another one after egress started anew.
        const asked = context.request(slot, 'authority', {})
        const pem = yield* Effect.match(asked, { onSuccess: ({ body }) => (body as { pem: string }).pem, onFailure: () => null })
        if (pem === null) context.log('warn', `session ${session} has no certificate of egress: requests that have to be read are refused`)
        else if (networks.get(session) === slot) {
          certificates.set(session, pem)
          live?.control.trust(session, pem)
        }
        return { type: 'done' }
      }),
  },

  evict: {
    outcomes: ['done'],
    run: ({ session }: { session: string }) =>
      Effect.sync(() => {
        networks.delete(session)
        certificates.delete(session)
        live?.evict(session)
        return { type: 'done' }
      }),
  },

  exec: {
    outcomes: ['exited', 'failed', 'lost'],
    outside: true,
    run: (order: Waiting, context) =>
      Effect.promise(async (signal) => (live ? runCommand(live, order, context, signal) : { type: 'lost', error: gone() })),
  },

  /** A background command: goes on until it ends, whoever asked for it. */
  job: {
    outcomes: ['exited', 'failed', 'lost'],
    outside: true,
    run: ({ ref, ...order }: Order & { ref: string }, context) =>
      Effect.promise(async () => (live ? runJob(live, ref, order, context.trace) : { type: 'lost', error: gone() })),
  },

  readJob: {
    outcomes: ['read'],
    run: ({ job, waitMs }: { request: number; job: string; waitMs: number }) => Effect.promise((signal) => readJob(job, waitMs, signal)),
  },

  settleJobs: {
    outcomes: ['done'],
    run: ({ over, forgotten }: { over: readonly string[]; forgotten: readonly string[] }) =>
      Effect.sync(() => {
        settleJobs(over, forgotten)
        return { type: 'done' }
      }),
  },

  /** Something for a command under way, by its name. */
  steerCommand: {
    outcomes: ['done', 'failed'],
    outside: true,
    run: ({ session, handle, steering }: { request: number; session: string; handle: string; steering: Steering }) =>
      Effect.promise(() => steer(session, handle, steering)),
  },
} satisfies Effects

/** `error`: of the guest's, which says why, or that it was given up. */
function unprepared(error: unknown): never {
  if (isFault(error)) throw error
  throw fault('exec-failed', 'The session could not be prepared in the workspace.', { cause: asFault(error).cause ?? '' })
}

/** Of a saved memory all could be used; most of it is not. */
const roomToSave = async (imageDir: string, memory: number): Promise<boolean> => hasRoomFor(memory * 1024 * 1024, await roomOn(imageDir))

async function beginning({ how, key, imageDir }: { how: How; key: string | null; imageDir: string }): Promise<LaunchSpec['begin']> {
  if (how !== 'restore') return { how }
  const snapshot = key === null ? null : await findSnapshot(imageDir, key)
  if (snapshot === null) throw new Error('the saved memory is gone')
  return { how, snapshot }
}

/** Waits for the answer as long as the guest sends anything at all. */
async function pingOutcome(silentMs: number): Promise<Outcome> {
  const vm = live
  if (!vm) return { type: 'ok', busy: false }
  const answer = vm.control.ping(Date.now()).then(
    (busy): Outcome => ({ type: 'ok', busy }),
    // The VM's end is reported by the effect that ran it.
    (): Outcome => ({ type: 'ok', busy: false }),
  )
  return whileHeard(answer, { received: () => vm.control.received, silentMs }).catch((): Outcome => ({ type: 'silent' }))
}
