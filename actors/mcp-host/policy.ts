/** What the administrator's policy says of servers and tools. Pure. */
import { fault, type Fault } from '../../kernel/index.ts'
import type { Definition } from './definition.ts'
import type { Context, Mode, Policy, Server } from './state.ts'

type Key = 'isLocalDevMcpEnabled' | 'isDesktopExtensionEnabled' | 'isDesktopExtensionSignatureRequired'

/**
 * Why the policy forbids a server, or null. The widest reading of both keys: a plugin's own servers count as local, and an extension inside
 * a plugin falls under both.
 */
export function forbidden(
  { name, source, bundled, signature }: Pick<Definition, 'name' | 'source' | 'bundled' | 'signature'>,
  policy: Policy,
): Fault | null {
  const extension = source === 'extension' || bundled
  if (source !== 'extension' && policy.isLocalDevMcpEnabled === false)
    return off(policy, 'isLocalDevMcpEnabled', `${name} is a local tool server, and those are switched off on this device.`)
  if (extension && policy.isDesktopExtensionEnabled === false)
    return off(policy, 'isDesktopExtensionEnabled', `${name} is a desktop extension, and those are switched off on this device.`)
  if (extension && signature?.state !== 'trusted') return unsigned(policy, name)
  return null
}

/** Why an extension without a trusted signature is not for this device, or null. */
export function unsigned(policy: Policy, name: string): Fault | null {
  if (policy.isDesktopExtensionSignatureRequired !== true) return null
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

function off({ sources = {}, ...keys }: Policy, key: Key, message: string): Fault {
  return fault('disabled-by-policy', message, { rule: `${key} = ${String(keys[key])} (${sources[key] ?? 'managed policy'})` })
}

const strictness: readonly Mode[] = ['allow', 'ask', 'blocked']

/** What applies to a tool and who says so; the member's own word counts only where the policy has none. */
export function modeOf(tool: string, policy: Policy, modes: Readonly<Record<string, Mode>>): { mode: Mode; rule: string | null } {
  const { toolPolicy = {}, sources = {} } = policy
  const source = `toolPolicy (${sources['toolPolicy'] ?? 'managed policy'})`
  const exact = Object.hasOwn(toolPolicy, tool) ? toolPolicy[tool] : undefined
  if (exact) return { mode: exact, rule: `${tool}: ${exact}, ${source}` }
  const matching = Object.entries(toolPolicy).filter(([pattern]) => pattern.includes('*') && matches(pattern, tool))
  const [strictest] = matching.toSorted(([, a], [, b]) => strictness.indexOf(b) - strictness.indexOf(a))
  if (strictest) return { mode: strictest[1], rule: `${strictest[0]}: ${strictest[1]}, ${source}` }
  const own = Object.hasOwn(modes, tool) ? modes[tool] : undefined
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
