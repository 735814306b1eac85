import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { parseVariables } from '../../guest/wire.ts'
import { maxCommandChars, maxExecMs, maxInputBytes, maxWaitMs } from './limits.ts'

const sessionName = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/i)
const folder = z.strictObject({ name: z.string().min(1).max(255), mode: z.enum(['ro', 'rw']) })
const fault = z.strictObject({
  code: z.string(),
  message: z.string(),
  cause: z.string().optional(),
  remedy: z.string(),
  rule: z.string().optional(),
  retryAfterMs: z.number().optional(),
})

/**
 * `off`: switched off by configuration or policy. `absent`: something it needs is not installed. `stopped`: not needed yet, or stopped on
 * request; the next command boots it. `probing`: looking at what this machine can run. `restoring`, `booting`: it starts from a saved memory,
 * or from nothing. `handshake`: its agent has opened its port, and has not answered yet. `saving`: started for the first time, its memory is
 * being saved. `paused`: nobody uses it; the next command wakes it. `recovering`: it failed, and is started again at once. `degraded`: it
 * failed repeatedly and waits to try again, or, with a `pid`, stands still because the host's disk is full; `lastError` says which.
 */
export const vmState = z.enum([
  'off',
  'absent',
  'stopped',
  'probing',
  'image',
  'restoring',
  'booting',
  'handshake',
  'verifying',
  'saving',
  'ready',
  'paused',
  'recovering',
  'degraded',
  'stopping',
])

const vmStatus = z.strictObject({
  state: vmState,
  /** `kvm`, `hvf`, `whpx`, `vz` (Virtualization framework), `hyperv`, or `tcg` (emulation). */
  accelerator: z.enum(['kvm', 'hvf', 'whpx', 'vz', 'hyperv', 'tcg']).nullable(),
  /** `reduced`: emulated, or the hypervisor runs without a jail; `isolationReason` says which. */
  isolation: z.enum(['full', 'reduced']).nullable(),
  isolationReason: z.string().nullable(),
  /** QEMU's process. */
  pid: z.number().nullable(),
  uptimeMs: z.number().nullable(),
  /** Times a VM that had been ready had to be started again. */
  restarts: z.number(),
  lastError: fault.nullable(),
  /** How the last start began: from a saved memory, or from nothing. */
  start: z.enum(['restored', 'cold']).nullable(),
  /**
   * Of the last start, ms by step: probe, image, accelerator, snapshot (looking for one), boot or restore, guest (of a cold one: kernel to
   * agent, as the guest says), verify, total.
   */
  timings: z.record(z.string(), z.number()),
  /** What the current step is doing. */
  progress: z.string().nullable(),
  /** `rolledBack`: the newest image did not start, so the one before it is used. */
  image: z.strictObject({ name: z.string(), rolledBack: z.boolean() }).nullable(),
  /** Memory of the VM, MiB. */
  memoryMiB: z.number().nullable(),
  /** Attached sessions. */
  sessions: z.number(),
})

export type VmState = z.infer<typeof vmState>
export type VmStatus = z.infer<typeof vmStatus>

const command = z.string().min(1).max(maxCommandChars)
/** Absolute path in the guest. Default: where the session's last command ended. */
const cwd = z.string().startsWith('/').max(4096).optional()
/** ms. Default: ten minutes in the foreground, a day in the background. */
const timeLimit = z.int().positive().max(maxExecMs).optional()
/** Variables it gets besides the session's own, by explicit set: none carries over from one command to the next. */
const env = z
  .record(z.string(), z.string())
  .refine((value) => parseVariables(value) !== null, 'names as shells have them, at most 32 KiB; none that would run before the command')
  .optional()
/** The caller's name for a command that `input`, `resize` and `signal` are about. Those of jobs begin with `job-` and are given out here. */
const handle = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/)
const ownHandle = handle.refine((name) => !name.startsWith('job-'), 'names beginning with job- are given out by the workspace')
const job = z.string().regex(/^job-[0-9]{1,9}$/)
const cells = z.int().min(1).max(0xffff)
const signalName = z.enum(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGKILL', 'SIGUSR1', 'SIGUSR2', 'SIGSTOP', 'SIGCONT'])

const vmPart = z.strictObject({ type: z.literal('vm'), state: vmState, detail: z.string(), progress: z.string().optional() })
const startedPart = z.strictObject({ type: z.literal('started') })

/** How a command ended: by itself (`exitCode`), by a signal, by its time limit, or for want of memory. */
const ending = z.strictObject({
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
  timedOut: z.boolean(),
  oom: z.boolean(),
  durationMs: z.number(),
  /** Where it ended: the next command starts there. */
  cwd: z.string(),
  /** All of a long output, as the session's next commands see it; null when it was short. */
  outputFile: z.string().nullable(),
})

const jobView = z.strictObject({
  job,
  command: z.string(),
  /** `waiting`: for the workspace, or for its turn. */
  state: z.enum(['waiting', 'running', 'ended']),
  ending: ending.nullable(),
  /** Why it ended otherwise: it never ran, or the workspace was lost under it. */
  error: fault.nullable(),
})
export type JobView = z.infer<typeof jobView>

export const protocol = {
  /**
   * Makes a session known, or adds folders to it (a folder of the same name is replaced). One capability a folder travels with it, in the
   * same order. Legal in every state; the guest hears of it as soon as there is one. Refused `malformed` when capabilities and folders differ.
   */
  attach: { body: z.strictObject({ session: sessionName, folders: z.array(folder).max(64) }), reply: z.strictObject({}) },
  /**
   * Gives the session's programs a network: one capability of egress travels with it and takes the place of the one before. Without one
   * every connection is refused. Legal in every state. Refused `malformed` without exactly one capability.
   */
  network: { body: z.strictObject({ session: sessionName }), reply: z.strictObject({}) },
  /** Ends everything of the session in the guest. Legal in every state, also for an unknown session. */
  detach: { body: z.strictObject({ session: sessionName }), reply: z.strictObject({}) },
  /**
   * Runs a command as the session named by the badge. Boots the VM if need be, and waits while that makes progress. Refused
   * `workspace-unavailable` at once when off, not installed or degraded, and when the VM dies under it; `no-such-session` for a
   * session never attached; `overloaded` when too many wait. Cancelling it kills the command's whole process tree.
   */
  exec: {
    body: z.strictObject({
      command,
      cwd,
      timeoutMs: timeLimit,
      env,
      /** It reads what `input` sends under this name, from its part `started` on. Without, it has no input. */
      handle: ownHandle.optional(),
    }),
    part: z.discriminatedUnion('type', [vmPart, startedPart, z.strictObject({ type: z.enum(['stdout', 'stderr']), text: z.string() })]),
    reply: ending,
    deadlineMs: null,
  },
  /**
   * Like `exec`, but on a terminal and with no time limit, by default the session's shell. Goes on until it ends or is cancelled. `session`
   * says whose, for a caller whose badge names none. Refused as `exec` is.
   */
  shell: {
    body: z.strictObject({
      session: sessionName.optional(),
      handle: ownHandle,
      cols: cells,
      rows: cells,
      command: command.optional(),
      env,
    }),
    part: z.discriminatedUnion('type', [
      vmPart,
      startedPart,
      z.strictObject({ type: z.literal('output'), bytes: z.instanceof(Uint8Array) }),
    ]),
    reply: ending,
    deadlineMs: null,
  },
  /**
   * Runs a command in the background, as the session named by the badge: the reply is its name, at once. It ends with its session, with the
   * VM, or at its time limit. Refused as `exec` is, and `overloaded` when too many of the session's are there already.
   */
  job: {
    body: z.strictObject({ command, cwd, timeoutMs: timeLimit, env }),
    reply: z.strictObject({ job }),
  },
  /** Background commands of the badge's session, those that ended lately as well. Legal in every state. */
  jobs: { body: z.strictObject({}), reply: z.strictObject({ jobs: z.array(jobView) }) },
  /** Those of the badge's session that ended, each told once; not those whose end was read or asked for. Legal in every state. */
  'job-news': { body: z.strictObject({}), reply: z.strictObject({ jobs: z.array(jobView) }) },
  /**
   * What a job wrote since it was last asked for; `waitMs`: but not before it ends or that time is over. `missed`: bytes left out before
   * that, because too many came meanwhile; `outputFile` has them. Refused `not-found`. Legal in every state.
   */
  'job-output': {
    body: z.strictObject({ job, waitMs: z.int().min(0).max(maxWaitMs).optional() }),
    reply: jobView.extend({ output: z.string(), missed: z.number(), outputFile: z.string().nullable() }),
    deadlineMs: null,
  },
  /** Ends a job, or takes it off the list of those that wait; replies when it is over. Refused `not-found`. Legal in every state. */
  'job-stop': { body: z.strictObject({ job }), reply: z.strictObject({}), deadlineMs: null },
  /** Input of a command of the badge's session; replies when it was taken. Refused `not-found`. Legal in every state, as are the next two. */
  input: {
    body: z.strictObject({
      session: sessionName.optional(),
      handle,
      bytes: z.instanceof(Uint8Array).refine((bytes) => bytes.length <= maxInputBytes),
      end: z.boolean().optional(),
    }),
    reply: z.strictObject({}),
    deadlineMs: null,
  },
  resize: { body: z.strictObject({ session: sessionName.optional(), handle, cols: cells, rows: cells }), reply: z.strictObject({}) },
  /** To all of the command. SIGKILL, or any signal to one that has not begun, ends it for certain. */
  signal: { body: z.strictObject({ session: sessionName.optional(), handle, signal: signalName }), reply: z.strictObject({}) },
  /** Legal in every state. */
  status: { body: z.strictObject({}), reply: vmStatus },
  /** Replies when ready. Refused `workspace-unavailable` when off, or when this attempt fails. */
  start: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
  /** Replies when stopped. Commands under way are refused. The next command boots it again. */
  stop: { body: z.strictObject({}), reply: z.strictObject({}) },
  /** Stop and start; replies when ready. */
  restart: { body: z.strictObject({}), reply: z.strictObject({}), deadlineMs: null },
  /** Streams the status, now and at every change, until cancelled. */
  watch: {
    body: z.strictObject({}),
    part: z.strictObject({ type: z.literal('status'), status: vmStatus }),
    reply: z.strictObject({}),
    deadlineMs: null,
  },
} satisfies Protocol
