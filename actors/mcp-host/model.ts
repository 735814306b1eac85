/**
 * What the checker plays around the MCP host: one tool server whose actor comes up, changes what it offers, fails and is lost; policy that
 * allows it and forbids it; a member who approves and restarts; a session that lists and calls; approvals for this tool and for another.
 */
import { defineModel, type Model, type Pending, type Stimulus, stopping, type View } from '../../checker/model.ts'
import type { ToolDefinition } from '../mcp-server/protocol.ts'
import type { Policy as InForce } from '../policy/protocol.ts'
import type { Definition } from './definition.ts'
import { machine } from './machine.ts'
import { objection } from './policy.ts'
import type { Context, Server } from './state.ts'

const fault = (code: string) => ({ code, message: 'made up', remedy: '' })
const end = (event: { type: string; [key: string]: unknown }) => ({ event, ends: true })
const name = 's'
const tool = 'mcp__s__t'
const slot = 5

const from = (request: number, tools: readonly string[] | null = null) => ({
  request,
  badge: { from: 'x', session: 'a', limits: tools === null ? {} : { tools } },
  caps: [],
})
const definition = {
  name,
  source: 'settings',
  origin: 'made up',
  bundled: false,
  signature: null,
  launch: { name, command: 'node', args: [], env: {}, network: false, folders: [], code: [], data: '/d', nodeBinary: '/n/node' },
  problem: null,
} as unknown as Definition
const inForce = (isLocalDevMcpEnabled: boolean) =>
  ({
    values: { isLocalDevMcpEnabled, isDesktopExtensionEnabled: true, mcpPersistentAlwaysAllowEnabled: true, managedMcpServers: [] },
    decidedBy: {},
  }) as unknown as InForce
const offered = (hash: string): ToolDefinition => ({ name: 't', title: null, description: '', inputSchema: {}, hash, readOnly: true })
const status = (state: string, tools: readonly ToolDefinition[] | null) => ({
  state,
  pid: state === 'ready' ? 7 : null,
  isolation: 'full',
  isolationReason: null,
  restarts: 0,
  error: null,
  info: null,
  tools,
})
const loaded = { definitions: [definition], modes: { [tool]: 'allow' }, search: null, pins: {}, pinsKnown: true }

type Request = Extract<Pending, { what: 'request' }>
type Effect = Extract<Pending, { what: 'effect' }>
const requests = ({ pending }: View<Context>, kind: string): Request[] =>
  pending.filter((item): item is Request => item.what === 'request' && item.kind === kind && item.cancelled !== true)
const effects = ({ pending }: View<Context>, effect: string): Effect[] =>
  pending.filter((item): item is Effect => item.what === 'effect' && item.name === effect)
const serverOf = ({ context }: View<Context>): Server | undefined => context.servers[name]
const isHeld = ({ context }: View<Context>, request: number): boolean => context.held.some((question) => question.from.request === request)
const serving = ({ value }: View<Context>): boolean => value === 'serving'

/** What the server's actor says, on the newest watch. */
const says = (label: string, state: string, tools: readonly ToolDefinition[] | null) => ({
  name: label,
  request: false,
  when: (view: View<Context>) => requests(view, 'watch').some(({ ref }) => ref === `watch:${serverOf(view)?.run?.n}`),
  event: (view: View<Context>) => ({
    type: 'part',
    ref: `watch:${serverOf(view)?.run?.n}`,
    kind: 'watch',
    body: { status: status(state, tools) },
  }),
})
const tells = (label: string, local: boolean) => ({
  name: label,
  request: false,
  when: (view: View<Context>) => requests(view, 'watch').some(({ ref }) => ref === 'policy'),
  event: () => ({ type: 'part', ref: 'policy', kind: 'watch', body: { policy: inForce(local) } }),
})

/** What the member and sessions ask now and then: one of these on a path, because what it leaves behind is the same for each. */
const asked = (['servers', 'tool-rule', 'add', 'remove', 'tool-mode', 'install-extension', 'remove-extension', 'approve'] as const).map(
  (kind): Stimulus<Context> => ({
    name: kind,
    when: ({ sent }) => asked.every((other) => sent[other.name] === undefined),
    event: (_, request) => ({ type: kind, body: bodies[kind], from: from(request) }),
  }),
)
const bodies = {
  servers: {},
  'tool-rule': { tool },
  add: { name: 'another', command: 'node', args: [], env: {}, network: false, folders: [] },
  remove: { name },
  'tool-mode': { tool, mode: 'blocked' },
  'install-extension': { path: '/x', config: {}, network: false },
  'remove-extension': { id: 'x' },
  approve: { name },
}

const stimuli: readonly Stimulus<Context>[] = [
  tells('policy allows', true),
  tells('policy forbids', false),
  says('the server is ready', 'ready', [offered('h1')]),
  says('the server offers something else', 'ready', [offered('h2')]),
  { name: 'tools', event: (_, request) => ({ type: 'tools', body: {}, from: from(request) }) },
  { name: 'call', event: (_, request) => ({ type: 'call', body: { tool, input: {} }, from: from(request, [tool]) }) },
  {
    name: 'call on an approval for another tool',
    event: (_, request) => ({ type: 'call', body: { tool, input: {} }, from: from(request, ['mcp__s__other']) }),
  },
  { name: 'restart', event: (_, request) => ({ type: 'restart', body: { name }, from: from(request) }) },
  {
    name: 'give up',
    request: false,
    when: ({ open }) => open.length > 0,
    event: ({ open }) => ({ type: 'cancelled', request: open[0] }),
  },
  ...asked,
  // Who waits then is refused by the kernel.
  { ...stopping, when: ({ open }) => open.length === 0 },
]

/**
 * @param played names of stimuli
 * @param seen what is reached with them
 */
const modelOf = (played: readonly string[], seen: Model<Context>['sometimes']) =>
  defineModel<Context>({
    actor: 'mcp-host',
    machine,
    input: { params: {}, slots: [] },
    stimuli: stimuli.filter((stimulus) => played.includes(stimulus.name)),
    effects: {
      load: () => [end({ type: 'load.done', loaded }), end({ type: 'load.crashed', error: fault('internal') })],
      change: ({ ticket, change }: { ticket: number; change: { do: string } }) => [
        end({ type: 'change.done', ticket, change, loaded: change.do === 'remove' ? { ...loaded, definitions: [] } : loaded, body: {} }),
        end({ type: 'change.failed', ticket, error: fault('io-failed') }),
        end({ type: 'change.crashed', error: fault('internal') }),
      ],
      savePins: () => [end({ type: 'savePins.done' }), end({ type: 'savePins.failed' })],
      pause: () => [end({ type: 'pause.done' })],
      relay: () => [
        end({ type: 'relay.done', body: {} }),
        end({ type: 'relay.failed', error: fault('tool-failed') }),
        end({ type: 'relay.crashed', error: fault('internal') }),
      ],
    },
    replies: ({ ref, kind }) => {
      const replied = (body: unknown, caps: readonly number[] = []) => ({ type: 'replied', ref, kind, body, caps })
      const refused = (code: string) => ({ type: 'refused', ref, kind, error: fault(code) })
      switch (kind) {
        case 'spawn':
          return [replied({ id: 'mcp-server:s' }, [slot]), refused('overloaded'), refused('already-exists')]
        // Its actor, or policy's, goes down.
        case 'watch':
          return [refused('actor-down')]
        default:
          return [replied({}), refused('actor-down')]
      }
    },
    // Numbers of starts only name them.
    project: ({ next: _next, servers, ...context }) => ({
      ...context,
      servers: Object.fromEntries(
        Object.entries(servers).map(([key, { run, ...server }]) => [key, { ...server, run: run && { slot: run.slot } }]),
      ),
    }),
    projectPending: (item, view) => {
      if (item.what === 'timer') return item
      if (item.what === 'effect' && item.name === 'savePins') return undefined
      const ref = item.what === 'request' ? item.ref : String(item.params['ref'])
      const [what = '', n] = ref.split(':')
      // Of an earlier start: what becomes of it finds nobody.
      if (['spawn', 'watch', 'stop', 'again'].includes(what))
        return Number(n) === serverOf(view)?.run?.n && what !== 'stop'
          ? [what, item.what === 'request' && item.cancelled === true]
          : undefined
      return item.what === 'request' ? [item.kind, ref, item.cancelled === true] : [item.name, ref, item.params['ticket']]
    },
    always: {
      'who waits is worked for, or waits for servers to start, or to be known': (view) =>
        view.open.every(
          (request) =>
            isHeld(view, request) ||
            view.context.waiting.includes(request) ||
            view.context.calls[request] !== undefined ||
            (view.context.changing.includes(request) && effects(view, 'change').some(({ params }) => params['ticket'] === request)) ||
            requests(view, 'restart').some(({ ref }) => ref === `restart:${request}`),
        ),
      'nobody is held once servers and policy are known': ({ context: { loaded: read, policy, held } }) =>
        held.length === 0 || !read || policy === null,
      'a list that waits is given out in the end': (view) =>
        view.context.waiting.every((request) => effects(view, 'pause').some(({ params }) => params['ref'] === `settle:${request}`)),
      'a call under way has its relay, and no other relay runs': (view) => {
        const relayed = effects(view, 'relay').map(({ params }) => Number(params['request']))
        const calling = Object.keys(view.context.calls).map(Number)
        return relayed.length === calling.length && relayed.every((request) => calling.includes(request))
      },
      'a server runs only where policy is known and does not forbid it': ({ context }) =>
        Object.values(context.servers).every((server) => server.run === null || objection(context, server) === null),
      'calls are relayed to servers that run': ({ context }) =>
        Object.values(context.calls).every((server) => context.servers[server]?.run != null),
      'never given up: once policy is known, what is configured is read, or will be again': (view) =>
        view.context.loaded ||
        view.context.policy === null ||
        !serving(view) ||
        [...effects(view, 'load'), ...effects(view, 'pause')].some(({ params }) => params['ref'] === 'load'),
      'never given up: a server that may run is being started, watched, or tried again': (view) =>
        !view.context.loaded ||
        !serving(view) ||
        Object.values(view.context.servers).every(({ run, definition: { name: one } }) => {
          const server = view.context.servers[one] as Server
          if (objection(view.context, server) !== null) return true
          if (run === null) return false
          // `open`: an actor from outside is started by who keeps it.
          const refs = ['spawn', 'open', 'watch'].flatMap((kind) => requests(view, kind)).map(({ ref }) => ref)
          const again = effects(view, 'pause').map(({ params }) => params['ref'])
          return refs.includes(`spawn:${run.n}`) || refs.includes(`watch:${run.n}`) || again.includes(`again:${run.n}`)
        }),
      'policy is watched, or asked again in a moment': (view) =>
        !serving(view) ||
        requests(view, 'watch').some(({ ref }) => ref === 'policy') ||
        effects(view, 'pause').some(({ params }) => params['ref'] === 'policy'),
    },
    sometimes: seen,
    steps: {
      'told to stop, it stops': (_before, event, { value }) => event.type !== 'stopping' || value === 'stopping',
      'a tool runs only as it was approved, and only on an approval for it': (before, event, after) => {
        const known = new Set(effects(before, 'relay'))
        return effects(after, 'relay').every((item) => {
          if (known.has(item)) return true
          const { tools } = (event['from'] as { badge: { limits: { tools?: readonly string[] } } }).badge.limits
          const wanted = (event['body'] as { tool: string }).tool
          const [now] = Object.values(before.context.servers).flatMap(({ status: said }) =>
            (said?.tools ?? []).filter((one) => one.name === item.params['tool']),
          )
          const pinned = Object.values(before.context.pins).flatMap((pins) => pins[item.params['tool'] as string] ?? [])
          return event.type === 'call' && (tools === undefined || tools.includes(wanted)) && pinned.some(({ hash }) => hash === now?.hash)
        })
      },
      'a server that is forbidden is stopped, and its calls refused, in that very step': (before, _event, after, out) =>
        Object.entries(before.context.servers).every(
          ([
            key,
            {
              run,
              definition: { source },
            },
          ]) => {
            const server = after.context.servers[key]
            if (run === null || (server !== undefined && objection(after.context, server) === null)) return true
            const cut = Object.entries(before.context.calls).filter(([request, of]) => of === key && before.open.includes(Number(request)))
            return (
              // An actor from outside is ended by who keeps it.
              (source === 'actor' || out.some((message) => message.type === 'send' && message.kind === 'stop')) &&
              cut.every(([request]) => out.some((message) => message.type === 'refuse' && message.request === Number(request)))
            )
          },
        ),
    },
    takes: serving,
    // Policy's actor is not bound to tell anything: until it does, who is held waits for its deadline.
    leadsTo: {
      'who asks is answered': { from: ({ open }) => open.length > 0, to: (view) => view.open.every((request) => isHeld(view, request)) },
    },
    possible: {
      'a server that may run becomes able to': (view) => {
        const server = serverOf(view)
        return !serving(view) || server === undefined || objection(view.context, server) !== null || server.run?.slot === slot
      },
    },
    apart: ({ ref }, effect) => (effect === 'pause' ? (String(ref).split(':')[0] ?? '') : ''),
    mayEnd: ({ open }) => open.length === 0,
  })

/** With a member and sessions that ask. */
const busy = {
  'a call runs': ({ context }: View<Context>) => Object.keys(context.calls).length > 0,
  'a list waits for a server to start': ({ context }: View<Context>) => context.waiting.length > 0,
}
const always = {
  'a question waits for what is not known yet': ({ context }: View<Context>) => context.held.length > 0,
  'a tool is not what was approved': (view: View<Context>) =>
    serverOf(view)?.status?.tools?.[0]?.hash === 'h2' && view.context.pins[name]?.['t']?.hash === 'h1',
  'its actor was lost, and it is ready again': (view: View<Context>) =>
    serverOf(view)?.status?.state === 'ready' && (view.sent['policy allows'] ?? 0) > 0,
}
const around = ['policy allows', 'policy forbids', 'the server is ready', 'the server offers something else']
const used = [...around, 'tools', 'call', 'restart', 'give up']

export const model = modelOf(used, { ...always, ...busy })
export const fullModel = modelOf([...used, 'call on an approval for another tool', 'approve'], { ...always, ...busy })

const administered = modelOf(
  [
    'policy allows',
    'the server is ready',
    'the server offers something else',
    'give up',
    'stopping',
    ...asked.map((stimulus) => stimulus.name),
  ],
  {
    ...always,
    'what was not approved is': (view) =>
      serverOf(view)?.status?.tools?.[0]?.hash === 'h2' && view.context.pins[name]?.['t']?.hash === 'h2' && view.sent['approve'] === 1,
    'a change is under way': ({ context }) => context.changing.length > 0,
  },
)

/** Models that judge its mutants (`check --mutate`). */
export const judges = [administered, model]
