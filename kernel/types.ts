/**
 * The words every part of Bulkhead shares: capability limits, badges, requests, and what an actor is made of.
 *
 *   actor folder                    kernel
 *   protocol  (zod schemas)  ---->  router validates every body with it
 *   manifest  (grants)       ---->  fills the actor's capability table, sets its OS permissions
 *   machine   (pure)         <----  messages, replies, effect outcomes, timers, one at a time
 *             emits data     ---->  send / reply / part / named effects
 *   effects   (I/O)          ---->  each ends in exactly one declared outcome, which goes back to the machine
 */
import type { Socket } from 'node:net'
import type * as Effect from 'effect/Effect'
import type { AnyStateMachine } from 'xstate'
import type { z } from 'zod'

/** A failure as every part of the product reports it. `code` is listed in `kernel/errors.ts`. */
export type Fault = {
  code: string
  message: string
  /** What led to it, in words a member can read. */
  cause?: string
  /** What to do about it. */
  remedy: string
  /** Which rule refused, when a rule did. */
  rule?: string
  retryAfterMs?: number
}

/** Budgets of a capability. Counted at it and at each it was derived from, so that parts of an account never add up to more than it. */
export type Quota = {
  /** Of message bodies, parts and replies, in the wire's encoding. Counted by the kernel. */
  bytes?: number
  /** Wall time of requests, from sending to answer. Counted by the kernel, which ends the request that uses it up. */
  ms?: number
  /** Model tokens, as the receiver says (`charge`). */
  tokens?: number
  /** At a time; the receiver says how many it started (`charge`), and they come back when its request ends. */
  processes?: number
}

/**
 * Attenuation: what a capability still allows. A missing field does not restrict; an empty list allows nothing.
 * `kinds`, `expiresAt`, `uses`, `session`, `rate` and `quota` are enforced by the kernel; `path`, `mode`, `hosts` and `tools` reach
 * the gate in the badge, and the gate enforces them.
 */
export type Limits = {
  kinds?: readonly string[]
  session?: string
  /** Epoch milliseconds. */
  expiresAt?: number
  /** How many more messages may travel on it. */
  uses?: number
  /** Relative path, or folder prefix, inside the connected folder ('' = all of it). */
  path?: string
  mode?: 'ro' | 'rw'
  hosts?: readonly string[]
  tools?: readonly string[]
  /** At most `messages` in any `perMs`, after a burst of as many. */
  rate?: { readonly messages: number; readonly perMs: number }
  quota?: Quota
}

/** Stamped on each delivery by the kernel, from the capability it travelled on. A receiver believes this and no claim in a body. */
export type Badge = {
  /** Sending actor's id: `conversation:s-1`. */
  from: string
  session: string | null
  limits: Limits
}

/** Who a message came from. `request` is null for a message that expects no reply. */
export type From = {
  request: number | null
  badge: Badge
  /** Capabilities that travelled with it, as slots in the receiver's own table. */
  caps: readonly number[]
}

/** One message kind: body, final reply, and the parts that may stream before the reply. Schemas judge; what they would make of a value nobody gets (unaltered.ts). */
export type KindSchema = {
  body: z.ZodType
  reply?: z.ZodType
  part?: z.ZodType
  /** Default deadline in ms for requests of this kind. Absent: 30 000. `null`: no deadline (it must be cancellable). */
  deadlineMs?: number | null
}
export type Protocol = Readonly<Record<string, KindSchema>>

export type BodyOf<P extends Protocol, K extends keyof P> = z.infer<P[K]['body']>
export type ReplyOf<P extends Protocol, K extends keyof P> = P[K]['reply'] extends z.ZodType ? z.infer<P[K]['reply']> : undefined
export type PartOf<P extends Protocol, K extends keyof P> = P[K]['part'] extends z.ZodType ? z.infer<P[K]['part']> : undefined

/** Events a machine receives for the kinds of its own protocol. */
export type Inbound<P extends Protocol> = {
  [K in keyof P & string]: { type: K; body: BodyOf<P, K>; from: From }
}[keyof P & string]

/** Events the runtime sends to every machine, besides its protocol and its effects' outcomes (`<effect>.<outcome>`). */
export type KernelEvent =
  /** The reply to a request the machine sent with this `ref`. */
  | { type: 'replied'; ref: string; kind: string; body: unknown; caps: readonly number[] }
  /** The request with this `ref` was refused, by the kernel or by its receiver. */
  | { type: 'refused'; ref: string; kind: string; error: Fault }
  /** A streamed part of the reply to `ref`. */
  | { type: 'part'; ref: string; kind: string; body: unknown }
  /** The requester gave up: effects that carry this `request` were interrupted; nothing need be replied. */
  | { type: 'cancelled'; request: number }
  /** Asked to stop; effects get a few seconds. */
  | { type: 'stopping' }

/** A capability handed over in a message; `limits` narrow it on the way. */
export type Delegation = { slot: number | string; limits?: Limits; reason?: string }

/** What a machine may emit (`emit(...)` in xstate). Everything else that leaves it is a named effect. */
export type Outgoing =
  | {
      type: 'send'
      to: number | string
      kind: string
      body: unknown
      /** Present: a request; exactly one `replied` or `refused` with this ref follows. */
      ref?: string
      deadlineMs?: number | null
      caps?: readonly Delegation[]
    }
  /** Gives up a request sent with this `ref`: nothing more is heard of it once the target is told; a `refused cancelled` follows. */
  | { type: 'cancel'; ref: string }
  /** Interrupts running effects whose params carry this `ref`; no outcome follows. */
  | { type: 'interrupt'; ref: string }
  | { type: 'reply'; request: number; body: unknown; caps?: readonly Delegation[] }
  | { type: 'refuse'; request: number; error: Fault }
  | { type: 'partTo'; request: number; body: unknown }
  /** What answering `request` cost, taken from the budget it came on. `processes` may be given back with a negative amount. */
  | { type: 'charge'; request: number; quota: 'tokens' | 'processes'; amount: number }

/** What effects may use besides their own I/O. All traffic to other actors goes through the router here as well. */
export type EffectContext = {
  /** Params the instance was spawned with. */
  readonly params: unknown
  /** The trace this effect works for, as a `traceparent`; what it sends is part of it. Null: none. */
  readonly trace: string | null
  /** Sends a request and waits for its reply. Fails with the refusal. Interruption cancels it. */
  request(
    to: number | string,
    kind: string,
    body: unknown,
    options?: RequestOptions,
  ): Effect.Effect<{ body: unknown; caps: readonly number[] }, Fault>
  /** Sends a message that expects no reply. */
  send(to: number | string, kind: string, body: unknown): void
  /** Streams a part of the reply to `request`; resolves when the requester has credit again. */
  part(request: number, body: unknown): Promise<void>
  /** Says what answering `request` cost; it is taken from the budget the request came on. */
  charge(request: number, quota: 'tokens' | 'processes', amount: number): void
  /** Sends an event to the actor's own machine (progress of a long effect). `trace`: what follows belongs to that trace, not to the effect's. */
  raise(event: { type: string; [key: string]: unknown }, trace?: string): void
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, data?: Record<string, unknown>): void
  /** The live socket announced by a `connection` message. Each can be taken once; throws when it is not there. */
  takeHandle(conn: number): Socket
}
export type RequestOptions = {
  deadlineMs?: number | null
  /** Called for each streamed part in order; a returned promise holds back credit. */
  onPart?: (body: unknown) => void | Promise<void>
  caps?: readonly Delegation[]
  /** A span of the effect's own that the request is part of. Default: the effect's `trace`. */
  trace?: string
}

/**
 * An effect: named I/O. `run` must not fail: what can go wrong is an outcome. The outcome `{ type: 'done', … }` of effect
 * `readFile` reaches the machine as `{ type: 'readFile.done', …params.ref/request if given, … }`. A defect or an
 * interruption reaches it as `readFile.crashed` / is dropped.
 */
// Params differ per effect; each effect narrows its own.
// oxlint-disable-next-line typescript/no-explicit-any
export type EffectSpec<Params = any> = {
  outcomes: readonly string[]
  /** It does what a member, a file or the network will see: it waits until the step that asked for it is in the message log. Default false. */
  outside?: boolean
  run(params: Params, context: EffectContext): Effect.Effect<{ type: string; [key: string]: unknown }>
}
export type Effects = Readonly<Record<string, EffectSpec>>

/** OS permissions of a process actor, as Node's permission model knows them. Paths absolute. */
export type Permissions = {
  fsRead?: readonly string[]
  fsWrite?: readonly string[]
  net?: boolean
  childProcess?: boolean
  /** Node's WASI functions: the only way to fsync, chmod and link by handle that the permission model leaves open. */
  wasi?: boolean
}

/** A capability an actor needs from the start. */
export type Grant = {
  /** Slot name the actor uses. */
  name: string
  /** Target actor kind (a singleton), or `kernel` / `journal`. */
  target: string
  limits: Limits
  /** One line, shown by `bulkhead inspect`. */
  reason: string
}

export type Placement = 'inline' | 'thread' | 'process'

export type Manifest = {
  /** Actor kind = folder name under `actors/`. */
  kind: string
  purpose: string
  placement: Placement
  /** `singleton` is started with the daemon; `instance` is spawned by a holder of the kernel's `spawn` kind. */
  cardinality: 'singleton' | 'instance'
  grants: readonly Grant[]
  permissions(params: Record<string, unknown>): Permissions
  /** One line a permission, shown by `bulkhead inspect`. */
  permissionReasons: Readonly<Record<string, string>>
  /** File descriptors of the daemon this actor inherits, by name (only egress: `secrets`). Their numbers arrive in `params.fds`. */
  fds?: readonly string[]
  /**
   * Only of singletons that remember nothing between messages: started by the first message to it, stopped after this long without one, ms.
   * When one of its requests runs out of time it is killed, since it may hang; what waited for it goes to its next life.
   */
  idleMs?: number
  /** How long it may take to stop before it is killed, ms. Default 5 000. */
  stopMs?: number
  /** Its effects may go on after `stop` until they end or the stop deadline passes (an orderly VM shutdown). Default: interrupted at once. */
  lingers?: boolean
  /** Why its code folders stay readable after start (a library that loads lazily). Absent: they are dropped. */
  keepsCode?: string
  /**
   * Its process runs in a jail of the operating system as well, where there is one: what its permissions name is there, and nothing else. `none`:
   * why it cannot. `whole`: folders in which files that it may read or write come, go and are replaced; what else is in them is covered.
   */
  jail?: { none: string } | { whole(params: Record<string, unknown>): readonly string[] }
  /** What its process may hold in memory in all, MiB; it is ended when it holds more. Default 512. Programs it starts are not counted. */
  memoryMiB?: number
  /** Kinds offered to the model as tools: the kind's body is the tool's input. Only of actors from outside the repository. */
  tools?: readonly { kind: string; title: string; description: string; readOnly?: boolean }[]
  /** Receives accepted sockets from the daemon (only gateway). */
  handles?: boolean
  /** Messages that may wait for this actor. Default 1024. */
  mailbox?: number
  restart: { strategy: 'permanent' | 'transient' | 'temporary'; intensity?: number; periodMs?: number }
}

/** What an actor folder's `index.ts` exports as `actor`. */
export type Actor = {
  manifest: Manifest
  protocol: Protocol
  /** Gets `input: { params: Record<string, unknown>, slots: readonly string[] }`. */
  machine: AnyStateMachine
  effects: Effects
}
