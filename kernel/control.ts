/**
 * The kernel as an actor others can hold a capability to: `spawn`, `stop`, `derive`, `revoke`, `inspect`, `shutdown`. Whoever holds a kind can use it,
 * so manifests name them one by one.
 */
import { z } from 'zod'
import { type ActorId, type Capability, derive, install, mint } from './capabilities.ts'
import { fault, isFault } from './errors.ts'
import { inspect } from './inspect.ts'
import type { Kernel, Native, NativeFrom } from './kernel.ts'
import type { Protocol } from './types.ts'

const name = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,80}$/)

const protocol = {
  /**
   * Starts an instance actor with the capabilities that accompany the message, one per entry of `grants`, named so. Only names (or, for
   * `folder:sales`, name prefixes) that the kind's manifest lists are accepted. Reply carries a capability to the new actor.
   */
  spawn: {
    body: z.strictObject({
      kind: name,
      instance: name,
      session: name.nullable(),
      params: z.record(z.string(), z.unknown()),
      grants: z.array(z.strictObject({ name: z.string().max(100), reason: z.string().max(300) })),
    }),
    reply: z.strictObject({ id: z.string() }),
  },
  /** Gives an instance this holder spawned one more named capability, replacing one of that name. */
  endow: { body: z.strictObject({ id: z.string(), name: z.string().max(100) }), reply: z.strictObject({}) },
  /** Ends an instance this holder spawned and everything that led to it. */
  stop: { body: z.strictObject({ id: z.string() }), reply: z.strictObject({}) },
  /** Makes the accompanying capability, already narrowed by its delegation, revocable under a grant id. */
  derive: { body: z.strictObject({}), reply: z.strictObject({ grant: z.int() }) },
  /** Revokes a grant of this holder and all derived from it, before the next delivery. */
  revoke: { body: z.strictObject({ grant: z.int() }), reply: z.strictObject({ revoked: z.int() }) },
  /** A part for each actor that came back after a crash with fresh state, sent before that actor gets its next message. Ends when cancelled. */
  'watch-restarts': { body: z.strictObject({}), part: z.strictObject({ id: z.string() }), reply: z.strictObject({}), deadlineMs: null },
  inspect: { body: z.strictObject({}), reply: z.unknown() },
  /** Ends the daemon in order. */
  shutdown: { body: z.strictObject({}), reply: z.strictObject({}) },
} satisfies Protocol

export function createControl(kernel: Kernel, onShutdown: () => void): Native {
  const spawned = new Map<ActorId, ActorId>()
  const grants = new Map<number, { holder: ActorId; cap: Capability }>()

  function own(holder: ActorId, id: ActorId): void {
    if (spawned.get(id) !== holder) throw fault('no-capability', `${id} was not spawned by ${holder}.`)
  }

  function declared(kind: string, grantName: string): boolean {
    const manifest = kernel.entry(kind)?.manifest
    return (
      manifest?.grants.some(
        (grant) => grant.name === grantName || (grant.name.endsWith(':*') && grantName.startsWith(grant.name.slice(0, -1))),
      ) ?? false
    )
  }

  type Body<K extends keyof typeof protocol> = z.infer<(typeof protocol)[K]['body']>
  const handlers: { [K in keyof typeof protocol]: (body: Body<K>, from: NativeFrom) => Promise<{ body: unknown; caps?: Capability[] }> } = {
    async spawn({ kind, instance, session, params, grants: wanted }, from) {
      const entry = kernel.entry(kind)
      if (!entry || entry.manifest.cardinality !== 'instance') throw fault('malformed', `There is no instance kind ${kind}.`)
      const id = `${kind}:${instance}`
      if (kernel.actors.has(id)) throw fault('already-exists', `${id} is already running.`)
      if (wanted.length !== from.caps.length)
        throw fault('malformed', `${wanted.length} grants named, ${from.caps.length} capabilities sent.`)
      const undeclared = wanted.find((grant) => !declared(kind, grant.name))
      if (undeclared) throw fault('malformed', `The manifest of ${kind} does not ask for ${undeclared.name}.`)
      for (const [index, grant] of wanted.entries()) {
        const cap = from.caps[index] as Capability
        cap.reason = grant.reason
        install(kernel.tables, id, cap, grant.name)
      }
      spawned.set(id, from.id)
      // Not awaited: messages wait in its mailbox while it loads.
      void kernel.startInstance(entry, id, params)
      return { body: { id }, caps: [mint(kernel.tables, id, session === null ? {} : { session }, `spawned ${id}`)] }
    },
    async endow({ id, name: grantName }, from) {
      own(from.id, id)
      const [cap] = from.caps
      if (!cap || !declared(id.split(':')[0] ?? '', grantName)) throw fault('malformed', `${grantName} cannot be given to ${id}.`)
      kernel.endow(id, grantName, cap)
      return { body: {} }
    },
    async stop({ id }, from) {
      own(from.id, id)
      spawned.delete(id)
      await kernel.stopInstance(id)
      return { body: {} }
    },
    async derive(_body, from) {
      const [given] = from.caps
      if (!given) throw fault('malformed', 'derive needs a capability.')
      const cap = derive(kernel.tables, given, {}, given.reason, from.id)
      if (isFault(cap)) throw cap
      grants.set(given.id, { holder: from.id, cap: given })
      return { body: { grant: given.id }, caps: [cap] }
    },
    async revoke({ grant }, from) {
      const held = grants.get(grant)
      if (!held || held.holder !== from.id) throw fault('no-capability', `${from.id} has no grant ${grant}.`)
      grants.delete(grant)
      return { body: { revoked: kernel.revoke(held.cap) } }
    },
    'watch-restarts': (_body, from) =>
      new Promise((resolve) => {
        const stop = kernel.onRestart((id) => from.part({ id }))
        from.signal.addEventListener('abort', () => {
          stop()
          resolve({ body: {} })
        })
      }),
    inspect: async () => ({ body: inspect(kernel) }),
    async shutdown() {
      setImmediate(onShutdown)
      return { body: {} }
    },
  }

  return {
    id: 'kernel',
    protocol,
    handle: (kind, body, from) => handlers[kind as keyof typeof handlers](body, from),
  }
}
