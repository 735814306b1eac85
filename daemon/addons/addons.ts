/**
 * Actors from outside the repository: kept in BULKHEAD_HOME, started only after somebody agreed to what they ask for, and ended when policy
 * or a change of their code says otherwise.
 *
 *   add   examine -> hash agreed to? -> on record -> kept -> started
 *   start of the daemon, change of policy   hash of what is kept == hash agreed to, policy allows -> started, else said why not
 *
 * One thing at a time; a request waits for those before it.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { realpathSync } from 'node:fs'
import type { Policy } from '../../actors/policy/protocol.ts'
import { asFault, fault } from '../../kernel/errors.ts'
import { mint } from '../../kernel/capabilities.ts'
import type { Endpoint, Kernel, Native, NativeFrom } from '../../kernel/kernel.ts'
import type { Fault, Grant } from '../../kernel/types.ts'
import { type Description, entryOf, objections } from './description.ts'
import { bad, entryName } from './describe.ts'
import { maxAddons } from './limits.ts'
import { type AddonView, type Proposal, protocol, type Source } from './protocol.ts'
import { openStore, type Stored } from './store.ts'
import { toolsId, toolsOf } from './tools.ts'
import { type Allowed, forbids, verdict } from './verdict.ts'

const id = 'addons'
const retryMs = 500

const grants: readonly Grant[] = [
  { name: 'policy', target: 'policy', limits: { kinds: ['watch'] }, reason: 'starts no actor from outside that policy forbids' },
  {
    name: 'telemetry',
    target: 'telemetry',
    limits: { kinds: ['audit'] },
    reason: 'puts on record who allowed an actor from outside, and what',
  },
]

type Options = { kernel: Kernel; home: string; log(level: string, source: string, message: string): void }

export function createAddons({ kernel, home, log }: Options) {
  const store = openStore(join(home, 'actors'))
  const incoming = join(home, 'incoming')
  const taken: ReadonlySet<string> = new Set([...kernel.entries.map(({ manifest }) => manifest.kind), 'kernel', 'journal', 'daemon', id])
  /** Those started, with the hash they run as. */
  const running = new Map<string, string>()
  const watchers = new Set<NativeFrom>()
  let policy: Allowed | null = null
  let me: Endpoint | null = null
  let closed = false
  let last: Promise<unknown> = Promise.resolve()

  function inOrder<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work)
    last = turn.catch(() => {})
    return turn
  }

  const places = (name: string) => {
    const { code, own } = store.place(name)
    return { entry: pathToFileURL(join(code, entryName)).href, own }
  }

  /** Throws `bad-actor`. */
  function usable(it: Description): void {
    const problems = objections(it, taken, home)
    if (problems.length > 0) throw bad(problems.join('; '))
  }

  async function start({ name, description, hash }: Stored): Promise<void> {
    if (running.has(name)) return
    if (running.size >= maxAddons)
      throw fault('overloaded', `${maxAddons} actors from outside run already.`, { remedy: 'Remove one first.' })
    const { entry, own } = places(name)
    running.set(name, hash)
    await kernel.addSingleton(entryOf(description, { entry, own }), { data: own })
    const grant = { name, target: name, limits: { kinds: description.tools.map(({ kind }) => kind) }, reason: `calls the tools of ${name}` }
    if (description.tools.length > 0) kernel.addNative(toolsOf(kernel, name, description, kernel.endpoint(toolsId(name), [grant])))
  }

  async function stop(name: string): Promise<void> {
    if (!running.delete(name)) return
    kernel.removeNative(toolsId(name))
    await kernel.removeSingleton(name)
  }

  /** Starts what may run and ends what may not. */
  async function reconcile(): Promise<void> {
    for (const name of store.names()) {
      try {
        const stored = store.read(name)
        usable(stored.description)
        const { run } = verdict(stored, policy)
        if (running.has(name) && (!run || running.get(name) !== stored.hash)) await stop(name)
        if (run) await start(stored)
      } catch (error) {
        await stop(name)
        log('error', id, `${name} is not started: ${wordsOf(asFault(error))}`)
      }
    }
    tell()
  }

  function tell(): void {
    const actors = [...running].flatMap(([name, hash]) => (store.read(name).description.tools.length > 0 ? [{ name, hash }] : []))
    for (const { part } of watchers) part({ actors })
  }

  function view(name: string): AddonView {
    try {
      const stored = store.read(name)
      usable(stored.description)
      const said = verdict(stored, policy)
      const live = kernel.actors.get(name)
      const { hash, consent, description } = stored
      const state = !said.run ? said.state : live?.state === 'running' ? 'running' : live?.degraded ? 'degraded' : 'starting'
      return {
        name,
        state,
        why: said.run ? (state === 'degraded' ? (live?.lastExit ?? null) : null) : said.why,
        hash,
        allowed: consent,
        is: shown(description),
      }
    } catch (error) {
      return { name, state: 'broken', why: wordsOf(asFault(error)), hash: null, allowed: null, is: null }
    }
  }

  /** The folder a request speaks of. A path is one in the incoming folder, where only this member's clients can put things. */
  function folderOf(from: Source): string {
    if ('name' in from) {
      if (!store.names().includes(from.name)) throw noActor(from.name)
      return store.place(from.name).code
    }
    let real: string
    try {
      real = realpathSync(from.path)
    } catch {
      throw fault('not-found', `There is no folder ${from.path}.`)
    }
    if (!real.startsWith(`${realpathSync(incoming)}/`)) throw fault('outside-folder', 'The folder is not in the incoming folder.')
    return real
  }

  async function examine(from: Source): Promise<Proposal & { description: Description; code: string }> {
    const code = folderOf(from)
    const { description, hash } = await store.examine(code)
    usable(description)
    const { kind: name } = description
    if ('name' in from && from.name !== name) throw bad(`It calls itself ${name} now.`)
    if (policy === null) throw fault('not-now', 'The policy of this device is not known yet.', { remedy: 'Retry in a moment.' })
    const forbidden = forbids(name, hash, policy)
    if (forbidden) throw fault('disabled-by-policy', `${name} may not run on this device.`, { rule: forbidden })
    return { name, hash, is: shown(description), before: agreedBefore(name), description, code }
  }

  function agreedBefore(name: string): Proposal['before'] {
    try {
      const { description, consent } = store.read(name)
      return consent ? shown(description) : null
    } catch {
      return null
    }
  }

  async function add(from: Source, hash: string, by: string): Promise<{ name: string }> {
    const found = await examine(from)
    if (found.hash !== hash)
      throw fault('changed-since-read', 'It is not what was agreed to any more.', { remedy: 'Look at it again, and decide.' })
    const { name, is, description, code } = found
    await record('actor.allowed', {
      name,
      hash,
      by,
      grants: is.grants,
      permissions: is.permissions,
      tools: is.tools.map(({ kind }) => kind),
    })
    await stop(name)
    store.keep(name, code, description, { hash, at: new Date().toISOString(), by })
    const stored = store.read(name)
    if (stored.hash !== hash) throw bad('Its files changed while they were taken over.')
    await start(stored)
    tell()
    const { state, lastExit } = kernel.actors.get(name) ?? {}
    if (state !== 'running') throw fault('actor-down', `${name} is allowed, and does not start.`, { cause: lastExit ?? '' })
    return { name }
  }

  async function remove(name: string): Promise<void> {
    if (!store.names().includes(name)) throw noActor(name)
    await record('actor.removed', { name })
    await stop(name)
    store.remove(name)
    tell()
  }

  /** What is not on record does not happen. */
  async function record(action: string, data: Record<string, unknown>): Promise<void> {
    if (!me) throw fault('not-now', 'The daemon is starting.')
    await me.request('telemetry', 'audit', { action, data })
  }

  function watchPolicy(): void {
    const again = (): void => {
      if (!closed) setTimeout(watchPolicy, retryMs).unref()
    }
    const onPart = (part: unknown): void => {
      const { values, decidedBy } = (part as { policy: Policy }).policy
      const key = values.isEnabledForOrganization ? 'allowedThirdPartyActors' : 'isEnabledForOrganization'
      policy = {
        list: values.isEnabledForOrganization ? values.allowedThirdPartyActors : [],
        decidedBy: `${key}, ${decidedBy[key] ?? 'default'}`,
      }
      void inOrder(reconcile).catch((error: unknown) => log('error', id, wordsOf(asFault(error))))
    }
    me?.request('policy', 'watch', {}, { deadlineMs: null, onPart }).then(again, again)
  }

  type Handlers = { [K in keyof typeof protocol]: (body: never, from: NativeFrom) => Promise<Awaited<ReturnType<Native['handle']>>> }
  const handlers: Handlers = {
    list: () => inOrder(async () => ({ body: { actors: store.names().map(view) } })),
    examine: ({ from }: { from: Source }) =>
      inOrder(async () => {
        const { name, hash, is, before } = await examine(from)
        return { body: { name, hash, is, before } }
      }),
    add: ({ from, hash, by }: { from: Source; hash: string; by: string }) => inOrder(async () => ({ body: await add(from, hash, by) })),
    remove: ({ name }: { name: string }) => inOrder(async () => (await remove(name), { body: {} })),
    async watch(_, from) {
      watchers.add(from)
      await inOrder(async () => tell())
      await new Promise<void>((resolve) => from.signal.addEventListener('abort', () => resolve()))
      watchers.delete(from)
      return { body: {} }
    },
    open: ({ name }: { name: string }) =>
      inOrder(async () => {
        if (!running.has(name)) throw noActor(name)
        return { body: {}, caps: [mint(kernel.tables, toolsId(name), { kinds: ['watch', 'call', 'restart'] }, `the tools of ${name}`)] }
      }),
  }

  return {
    native: {
      id,
      protocol,
      handle: (kind: string, body: never, from: NativeFrom) => handlers[kind as keyof Handlers](body, from),
    } satisfies Native,
    /** Begins to start what may run, once policy has said so. */
    connect(): void {
      me = kernel.endpoint(id, grants)
      watchPolicy()
    },
    close(): void {
      closed = true
    },
  }
}

const shown = ({ purpose, grants: asked, permissions, permissionReasons, tools }: Description): Proposal['is'] => ({
  purpose,
  grants: asked,
  permissions,
  permissionReasons,
  tools,
})

const noActor = (name: string): Fault =>
  fault('not-found', `There is no actor ${name} from outside.`, { remedy: 'See `bulkhead actor list`.' })

const wordsOf = ({ message, cause }: Fault): string => (cause ? `${message} ${cause}` : message)
