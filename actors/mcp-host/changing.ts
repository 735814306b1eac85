/** What the member and the administrator change. */
import { fault, type Fault } from '../../kernel/index.ts'
import { pinsOf, toolsOf } from './catalog.ts'
import { maxServers } from './limits.ts'
import type { Policy as InForce } from '../policy/protocol.ts'
import { forbidden, lastingAllow, objection, policyOf, unsigned } from './policy.ts'
import { reconcile } from './running.ts'
import {
  andThen,
  type Change,
  type Context,
  effect,
  type ManagedServer,
  type Out,
  type Policy,
  refuse,
  reply,
  type Step,
  stay,
} from './state.ts'

/** What it forbids is stopped, and refused, at once; servers it brings are read together with all others. */
export function applyPolicy(context: Context, inForce: InForce): Step {
  const policy = policyOf(inForce)
  const { managedMcpServers: managed } = policy
  if (context.policy !== null && sameServers(context.policy.managedMcpServers, managed)) return reconcile({ ...context, policy })
  return andThen(reconcile({ ...context, policy }), (now) => stay(now, load(managed)))
}

/** The effect that reads what is configured, and the pause before it is tried again. */
export const loadRef = 'load'
export const load = (managed: readonly ManagedServer[]): Out => effect({ name: 'load', params: { ref: loadRef, managed } })

const sameServers = (a: readonly ManagedServer[], b: readonly ManagedServer[]): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Changes on disk, unless the policy or the present state says no. */
export function change(context: Context, request: number, wanted: Change): Step {
  const no = refusal(context, wanted)
  if (no) return stay(context, refuse(request, no))
  return stay(
    { ...context, changing: [...context.changing, request] },
    effect({
      name: 'change',
      params: { ref: `change:${request}`, ticket: request, change: wanted, managed: context.policy?.managedMcpServers ?? [] },
    }),
  )
}

/** @param answer for who asked, if it still waits */
export function changeEnded(context: Context, ticket: number, answer: Out): Step {
  const waits = context.changing.includes(ticket)
  return stay({ ...context, changing: context.changing.filter((other) => other !== ticket) }, ...(waits ? [answer] : []))
}

function refusal(context: Context, wanted: Change): Fault | null {
  const { servers } = context
  // Who asks before it is known is held.
  const policy = context.policy as Policy
  switch (wanted.do) {
    case 'add':
      if (servers[wanted.name]) return fault('already-exists', `There is a tool server ${wanted.name} already.`)
      if (Object.keys(servers).length >= maxServers)
        return fault('overloaded', `${maxServers} tool servers are there already.`, { remedy: 'Remove one first.' })
      return forbidden({ name: wanted.name, source: 'settings', bundled: false, signature: null }, policy)
    case 'remove':
      return servers[wanted.name]?.definition.source === 'settings'
        ? null
        : fault('not-found', `The settings have no tool server ${wanted.name}.`)
    case 'install':
      // Its signature is looked at where it is read.
      return forbidden(
        { name: 'It', source: 'extension', bundled: false, signature: { state: 'trusted', publisher: null, detail: '' } },
        policy,
      )
    case 'remove-extension':
      return servers[wanted.id]?.definition.source === 'extension' ? null : fault('not-found', `There is no extension ${wanted.id}.`)
    case 'tool-mode':
      return wanted.mode === 'allow' ? lastingAllow(policy) : null
    default:
      return wanted satisfies never
  }
}

export const signatureRule = ({ policy }: Context): Fault | null => policy && unsigned(policy, 'The extension')

/** What the server offers now is what is approved from now on. */
export function approve(context: Context, request: number, name: string): Step {
  const server = context.servers[name]
  if (!server) return stay(context, refuse(request, noServer(name)))
  const approved = toolsOf(context, server).flatMap((tool) => (tool.change === null ? [] : [tool.name]))
  const pins = { ...context.pins, [name]: { ...context.pins[name], ...pinsOf(server.status?.tools ?? []) } }
  return stay({ ...context, pins }, effect({ name: 'savePins', params: { ref: 'pins', pins } }), reply(request, { approved }))
}

export function restart(context: Context, request: number, name: string): Step {
  const server = context.servers[name]
  if (!server) return stay(context, refuse(request, noServer(name)))
  const no = objection(context, server)
  if (no) return stay(context, refuse(request, no))
  const slot = server.run?.slot ?? null
  if (slot === null)
    return stay(context, refuse(request, server.error ?? fault('not-now', `${name} is being started.`, { remedy: 'Retry in a moment.' })))
  return stay(context, { type: 'send', to: slot, kind: 'restart', body: {}, ref: `restart:${request}`, deadlineMs: null })
}

const noServer = (name: string): Fault => fault('not-found', `There is no tool server ${name}.`, { remedy: 'See `bulkhead mcp list`.' })
