/** What is asked about actors from outside: by the gateway for the member, and by the MCP host for their tools. Legal at any time. */
import { z } from 'zod'
import type { Protocol } from '../../kernel/types.ts'
import { description } from './description.ts'

const name = z.string().min(1).max(100)
/** A folder the client put into the incoming folder, or what is kept under a name. */
const source = z.union([z.strictObject({ path: z.string().startsWith('/').max(4096) }), z.strictObject({ name })])
export type Source = z.infer<typeof source>

const shown = description.pick({ purpose: true, grants: true, permissions: true, permissionReasons: true, tools: true })

const view = z.strictObject({
  name,
  /** `degraded`: it keeps failing. `broken`: what is kept cannot be used. The rest: verdict.ts. */
  state: z.enum(['running', 'starting', 'degraded', 'waiting', 'new', 'changed', 'disabled', 'broken']),
  why: z.string().nullable(),
  hash: z.string().nullable(),
  allowed: z.strictObject({ by: z.string(), at: z.string(), hash: z.string() }).nullable(),
  is: shown.nullable(),
})
export type AddonView = z.infer<typeof view>

const proposal = z.strictObject({
  name,
  hash: z.string(),
  is: shown,
  /** What was agreed to before under this name, to say what is new. */
  before: shown.nullable(),
})
export type Proposal = z.infer<typeof proposal>

export const protocol = {
  list: { body: z.strictObject({}), reply: z.strictObject({ actors: z.array(view) }) },
  /** What it asks for, and the hash that agreeing is about. Refused `bad-actor`, `disabled-by-policy`, `not-found`. */
  examine: { body: z.strictObject({ from: source }), reply: proposal, deadlineMs: 60_000 },
  /** Somebody agreed to what has this hash. It runs when the reply comes. Refused as `examine`, and `changed-since-read`, `audit-failed`. */
  add: {
    body: z.strictObject({ from: source, hash: z.string().max(100), by: z.string().min(1).max(100) }),
    reply: z.strictObject({ name }),
    deadlineMs: 60_000,
  },
  /** Ends it, and forgets it with its data. Refused `not-found`. */
  remove: { body: z.strictObject({ name }), reply: z.strictObject({}), deadlineMs: 60_000 },
  /** Those that offer tools and may run, now and at every change, until cancelled. */
  watch: {
    body: z.strictObject({}),
    part: z.strictObject({ actors: z.array(z.strictObject({ name, hash: z.string() })) }),
    reply: z.strictObject({}),
    deadlineMs: null,
  },
  /** A capability to one's tools, which answers as a tool server's actor does. Refused `not-found`. */
  open: { body: z.strictObject({ name }), reply: z.strictObject({}) },
} satisfies Protocol
