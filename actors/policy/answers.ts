/** What policy replies, from what it knows. Pure. */
import { fault, type Fault } from '../../kernel/index.ts'
import { evaluate, type Effective, keyOf, type Problem, readValues } from './evaluate.ts'
import type { Variables } from './folder-path.ts'
import { about, defaults, type Key, keyNames, secret } from './keys.ts'
import type { EffectivePolicy, Policy, PolicyEntry, PolicyExplanation } from './protocol.ts'
import { parseJsonSettings } from './settings-json.ts'
import type { Source } from './sources.ts'

/** What is known once the sources were read. */
export type Known = { sources: readonly Source[]; effective: Effective }

export function know(sources: readonly Source[], variables: Variables): Known {
  return { sources, effective: evaluate(sources, variables) }
}

const entryOf = ({ values, decidedBy }: Effective, key: Key): PolicyEntry => ({
  key,
  value: shown(key, values[key]),
  decidedBy: decidedBy[key],
})

function shown(key: Key, value: unknown): unknown {
  if (!secret.includes(key)) return value
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0 ? '(set)' : '(not set)'
}

export function effectiveReply({ sources, effective }: Known): EffectivePolicy {
  const { problems, failedClosed, values } = effective
  return {
    entries: keyNames.map((key) => entryOf(effective, key)),
    problems,
    sources: sources.map(({ kind, place, state, why }) => ({ kind, place, state, ...(why === undefined ? {} : { why }) })),
    failedClosed,
    enabled: values.isEnabledForOrganization,
  }
}

export function policyPart({ effective: { values, decidedBy, failedClosed } }: Known): Policy {
  const { otlpHeaders: _, ...open } = values
  return { values: open, decidedBy, failedClosed }
}

/** What the audit log keeps of a change: which keys, and who decides them now. No values: some are secrets. */
export function changeEntry(before: Known | null, { effective, sources }: Known): { action: string; data: Record<string, unknown> } {
  const was = before?.effective
  const changed = keyNames.filter((key) =>
    was
      ? JSON.stringify([was.values[key], was.decidedBy[key]]) !== JSON.stringify([effective.values[key], effective.decidedBy[key]])
      : effective.decidedBy[key] !== 'default',
  )
  return {
    action: was ? 'policy.changed' : 'policy.read',
    data: {
      keys: Object.fromEntries(changed.map((key) => [key, effective.decidedBy[key]])),
      sources: sources.map(({ kind, state }) => `${kind}: ${state}`),
      failedClosed: effective.failedClosed,
    },
  }
}

export function explain({ effective }: Known, name: string): PolicyExplanation | Fault {
  const key = keyOf(name)
  if (key === null)
    return fault('not-found', `There is no policy key ${JSON.stringify(name.slice(0, 80))}.`, { remedy: `Keys: ${keyNames.join(', ')}.` })
  const { type, effect, example } = about[key]
  const problems = effective.problems.filter((problem) => problem.key === key || problem.key === name || problem.key === null)
  return { ...entryOf(effective, key), type, default: defaults[key], effect, example, problems }
}

export function check(text: string, variables: Variables): { ok: boolean; problems: Problem[] } {
  const source = 'checked file'
  try {
    const { problems } = readValues(parseJsonSettings(text), source, variables)
    return { ok: problems.length === 0, problems }
  } catch (error) {
    const problem = { key: null, source, message: error instanceof Error ? error.message : String(error) }
    return { ok: false, problems: [problem] }
  }
}
