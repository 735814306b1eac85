/** The servers as the member sees them. Pure. */
import { definitionDiff, toolsOf } from './catalog.ts'
import { forbidden, objection } from './policy.ts'
import type { ServerView } from './protocol.ts'
import type { Context, Server } from './state.ts'

export function viewOf(context: Context): ServerView[] {
  return Object.values(context.servers).map((server) => serverView(context, server))
}

function serverView(context: Context, server: Server): ServerView {
  const { definition, status, run, error } = server
  const { name, source, origin, launch, signature, problem } = definition
  const no = objection(context, server)
  const disabled = context.policy !== null && forbidden(definition, context.policy) !== null
  return {
    name,
    source,
    origin,
    command: problem || source === 'actor' ? '' : [launch.command, ...launch.args].map(shown).join(' '),
    state: disabled ? 'disabled' : problem ? 'unusable' : run && status ? status.state : 'waiting',
    error: no ?? status?.error ?? error,
    isolation: run ? (status?.isolation ?? null) : null,
    isolationReason: run ? (status?.isolationReason ?? null) : null,
    network: launch.network,
    folders: launch.folders,
    pid: run ? (status?.pid ?? null) : null,
    restarts: status?.restarts ?? 0,
    info: status?.info ?? null,
    signature,
    tools: toolsOf(context, server).map((tool) => ({
      name: tool.name,
      title: tool.definition.title,
      description: tool.definition.description.slice(0, 500),
      decision: tool.mode,
      rule: tool.rule,
      readOnly: tool.definition.readOnly,
      change: tool.change,
      diff: tool.change === null ? '' : definitionDiff(context.pins[name]?.[tool.definition.name], tool.definition),
    })),
  }
}

function shown(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word)
}
