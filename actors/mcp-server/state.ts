/** What one server's actor remembers. Values; nothing here is ever mutated. */
import { fault, type Fault } from '../../kernel/index.ts'
import { backoff } from './limits.ts'
import { type LaunchSpec, launchSpec, type ServerStatus, type ToolDefinition } from './protocol.ts'

export type Call = { request: number; tool: string; input: Record<string, unknown> }

export type Context = {
  spec: LaunchSpec
  /** Number of the current start. Events of another one are late. */
  epoch: number
  state: ServerStatus['state']
  pid: number | null
  noJail: string | null
  /** Started at least once, so that isolation is known. */
  tried: boolean
  restarts: number
  /** In a row, since it was last healthy. */
  failures: number
  delayMs: number
  wasReady: boolean
  error: Fault | null
  info: ServerStatus['info']
  tools: readonly ToolDefinition[] | null
  watchers: readonly number[]
  /** Calls that wait for the start. */
  waiting: readonly Call[]
  /** Requests of calls under way. */
  running: readonly number[]
  /** `restart` requests. */
  starters: readonly number[]
}

export function initialContext(params: Record<string, unknown>): Context {
  return {
    spec: launchSpec.parse(params),
    epoch: 0,
    state: 'starting',
    pid: null,
    noJail: null,
    tried: false,
    restarts: 0,
    failures: 0,
    delayMs: 0,
    wasReady: false,
    error: null,
    info: null,
    tools: null,
    watchers: [],
    waiting: [],
    running: [],
    starters: [],
  }
}

export function statusOf({ state, pid, noJail, tried, restarts, error, info, tools }: Context): ServerStatus {
  return {
    state,
    pid,
    isolation: tried ? (noJail === null ? 'full' : 'reduced') : null,
    isolationReason: noJail,
    restarts,
    error,
    info,
    tools: tools === null ? null : [...tools],
  }
}

export function delayAfter(failures: number, fraction: number): number {
  const full = Math.min(backoff.lastMs, backoff.firstMs * 2 ** Math.min(failures - 1, 20))
  return Math.round(full * (0.75 + fraction / 2))
}

export function unavailable({ spec, error, delayMs, state }: Context): Fault {
  return fault('server-unavailable', `The tool server ${spec.name} is not running.`, {
    ...(error?.cause ? { cause: error.cause } : {}),
    ...(state === 'backoff' && delayMs > 0 ? { retryAfterMs: delayMs } : {}),
  })
}

export function refEpoch({ epoch }: Context): string {
  return `run:${epoch}`
}
