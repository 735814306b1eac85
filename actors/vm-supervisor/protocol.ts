import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { defaultExecMs, maxCommandChars, maxExecMs } from './limits.ts'

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
 * `restoring`: starting from a saved memory. `saving`: started for the first time, its memory is being saved. `paused`: nobody uses it; the
 * next command wakes it. `off`: switched off by configuration. `absent`: something it needs is not installed. `stopped`: not needed yet, or stopped on request;
 * the next command boots it. `backoff`: failed repeatedly, waiting to try again.
 */
const vmState = z.enum([
  'off',
  'absent',
  'stopped',
  'probing',
  'image',
  'restoring',
  'booting',
  'verifying',
  'saving',
  'ready',
  'paused',
  'backoff',
  'stopping',
])

const vmStatus = z.strictObject({
  state: vmState,
  /** `kvm`, `hvf`, `whpx`, or `tcg` (emulation). */
  accelerator: z.enum(['kvm', 'hvf', 'whpx', 'tcg']).nullable(),
  /** `reduced`: emulated, or QEMU runs without its jail; `isolationReason` says which. */
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
   * `workspace-unavailable` at once when off, not installed or in backoff, and when the VM dies under it; `no-such-session` for a
   * session never attached; `overloaded` when too many wait. Cancelling it kills the command's whole process tree.
   */
  exec: {
    body: z.strictObject({
      command: z.string().min(1).max(maxCommandChars),
      /** Absolute path in the guest. Default: where the session's last command ended. */
      cwd: z.string().startsWith('/').max(4096).optional(),
      timeoutMs: z.int().positive().max(maxExecMs).default(defaultExecMs),
    }),
    part: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('vm'), state: vmState, detail: z.string(), progress: z.string().optional() }),
      z.strictObject({ type: z.enum(['stdout', 'stderr']), text: z.string() }),
    ]),
    reply: z.strictObject({
      exitCode: z.int().nullable(),
      signal: z.string().nullable(),
      timedOut: z.boolean(),
      oom: z.boolean(),
      durationMs: z.number(),
      /** Where it ended: the next command starts there. */
      cwd: z.string(),
    }),
    deadlineMs: null,
  },
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
