/** What the administrator's policy says of servers and tools. Pure. */
import { fault, type Fault } from '../../kernel/index.ts'
import type { Policy as InForce } from '../policy/protocol.ts'
import type { Definition } from './definition.ts'
import type { Context, Mode, Policy, Server } from './state.ts'
import { serverPrefix } from './tool-names.ts'

type Key = Exclude<keyof Policy, 'toolPolicy' | 'decidedBy'>

/** What of the policy in force concerns tool servers. */
export function policyOf({ values, decidedBy }: InForce): Policy {
  const toolPolicy = Object.fromEntries(
    values.managedMcpServers.flatMap(({ name, toolPolicy: rules = {} }) =>
      Object.entries(rules).map(([tool, mode]) => [`${serverPrefix(name)}${tool}`, mode] as const),
    ),
  )
  return { ...values, toolPolicy, decidedBy }
}

/**
 * Why the policy forbids a server, or null. The widest reading of both keys: a plugin's own servers count as local, and an extension inside
 * a plugin falls under both. What the organization itself brings falls under neither.
 */
export function forbidden(
  { name, source, bundled, signature }: Pick<Definition, 'name' | 'source' | 'bundled' | 'signature'>,
  policy: Policy,
): Fault | null {
  const extension = source === 'extension' || bundled
  if (source === 'managed')
    return policy.managedMcpServers.some((server) => server.name === name)
      ? null
      : off(policy, 'managedMcpServers', `The organization brings no tool server ${name} any more.`)
  // Decided where it is kept, by a key of its own: one that may not run is not offered here.
  if (source === 'actor') return null
  if (source !== 'extension' && !policy.isLocalDevMcpEnabled)
    return off(policy, 'isLocalDevMcpEnabled', `${name} is a local tool server, and those are switched off on this device.`)
  if (extension && !policy.isDesktopExtensionEnabled)
    return off(policy, 'isDesktopExtensionEnabled', `${name} is a desktop extension, and those are switched off on this device.`)
  if (extension && signature?.state !== 'trusted') return unsigned(policy, name)
  return null
}

/** Why an extension without a trusted signature is not for this device, or null. */
export function unsigned(policy: Policy, name: string): Fault | null {
  if (!policy.isDesktopExtensionSignatureRequired) return null
  return off(policy, 'isDesktopExtensionSignatureRequired', `${name} has no signature of a publisher this device trusts.`)
}

/** Why a server must not run now, or null. Not known yet counts as no. */
export function objection({ policy }: Context, { definition }: Pick<Server, 'definition'>): Fault | null {
  if (policy === null) return fault('not-now', 'The policy of this device is not known yet.', { remedy: 'Retry in a moment.' })
  const no = forbidden(definition, policy)
  if (no) return no
  const { problem, name } = definition
  return (
    problem &&
    fault('server-unavailable', `${name} cannot be started. ${problem.message}`, {
      cause: problem.cause,
      remedy: 'Correct its settings, or remove it.',
    })
  )
}

function off({ decidedBy, ...keys }: Policy, key: Key, message: string): Fault {
  const value = keys[key]
  const text = typeof value === 'boolean' ? `${key} = ${value}` : key
  return fault('disabled-by-policy', message, { rule: `${text} (${decidedBy[key] ?? 'managed policy'})` })
}

/** Why the member may not allow a tool for good, or null. */
export function lastingAllow(policy: Policy): Fault | null {
  if (policy.mcpPersistentAlwaysAllowEnabled) return null
  return off(policy, 'mcpPersistentAlwaysAllowEnabled', 'Tools of tool servers cannot be allowed for good on this device.')
}

const strictness: readonly Mode[] = ['allow', 'ask', 'blocked']

/** What applies to a tool and who says so; the member's own word counts only where the policy has none. */
export function modeOf(tool: string, policy: Policy | null, modes: Readonly<Record<string, Mode>>): { mode: Mode; rule: string | null } {
  const { toolPolicy = {}, decidedBy = {} } = policy ?? {}
  const source = `toolPolicy (${decidedBy['managedMcpServers'] ?? 'managed policy'})`
  const exact = Object.hasOwn(toolPolicy, tool) ? toolPolicy[tool] : undefined
  if (exact) return { mode: exact, rule: `${tool}: ${exact}, ${source}` }
  const matching = Object.entries(toolPolicy).filter(([pattern]) => pattern.includes('*') && matches(pattern, tool))
  const [strictest] = matching.toSorted(([, a], [, b]) => strictness.indexOf(b) - strictness.indexOf(a))
  if (strictest) return { mode: strictest[1], rule: `${strictest[0]}: ${strictest[1]}, ${source}` }
  const own = Object.hasOwn(modes, tool) ? modes[tool] : undefined
  const barred = own === 'allow' && policy ? lastingAllow(policy) : null
  if (barred) return { mode: 'ask', rule: barred.rule ?? null }
  return own ? { mode: own, rule: `${tool}: ${own}, the member's setting` } : { mode: 'ask', rule: null }
}

function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const [index, part] of rest.entries()) {
    const found = index === rest.length - 1 ? Math.max(text.length - part.length, -1) : text.indexOf(part, at)
    if (found < at || !text.startsWith(part, found)) return false
    at = found + part.length
  }
  return at === text.length || rest.at(-1) === ''
}
