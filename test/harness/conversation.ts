/** A conversation in a real kernel, between scripted peers that speak the real protocols. */
import { mint } from '../../kernel/capabilities.ts'
import { openJournal } from '../../kernel/journal.ts'
import { fault } from '../../kernel/index.ts'
import type { Endpoint, Kernel, NativeFrom } from '../../kernel/kernel.ts'
import { startTestKernel, type TestKernel } from '../../kernel/testing/test-kernel.ts'
import type { ActorEntry } from '../../kernel/placement.ts'
import type { Placement } from '../../kernel/types.ts'
import { protocol as consentProtocol } from '../../actors/consent/protocol.ts'
import { protocol as egressProtocol } from '../../actors/egress/protocol.ts'
import { protocol as fsGateProtocol } from '../../actors/fs-gate/protocol.ts'
import { protocol as telemetryProtocol } from '../../actors/telemetry/protocol.ts'
import { protocol as vmProtocol } from '../../actors/vm-supervisor/protocol.ts'
import { actor } from '../../actors/conversation/index.ts'
import { INSTRUCTIONS_PATH } from '../../actors/conversation/limits.ts'
import type { ConversationEvent, Folder } from '../../actors/conversation/protocol.ts'
import { protocol as mcpProtocol } from '../../actors/mcp-host/protocol.ts'
import { answerBytes, type ScriptedAnswer } from './scripted-model.ts'

export type ModelBody = {
  model: string
  system: { text: string }[]
  messages: {
    role: 'user' | 'assistant'
    content: { type: string; text?: string; tool_use_id?: string; content?: string; is_error?: boolean; [key: string]: unknown }[]
  }[]
  [key: string]: unknown
}
type Handler = (kind: string, body: never, from: NativeFrom) => unknown
export type Peers = {
  /** Called for each model call; the answer, or a handler's own doing (`from.part`, throw). */
  model: (body: ModelBody, n: number, from: NativeFrom) => ScriptedAnswer | 'sent' | Promise<ScriptedAnswer | 'sent'>
  fetch?: (body: { url: string }) => unknown
  gate?: Handler
  /** What others changed in a folder, as the gate tells. */
  others?: () => unknown
  /** Its file of instructions. */
  instructions?: () => unknown
  exec?: Handler
  /** The audit log, where there is one. */
  audit?: () => void
  /** The MCP host: `tools` and `call`. */
  mcp?: Handler
  /** Which folder or workspace capability is given, and for how long; a thrown fault is the refusal. */
  consent?: (
    body: { tool: string; title: string; detail: string; target: { kind: string; path?: string } },
    from: NativeFrom,
  ) => 'once' | 'session' | Promise<'once' | 'session'>
}
export type Harness = {
  kernel: Kernel
  logs: string[]
  conversation: Endpoint
  prompt: (
    text: string,
    options?: { signal?: AbortSignal; onEvent?: (event: ConversationEvent) => void },
  ) => Promise<{ events: ConversationEvent[]; reply: Reply }>
  /** What policy says from now on. */
  restrict: (body: { blocked: Record<string, string>; rawApiBodies: boolean }) => Promise<void>
  history: () => Promise<number>
  journal: () => Promise<{ type: string; entry: { role?: string; content?: { type: string }[] } }[]>
  /** Ends the conversation and starts it again on the same journal. */
  restart: () => Promise<void>
  /** `kind` of every message a peer got, with its body. */
  heard: { peer: string; kind: string; body: unknown }[]
  stop: () => Promise<void>
}
type Reply = { status: string; text: string; toolCalls: number; error?: { code: string; [key: string]: unknown } }

const defaultFolders: Folder[] = [{ name: 'sales', root: '/home/ada/sales', mode: 'rw' }]

export async function startConversation(
  peers: Peers,
  options: { placement?: Placement; folders?: Folder[]; telemetry?: boolean } = {},
): Promise<Harness> {
  const heard: Harness['heard'] = []
  const folders = options.folders ?? defaultFolders
  const entry: ActorEntry = {
    manifest: actor.manifest,
    protocol: actor.protocol,
    entry: new URL('../../actors/conversation/index.ts', import.meta.url).href,
    load: async () => actor,
  }
  const running: TestKernel = await startTestKernel({ actors: [entry], placement: options.placement ?? 'inline' })
  const { kernel } = running
  const journal = openJournal(':memory:')
  kernel.addNative(journal)
  let modelCalls = 0
  const native = (id: string, protocol: Parameters<Kernel['addNative']>[0]['protocol'], script: Handler): void =>
    kernel.addNative({
      id,
      protocol,
      handle: async (kind, body, from) => {
        // Every turn asks for the list of tools and for news of the folders; tests are about what follows.
        const isNews = kind === 'others' || (kind === 'read' && (body as { path: string }).path === INSTRUCTIONS_PATH)
        if (kind !== 'tools' && !isNews) heard.push({ peer: id, kind, body })
        return { body: await script(kind, body as never, from) }
      },
    })
  native('egress', egressProtocol, async (kind, body: { body: string; url: string }, from) => {
    if (kind === 'model-info') return { mode: 'practice', baseUrl: 'x' }
    if (kind === 'fetch') return peers.fetch?.(body)
    const answer = await peers.model(JSON.parse(body.body) as ModelBody, modelCalls++, from)
    if (answer !== 'sent') {
      from.part({ type: 'head', status: 200, headers: { 'content-type': 'text/event-stream' } })
      for (const bytes of answerBytes(answer)) from.part({ type: 'chunk', bytes })
    }
    return {}
  })
  const missing = (): never => {
    throw fault('not-found', 'There is nothing of that name.')
  }
  const gate: Handler = (kind, body, from) => {
    if (kind === 'others') return peers.others?.() ?? { changes: [], more: 0, partial: false }
    if (kind === 'read' && (body as { path: string }).path === INSTRUCTIONS_PATH) return (peers.instructions ?? missing)()
    return (peers.gate ?? missing)(kind, body, from)
  }
  for (const { name } of folders) native(`fs-gate:s-1.${name}`, fsGateProtocol, gate)
  native('vm-supervisor', vmProtocol, peers.exec ?? missing)
  native('telemetry', telemetryProtocol, (kind) => {
    if (kind === 'audit') peers.audit?.()
    return { n: 1 }
  })
  native('mcp-host', mcpProtocol, peers.mcp ?? ((kind) => (kind === 'tools' ? { tools: [], notes: [] } : missing())))
  kernel.addNative({
    id: 'consent',
    protocol: consentProtocol,
    async handle(kind, raw, from) {
      const body = raw as {
        tool: string
        title: string
        detail: string
        target: { kind: string; folder: string; path: string; tool: string }
      }
      heard.push({ peer: 'consent', kind, body })
      const scope = (await peers.consent?.(body, from)) ?? 'once'
      const uses = scope === 'once' ? { uses: 1 } : {}
      const mcpCall = { kinds: ['call'], tools: [body.target.tool], ...uses }
      const cap =
        body.target.kind === 'mcp'
          ? mint(kernel.tables, 'mcp-host', mcpCall, 'test')
          : body.target.kind === 'exec'
            ? mint(kernel.tables, 'vm-supervisor', { kinds: ['exec', 'job'], session: 's-1', ...uses }, 'test')
            : mint(kernel.tables, `fs-gate:s-1.${body.target.folder}`, { kinds: ['write', 'edit'], ...uses }, 'test')
      return { body: { decision: 'allow', scope, by: 'test' }, caps: [cap] }
    },
  })
  const limits = { session: 's-1' }
  const grants = [
    ...['kernel', 'egress', 'consent', 'journal', ...(options.telemetry ? ['telemetry'] : [])].map((target) => ({
      name: target,
      target,
      limits: target === 'kernel' ? {} : limits,
      reason: 'test',
    })),
    { name: 'mcp', target: 'mcp-host', limits: { kinds: ['tools'], ...limits }, reason: 'test' },
    {
      name: 'workspace',
      target: 'vm-supervisor',
      limits: { kinds: ['jobs', 'job-news', 'job-output', 'job-stop'], ...limits },
      reason: 'test',
    },
    ...folders.map(({ name }) => ({
      name: `folder:${name}`,
      target: `fs-gate:s-1.${name}`,
      limits: { kinds: ['read', 'glob', 'grep', 'preview', 'others'] },
      reason: 'test',
    })),
  ]
  const owner = kernel.endpoint('owner', grants)
  const given = grants.filter(({ name }) => name !== 'kernel')
  const spawn = async (): Promise<string> => {
    const body = {
      kind: 'conversation',
      instance: 's-1',
      session: 's-1',
      params: { session: 's-1', folders, hosts: ['example.com'], model: null },
      grants: given.map(({ name, reason }) => ({ name, reason })),
    }
    const { slots } = await owner.request('kernel', 'spawn', body, { caps: given.map(({ name }) => ({ slot: name })) })
    return slots[0] as string
  }
  let slot = await spawn()
  return {
    kernel,
    logs: running.logs,
    conversation: owner,
    heard,
    async prompt(text, { signal, onEvent } = {}) {
      const events: ConversationEvent[] = []
      const onPart = (part: unknown): void => {
        events.push(part as ConversationEvent)
        onEvent?.(part as ConversationEvent)
      }
      const { body } = await owner.request(slot, 'prompt', { text }, { deadlineMs: null, onPart, ...(signal ? { signal } : {}) })
      return { events, reply: body as Reply }
    },
    async restrict(body) {
      await owner.request(slot, 'restrict', body)
    },
    async history() {
      return ((await owner.request(slot, 'history', {})).body as { messages: number }).messages
    },
    async journal() {
      return ((await owner.request('journal', 'read', {})).body as { entries: { type: string; entry: object }[] }).entries
    },
    async restart() {
      await owner.request('kernel', 'stop', { id: 'conversation:s-1' })
      slot = await spawn()
    },
    async stop() {
      await running.stop()
      journal.close()
    },
  }
}

/** The latest tool results in a model call, by tool call id. */
export function resultsIn(body: ModelBody): Record<string, { text: string; error: boolean }> {
  const blocks =
    body.messages.map(({ content }) => content.filter(({ type }) => type === 'tool_result')).findLast((found) => found.length > 0) ?? []
  return Object.fromEntries(
    blocks.map(({ tool_use_id, content, is_error }) => [tool_use_id as string, { text: content as string, error: is_error === true }]),
  )
}
