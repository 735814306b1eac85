/** What the MCP host knows, as values; nothing here is ever mutated. */
import type { Fault, Inbound, Outgoing } from '../../kernel/index.ts'
import type { ServerStatus, ToolDefinition } from '../mcp-server/protocol.ts'
import type { Policy as InForce } from '../policy/protocol.ts'
import type { Definition } from './definition.ts'
import type { protocol } from './protocol.ts'

export type Mode = 'allow' | 'ask' | 'blocked'

/** What of the policy in force concerns tool servers. */
export type Policy = Pick<
  PolicyValues,
  | 'isLocalDevMcpEnabled'
  | 'isDesktopExtensionEnabled'
  | 'isDesktopExtensionSignatureRequired'
  | 'mcpPersistentAlwaysAllowEnabled'
  | 'managedMcpServers'
> & {
  /** By whole tool name, `*` as a wildcard. An exact name beats a pattern, among patterns the strictest wins. */
  toolPolicy: Readonly<Record<string, Mode>>
  /** Who decided, by key. */
  decidedBy: Readonly<Record<string, string>>
}
type PolicyValues = InForce['values']
export type ManagedServer = Policy['managedMcpServers'][number]

/** Approved definitions of one server, by the server's tool names. */
export type Pins = Readonly<Record<string, ToolDefinition>>

export type Server = {
  definition: Definition
  /** Its actor: `n` makes refs and ids unique; `slot` once the kernel gave it. */
  run: { n: number; id: string; slot: number | null } | null
  /** As its actor last said. */
  status: ServerStatus | null
  /** Why there is no actor although there should be one. */
  error: Fault | null
}

/** Whatever is asked but the list of tools, which has a wait of its own. */
export type Question = Exclude<Inbound<typeof protocol>, { type: 'tools' }>

export type Context = {
  next: number
  /** Settings, plugins and extensions were read. */
  loaded: boolean
  /** Null: not known yet, so nothing may run. */
  policy: Policy | null
  servers: Readonly<Record<string, Server>>
  /** Actors from outside that offer tools; null: not told yet. */
  actors: readonly Definition[] | null
  pins: Readonly<Record<string, Pins>>
  /** What was pinned could be read, so a server without pins is a new one. */
  pinsKnown: boolean
  modes: Readonly<Record<string, Mode>>
  /** The tool the member's settings name as the one that searches the web. */
  search: string | null
  /** Calls under way: request to server. */
  calls: Readonly<Record<string, string>>
  /** Requests that wait for a change on disk. */
  changing: readonly number[]
  /** `tools` requests that wait for servers to start. */
  waiting: readonly number[]
  /** Asked before servers and policy were known, the first first. */
  held: readonly Question[]
}

export const empty: Context = {
  next: 1,
  loaded: false,
  policy: null,
  servers: {},
  actors: null,
  pins: {},
  pinsKnown: true,
  modes: {},
  search: null,
  calls: {},
  changing: [],
  waiting: [],
  held: [],
}

/** What the member wants changed on disk. */
export type Change =
  | {
      do: 'add'
      name: string
      command: string
      args: string[]
      env: Record<string, string>
      network: boolean
      folders: { path: string; mode: 'ro' | 'rw' }[]
    }
  | { do: 'remove'; name: string }
  | { do: 'tool-mode'; tool: string; mode: Mode }
  | { do: 'install'; path: string; config: Record<string, string | string[]>; network: boolean; required: Fault | null }
  | { do: 'remove-extension'; id: string }

export type Loaded = {
  definitions: Definition[]
  modes: Record<string, Mode>
  search: string | null
  pins: Record<string, Pins>
  pinsKnown: boolean
}

export type EffectCall =
  | { name: 'load'; params: { ref: string; managed: readonly ManagedServer[] } }
  | { name: 'change'; params: { ref: string; ticket: number; change: Change; managed: readonly ManagedServer[] } }
  | { name: 'savePins'; params: { ref: string; pins: Context['pins'] } }
  | { name: 'pause'; params: { ref: string; ms: number } }
  | { name: 'relay'; params: { ref: string; request: number; slot: number; tool: string; input: Record<string, unknown> } }

export type Out = Outgoing | { type: 'effect'; call: EffectCall }
export type Step = { context: Context; out: readonly Out[] }

export const stay = (context: Context, ...out: Out[]): Step => ({ context, out })

/** `next` runs on what `step` led to; both their messages leave, in order. */
export function andThen(step: Step, next: (context: Context) => Step): Step {
  const after = next(step.context)
  return { context: after.context, out: [...step.out, ...after.out] }
}

export const effect = (call: EffectCall): Out => ({ type: 'effect', call })
export const reply = (request: number, body: unknown): Out => ({ type: 'reply', request, body })
export const refuse = (request: number, error: Fault): Out => ({ type: 'refuse', request, error })

export function withServer(context: Context, name: string, change: (server: Server) => Server): Context {
  const server = context.servers[name]
  return server ? { ...context, servers: { ...context.servers, [name]: change(server) } } : context
}

export function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  const { [key]: _, ...rest } = record
  return rest
}

export const serverOfRun = (context: Context, n: number): Server | undefined =>
  Object.values(context.servers).find(({ run }) => run?.n === n)
