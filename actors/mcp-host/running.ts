/**
 * Which servers run: those that are known, can be started and are allowed. Everything that may change that ends in `reconcile`.
 *
 *   spawn its actor -> watch it -> status by status, its definitions pinned or held back
 *        ^                | its actor ended
 *        +---- pause <----+
 */
import { fault, type Fault } from '../../kernel/index.ts'
import type { ServerStatus } from '../mcp-server/protocol.ts'
import { offer, settled } from './asking.ts'
import { pinsOf } from './catalog.ts'
import { actorDefinition, type Definition } from './definition.ts'
import { maxServers, startAgainMs, watchAgainMs } from './limits.ts'
import { forgetPins } from './pins.ts'
import { objection } from './policy.ts'
import {
  andThen,
  type Context,
  effect,
  type Loaded,
  type Out,
  refuse,
  reply,
  type Server,
  serverOfRun,
  type Step,
  stay,
  withServer,
} from './state.ts'
import { mark } from './tool-names.ts'

/** What was read from disk is what is there; servers whose start changed are started anew. */
export function loaded(context: Context, { definitions, modes, search, pins, pinsKnown }: Loaded): Step {
  // A server the member has already keeps its name.
  const actors = (context.actors ?? []).filter(({ name }) => !definitions.some((other) => other.name === name))
  const kept = [...definitions, ...actors].slice(0, maxServers)
  const stopped = Object.values(context.servers)
    .filter(({ definition }) => !kept.some((other) => same(other, definition)))
    .reduce((step, { definition }) => andThen(step, (now) => stop(now, definition.name, gone(definition.name))), stay(context))
  const servers = Object.fromEntries(
    kept.map((definition): [string, Server] => {
      const known = stopped.context.servers[definition.name]
      const fresh: Server = { definition, run: null, status: null, error: null }
      return [definition.name, known && same(known.definition, definition) ? { ...known, definition } : fresh]
    }),
  )
  // Pins are read once; from then on what is remembered here is newer than any file.
  const remembered = context.loaded ? {} : { pins, pinsKnown }
  return andThen(stopped, (now) => reconcile({ ...now, ...remembered, loaded: true, servers, modes, search }))
}

/** What addons said: one that was allowed just now comes without a past. */
export function actorsTold(context: Context, offering: readonly { name: string; hash: string }[]): Step {
  const { actors: before, servers, modes, search, pins, pinsKnown } = context
  const actors = offering.map(actorDefinition)
  const fresh = before === null ? [] : actors.filter((actor) => !before.some((other) => same(other, actor)))
  const forgotten = fresh.reduce((step, { name }) => andThen(step, (now) => forgetPins(now, name)), stay({ ...context, actors }))
  if (!context.loaded) return forgotten
  const definitions = Object.values(servers).flatMap(({ definition }) => (definition.source === 'actor' ? [] : [definition]))
  return andThen(forgotten, (now) => loaded(now, { definitions, modes, search, pins, pinsKnown }))
}

const same = (a: Definition, b: Definition): boolean =>
  JSON.stringify([a.name, a.launch, a.problem]) === JSON.stringify([b.name, b.launch, b.problem])
const gone = (name: string): Fault =>
  fault('server-unavailable', `${name} was removed or changed.`, { remedy: 'Repeat the call if the tool is still offered.' })

/** Stops what may not run, starts what may, and answers who waited for that. */
export function reconcile(context: Context): Step {
  if (!context.loaded) return stay(context)
  const steered = Object.keys(context.servers).reduce((step, name) => andThen(step, (now) => steer(now, name)), stay(context))
  return andThen(steered, answerWaiting)
}

function steer(context: Context, name: string): Step {
  const server = context.servers[name]
  if (!server) return stay(context)
  const no = objection(context, server)
  if (no && server.run) return stop(context, name, no)
  return no || server.run ? stay(context) : start(context, name)
}

function start(context: Context, name: string): Step {
  const n = context.next
  // The same for every start: an actor that an earlier run of this one left behind is met, and ended, by its name.
  const instance = `${slug(name)}.${mark(name)}`
  const { launch, source } = context.servers[name]?.definition ?? {}
  const started = withServer({ ...context, next: n + 1 }, name, (server) => ({
    ...server,
    run: { n, id: `mcp-server:${instance}`, slot: null },
    status: null,
    error: null,
  }))
  if (source === 'actor') return stay(started, { type: 'send', to: 'addons', kind: 'open', body: { name }, ref: `spawn:${n}` })
  return stay(started, {
    type: 'send',
    to: 'kernel',
    kind: 'spawn',
    ref: `spawn:${n}`,
    body: { kind: 'mcp-server', instance, session: null, params: { ...launch }, grants: [] },
  })
}

/** Its calls are refused with `why` before its processes have even heard of it. */
function stop(context: Context, name: string, why: Fault): Step {
  const { run, definition } = context.servers[name] ?? {}
  if (!run) return stay(context)
  const ends: Out[] =
    definition?.source === 'actor' ? [] : [{ type: 'send', to: 'kernel', kind: 'stop', body: { id: run.id }, ref: `stop:${run.n}` }]
  const cut = Object.entries(context.calls).flatMap(([request, server]) => (server === name ? [Number(request)] : []))
  const calls = Object.fromEntries(Object.entries(context.calls).filter(([, server]) => server !== name))
  return stay(
    withServer({ ...context, calls }, name, (server) => ({ ...server, run: null })),
    ...cut.flatMap((request) => [{ type: 'interrupt', ref: `call:${request}` } as const, refuse(request, why)]),
    { type: 'cancel', ref: `watch:${run.n}` },
    ...ends,
  )
}

/** The kernel's word on a start. */
export function spawned(context: Context, n: number, slot: number | undefined): Step {
  const server = serverOfRun(context, n)
  // Stopped meanwhile: the stop was sent after the start, so the kernel has it.
  if (!server?.run || slot === undefined) return stay(context)
  const { run } = server
  return stay(
    withServer(context, server.definition.name, (now) => ({ ...now, run: { ...run, slot } })),
    watch(n, slot),
  )
}

const watch = (n: number, slot: number) =>
  ({ type: 'send', to: slot, kind: 'watch', body: {}, ref: `watch:${n}`, deadlineMs: null }) as const

/** The start was refused, or the actor ended: it is looked at again in a while. The kernel starts an actor that crashed by itself. */
export function lost(context: Context, n: number, error: Fault): Step {
  const server = serverOfRun(context, n)
  if (!server) return stay(context)
  const { name } = server.definition
  const noted = withServer(context, name, (now) => ({
    ...now,
    error,
    status: now.status && { ...now.status, state: 'backoff', pid: null },
  }))
  // Being stopped, or left behind when this actor ended: either way it goes before its successor comes.
  const inTheWay = error.code === 'already-exists'
  const ended = inTheWay
    ? [{ type: 'send', to: 'kernel', kind: 'stop', body: { id: server.run?.id ?? '' }, ref: `stop:${n}` } as const]
    : []
  const pause = effect({ name: 'pause', params: { ref: `again:${n}`, ms: inTheWay ? startAgainMs : watchAgainMs } })
  return andThen(stay(noted, ...ended, pause), answerWaiting)
}

export function again(context: Context, n: number): Step {
  const server = serverOfRun(context, n)
  if (!server?.run) return stay(context)
  const { slot } = server.run
  if (slot !== null) return stay(context, watch(n, slot))
  return reconcile(withServer(context, server.definition.name, (now) => ({ ...now, run: null })))
}

/** A status: tools of a server that was never seen before are what the member added it for, so they count as approved. */
export function told(context: Context, n: number, status: ServerStatus): Step {
  const server = serverOfRun(context, n)
  if (!server) return stay(context)
  const { name } = server.definition
  const noted = withServer(context, name, (now) => ({ ...now, status, error: null }))
  if (status.tools === null || context.pins[name] !== undefined || !context.pinsKnown) return answerWaiting(noted)
  const pins = { ...context.pins, [name]: pinsOf(status.tools) }
  return andThen(answerWaiting({ ...noted, pins }), (now) => stay(now, effect({ name: 'savePins', params: { ref: 'pins', pins } })))
}

/** Lists of tools that waited for starts are given out as soon as nothing starts any more. */
function answerWaiting(context: Context): Step {
  if (context.waiting.length === 0 || !settled(context)) return stay(context)
  return stay(
    { ...context, waiting: [] },
    ...context.waiting.flatMap((request) => [{ type: 'interrupt', ref: `settle:${request}` } as const, reply(request, offer(context))]),
  )
}

function slug(name: string): string {
  return (
    name
      .toLowerCase()
      .replace(/[^a-z0-9.-]+/g, '-')
      .replace(/^[^a-z0-9]+/, '')
      .slice(0, 60) || 'server'
  )
}
