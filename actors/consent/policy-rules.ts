/** What policy says about one wish. Pure. */
import { fault, type Fault } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import { overlap } from './host-overlap.ts'

type Key = keyof Policy['values']
type ToolRule = 'allow' | 'ask' | 'blocked'

/** Is the use of this tool asked for here? The others never ask, so for them `ask` can only mean no. */
const isAsking = (tool: string): boolean => ['Write', 'Edit', 'Move', 'Delete', 'Bash'].includes(tool) || tool.startsWith('mcp__')

const ruleText = ({ decidedBy }: Policy, key: Key): string => `policy ${key} (${decidedBy[key] ?? 'default'})`

function denied(policy: Policy, key: Key, message: string): Fault {
  return fault('policy-denied', message, { rule: ruleText(policy, key) })
}

/** Why no session may run; `null` while the organization's switch is on. */
export function switchedOff(policy: Policy): Fault | null {
  if (policy.values.isEnabledForOrganization) return null
  return denied(
    policy,
    'isEnabledForOrganization',
    `Bulkhead is switched off for this organization: ${policy.decidedBy['isEnabledForOrganization'] ?? 'policy'} says so.`,
  )
}

/** How a folder may be connected at most; `null`: not at all. The most specific entry decides. */
export function folderLimit({ values: { allowedWorkspaceFolders: list } }: Policy, path: string): 'rw' | 'ro' | null {
  if (list === null) return 'rw'
  const covering = list.filter((entry) => entry.path === path || path.startsWith(entry.path === '/' ? '/' : `${entry.path}/`))
  const [closest] = covering.toSorted((a, b) => b.path.length - a.path.length || (a.mode === 'ro' ? -1 : 1))
  return closest?.mode ?? null
}

export function outsideAllowed(policy: Policy, path: string, limit: 'ro' | null): Fault {
  const { allowedWorkspaceFolders: list } = policy.values
  if (limit === 'ro') {
    const error = denied(policy, 'allowedWorkspaceFolders', `${path} may only be connected read-only.`)
    return { ...error, remedy: 'Connect it with `:ro`.' }
  }
  const error = denied(policy, 'allowedWorkspaceFolders', `${path} is not one of the folders that may be connected.`)
  return { ...error, cause: list?.length ? `allowed: ${list.map((entry) => entry.path).join(', ')}` : 'no folder is allowed' }
}

/** The member's hosts as far as policy allows them. */
export function allowedHosts({ values: { coworkEgressAllowedHosts: list } }: Policy, hosts: readonly string[]): readonly string[] {
  return list === null ? hosts : overlap(hosts, list)
}

export function toolRule({ values: { disabledBuiltinTools, builtinToolPolicy } }: Policy, tool: string): ToolRule {
  if (disabledBuiltinTools.includes(tool)) return 'blocked'
  const rule = Object.hasOwn(builtinToolPolicy, tool) ? (builtinToolPolicy[tool] ?? 'allow') : 'allow'
  return rule === 'ask' && !isAsking(tool) ? 'blocked' : rule
}

/** Tools that must not be used, with the rule that says so. */
function blockedTools(policy: Policy): Record<string, string> {
  const { disabledBuiltinTools, builtinToolPolicy } = policy.values
  const names = new Set([...disabledBuiltinTools, ...Object.keys(builtinToolPolicy)])
  const blocked = [...names].filter((name) => toolRule(policy, name) === 'blocked').toSorted()
  return Object.fromEntries(
    blocked.map((name) => [name, ruleText(policy, disabledBuiltinTools.includes(name) ? 'disabledBuiltinTools' : 'builtinToolPolicy')]),
  )
}

/** What a conversation is to know of policy. */
export function restrictions(policy: Policy): { blocked: Record<string, string>; rawApiBodies: boolean } {
  const { otlpEndpoint, otlpContentCapture } = policy.values
  return { blocked: blockedTools(policy), rawApiBodies: otlpEndpoint !== null && otlpContentCapture.includes('rawApiBodies') }
}

export function toolDenied(policy: Policy, tool: string): Fault {
  const key = policy.values.disabledBuiltinTools.includes(tool) ? 'disabledBuiltinTools' : 'builtinToolPolicy'
  return denied(policy, key, `Policy does not allow ${tool}.`)
}
