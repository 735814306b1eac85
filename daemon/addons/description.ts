/**
 * What an actor from outside the repository says of itself, as data: the kernel needs its manifest and protocol, and loads none of its code.
 * Everything here was written by somebody nobody vouches for; what is not listed as allowed is refused.
 */
import { z } from 'zod'
import type { ActorEntry } from '../../kernel/placement.ts'
import type { Manifest, Protocol } from '../../kernel/types.ts'

/** Stands for the actor's own folder in what it asks for. */
export const ownFolder = '/bulkhead/own-folder'

const reason = z.string().max(300).regex(/\S/, 'has to say something')
const schema = z.record(z.string(), z.unknown())
const word = z.string().regex(/^[a-z][a-zA-Z0-9-]{0,39}$/, 'letters, digits and hyphens, beginning with a small letter, at most 40')

/** Only what a grant to an outsider may be limited by; no session is an outsider's to name. */
const limits = z.strictObject({
  kinds: z.array(z.string().max(100)).min(1).max(20),
  hosts: z.array(z.string().min(1).max(260)).min(1).max(50).optional(),
  uses: z.int().positive().optional(),
  rate: z.strictObject({ messages: z.int().positive(), perMs: z.int().positive() }).optional(),
  quota: z.strictObject({ bytes: z.int().positive().optional(), ms: z.number().positive().optional() }).optional(),
})

const path = z.string().startsWith('/').max(4096)

export const description = z.strictObject({
  kind: z.string().regex(/^[a-z][a-z0-9-]{1,39}$/, 'small letters, digits and hyphens, beginning with a letter, 2 to 40'),
  purpose: reason,
  grants: z.array(z.strictObject({ name: word, target: z.string().max(100), limits, reason })).max(16),
  permissions: z.strictObject({ fsRead: z.array(path).max(20), fsWrite: z.array(path).max(20) }),
  permissionReasons: z.record(z.string(), reason),
  protocol: z
    .record(
      word,
      z.strictObject({
        body: schema,
        reply: schema.optional(),
        part: schema.optional(),
        deadlineMs: z.number().positive().nullable().optional(),
      }),
    )
    .refine((kinds) => Object.keys(kinds).length <= 100, 'at most 100 kinds'),
  tools: z
    .array(
      z.strictObject({ kind: word, title: z.string().min(1).max(100), description: z.string().min(1).max(2_000), readOnly: z.boolean() }),
    )
    .max(50),
  mailbox: z.int().min(1).max(1024).optional(),
  stopMs: z.int().min(1).max(10_000).optional(),
})
export type Description = z.infer<typeof description>

/** Targets an outsider may be given a capability to, the kinds, and what the capability must be limited by. */
const grantable: Readonly<Record<string, { kinds: readonly string[]; limit: 'hosts' }>> = { egress: { kinds: ['fetch'], limit: 'hosts' } }

/**
 * Schema words that cost no more than the value they look at is long. A `pattern` would be run by the kernel, on texts of whoever holds a
 * capability: a bad one would stand everything still.
 */
const words = new Set(
  (
    '$schema type title description enum const anyOf oneOf properties required additionalProperties propertyNames items prefixItems ' +
    'minItems maxItems minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum multipleOf'
  ).split(' '),
)
const deepest = 12

/** What is wrong with it beyond its form, in words; empty: nothing. */
export function objections(it: Description, taken: ReadonlySet<string>, home: string): string[] {
  const found: string[] = []
  if (taken.has(it.kind)) found.push(`the name ${it.kind} belongs to Bulkhead`)
  for (const { name, target, limits: asked } of it.grants) {
    const may = Object.hasOwn(grantable, target) ? grantable[target] : undefined
    if (!may)
      found.push(`${name}: a capability to ${target} is not given to actors from outside (given are: ${Object.keys(grantable).join(', ')})`)
    else if (!asked.kinds.every((kind) => may.kinds.includes(kind)))
      found.push(`${name}: of ${target} it may ask for ${may.kinds.join(', ')} only`)
    else if (asked[may.limit] === undefined) found.push(`${name}: a capability to ${target} has to name its ${may.limit}`)
  }
  const { fsRead, fsWrite } = it.permissions
  for (const asked of [...fsRead, ...fsWrite]) {
    const place = asked.replace(/\/?\*?$/, '')
    if (place === ownFolder || place.startsWith(`${ownFolder}/`)) continue
    if (/(^|\/)\.{1,2}(\/|$)|[*\0]/.test(place) || place === '') found.push(`${asked} is no plain path`)
    else if (`${home}/`.startsWith(`${place}/`) || place.startsWith(`${home}/`)) found.push(`${asked} holds Bulkhead's own state`)
    else if (/^\/(proc|sys|dev)(\/|$)/.test(place)) found.push(`${asked} is no folder of files`)
  }
  const used = [...(fsRead.length > 0 ? ['fsRead'] : []), ...(fsWrite.length > 0 ? ['fsWrite'] : [])]
  for (const name of used) if (!it.permissionReasons[name]) found.push(`permission ${name} comes without a reason`)
  for (const [kind, { body, reply, part }] of Object.entries(it.protocol))
    for (const one of [body, reply ?? {}, part ?? {}]) {
      const problem = badSchema(one, 0)
      if (problem) found.push(`the schema of "${kind}" ${problem}`)
    }
  for (const { kind } of it.tools) {
    const message = Object.hasOwn(it.protocol, kind) ? it.protocol[kind] : undefined
    if (!message?.reply) found.push(`tool ${kind}: there is no request of that kind`)
    else if (message.body['type'] !== 'object') found.push(`tool ${kind}: its input is no object`)
  }
  return found
}

function badSchema(value: unknown, depth: number): string | null {
  if (depth > deepest) return 'is nested too deep'
  if (typeof value !== 'object' || value === null) return null
  if (Array.isArray(value)) return firstOf(value.map((item) => badSchema(item, depth + 1)))
  return firstOf(
    Object.entries(value).map(([name, inner]) => {
      if (name === 'default') return 'has a default, and messages arrive as they were sent'
      if (!words.has(name)) return `uses "${name}", which is not accepted`
      if (name === 'enum' || name === 'const') return null
      if (name === 'properties') return firstOf(Object.values(inner as object).map((one) => badSchema(one, depth + 1)))
      return badSchema(inner, depth + 1)
    }),
  )
}

const firstOf = (problems: readonly (string | null)[]): string | null => problems.find((problem) => problem !== null) ?? null

/** As the kernel takes it: always in a process, jailed where there is a jail. Throws when a schema cannot be used. */
export function entryOf(it: Description, place: { entry: string; own: string }): ActorEntry {
  const inOwn = (paths: readonly string[]): string[] => paths.map((asked) => asked.replace(ownFolder, () => place.own))
  const manifest: Manifest = {
    kind: it.kind,
    purpose: it.purpose,
    placement: 'process',
    cardinality: 'singleton',
    grants: it.grants.map((grant) => ({ ...grant, limits: grant.limits as Manifest['grants'][number]['limits'] })),
    permissions: () => ({ fsRead: inOwn(it.permissions.fsRead), fsWrite: inOwn(it.permissions.fsWrite) }),
    permissionReasons: it.permissionReasons,
    restart: { strategy: 'permanent' },
    ...(it.mailbox === undefined ? {} : { mailbox: it.mailbox }),
    ...(it.stopMs === undefined ? {} : { stopMs: it.stopMs }),
  }
  const protocol: Protocol = Object.fromEntries(
    Object.entries(it.protocol).map(([kind, { body, reply, part, deadlineMs }]) => [
      kind,
      {
        body: z.fromJSONSchema(body),
        ...(reply ? { reply: z.fromJSONSchema(reply) } : {}),
        ...(part ? { part: z.fromJSONSchema(part) } : {}),
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
      },
    ]),
  )
  return {
    manifest,
    protocol,
    entry: place.entry,
    load: () => Promise.reject(new Error(`${it.kind} is from outside and runs in a process of its own only`)),
  }
}
