/** What sessions want: the list of tools, whether a call needs a question, a call. */
import { fault, type Fault, noRequest } from '../../kernel/index.ts'
import type { Badge, ReplyOf } from '../../kernel/index.ts'
import { type CatalogTool, catalogOf } from './catalog.ts'
import { maxHeld, maxOffered, settleMs } from './limits.ts'
import { objection } from './policy.ts'
import type { protocol } from './protocol.ts'
import { type Context, effect, type Question, refuse, reply, type Server, type Step, stay, without } from './state.ts'
import { serverPrefix } from './tool-names.ts'

/** What servers there are, and what of them may run. */
export const isKnown = ({ loaded, policy }: Context): boolean => loaded && policy !== null

/** Until then any answer would be a guess. */
export function hold(context: Context, question: Question): Step {
  if (context.held.length < maxHeld) return stay({ ...context, held: [...context.held, question] })
  const error = fault('overloaded', 'The tool servers are not known yet, and as many wait for them as may.', { retryAfterMs: 1_000 })
  return stay(context, refuse(question.from.request ?? noRequest, error))
}

/** Nothing that may run is still on its way for the first time. */
export function settled(context: Context): boolean {
  if (!isKnown(context)) return false
  return Object.values(context.servers).every(
    (server) =>
      objection(context, server) !== null || server.error !== null || (server.status !== null && server.status.state !== 'starting'),
  )
}

export function offer(context: Context): ReplyOf<typeof protocol, 'tools'> {
  const catalog = catalogOf(context).filter(({ server }) => context.servers[server]?.run != null)
  const usable = catalog.filter(({ mode, change }) => mode !== 'blocked' && change === null)
  const held = catalog.filter(({ mode, change }) => mode !== 'blocked' && change !== null)
  const down = Object.values(context.servers).flatMap((server) => {
    const why = objection(context, server) ?? (server.status?.state === 'ready' ? null : (server.status?.error ?? server.error))
    return why ? [`${why.message}${why.rule ? ` Rule: ${why.rule}.` : ''}`] : []
  })
  return {
    tools: usable.slice(0, maxOffered).map(({ name, server, definition }) => ({
      name,
      server,
      title: definition.title ?? definition.name,
      description: definition.description,
      inputSchema: definition.inputSchema,
      ...(name === context.search ? { search: true as const } : {}),
    })),
    notes: [
      ...down,
      ...(context.search !== null && !usable.some(({ name }) => name === context.search)
        ? [`${context.search}, which settings.json names for searching the web, is not there.`]
        : []),
      ...(held.length > 0 ? [`Not offered until approved: ${held.map(({ name }) => name).join(', ')}.`] : []),
      ...(usable.length > maxOffered ? [`${usable.length - maxOffered} tools more than ${maxOffered} are left out.`] : []),
    ],
  }
}

export function tools(context: Context, request: number): Step {
  if (settled(context)) return stay(context, reply(request, offer(context)))
  return stay(
    { ...context, waiting: [...context.waiting, request] },
    effect({ name: 'pause', params: { ref: `settle:${request}`, ms: settleMs } }),
  )
}

/** The wait is over, whoever is still missing. */
export function settleOver(context: Context, request: number): Step {
  if (!context.waiting.includes(request)) return stay(context)
  return stay({ ...context, waiting: context.waiting.filter((other) => other !== request) }, reply(request, offer(context)))
}

type Found = { tool: CatalogTool; server: Server; slot: number }

/** The tool, if it may be called at all; otherwise why not. */
function find(context: Context, name: string): Found | Fault {
  const tool = catalogOf(context).find((item) => item.name === name)
  const server = tool
    ? context.servers[tool.server]
    : Object.values(context.servers).find(({ definition }) => name.startsWith(serverPrefix(definition.name)))
  if (!server) return fault('unknown-tool', `No tool server offers ${name}.`)
  const no = objection(context, server)
  if (no) return no
  if (!tool) {
    if (server.status?.tools) return fault('unknown-tool', `${server.definition.name} has no tool ${name}.`)
    return (
      (server.status?.error as Fault | null | undefined) ??
      server.error ??
      fault('server-unavailable', `${server.definition.name} is still starting.`, { retryAfterMs: 1_000 })
    )
  }
  if (tool.change !== null)
    return fault('not-approved', `${name} is ${tool.change === 'new' ? 'new' : 'not what was approved any more'}.`, {
      remedy: `The member can look at the change with \`bulkhead mcp list\` and accept it with \`bulkhead mcp approve ${tool.server}\`.`,
    })
  if (tool.mode === 'blocked') return fault('denied', `${name} is blocked.`, tool.rule ? { rule: tool.rule } : {})
  const slot = server.run?.slot ?? null
  if (slot === null)
    return server.error ?? fault('server-unavailable', `${server.definition.name} is being started.`, { retryAfterMs: 1_000 })
  return { tool, server, slot }
}

export function toolRule(context: Context, request: number, name: string): Step {
  const found = find(context, name)
  if ('code' in found) return stay(context, refuse(request, found))
  const { mode, rule, server, definition } = found.tool
  return stay(
    context,
    reply(request, { decision: mode === 'allow' ? 'allow' : 'ask', rule, server, title: definition.title ?? definition.name }),
  )
}

export function call(
  context: Context,
  request: number,
  badge: Badge,
  { tool: name, input }: { tool: string; input: Record<string, unknown> },
): Step {
  const { tools: allowed } = badge.limits
  if (allowed && !allowed.includes(name))
    return stay(
      context,
      refuse(request, fault('attenuated', `This approval is not for ${name}.`, { rule: `tools: ${allowed.join(', ') || 'none'}` })),
    )
  const found = find(context, name)
  if ('code' in found) return stay(context, refuse(request, found))
  const { tool, slot } = found
  return stay(
    { ...context, calls: { ...context.calls, [request]: tool.server } },
    effect({ name: 'relay', params: { ref: `call:${request}`, request, slot, tool: tool.definition.name, input } }),
  )
}

export function callEnded(context: Context, request: number, result: { body: unknown } | { error: Fault }): Step {
  if (context.calls[request] === undefined) return stay(context)
  const done: Context = { ...context, calls: without(context.calls, String(request)) }
  return stay(done, 'body' in result ? reply(request, result.body) : refuse(request, result.error))
}

/** Whoever asked does not want to know any more; the runtime has interrupted the call itself. */
export function withdrawn(context: Context, request: number): Step {
  return stay({
    ...context,
    calls: without(context.calls, String(request)),
    changing: context.changing.filter((other) => other !== request),
    waiting: context.waiting.filter((other) => other !== request),
    held: context.held.filter(({ from }) => from.request !== request),
  })
}
