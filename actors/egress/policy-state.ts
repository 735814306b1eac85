/**
 * What egress knows of policy, and how it changes. Pure.
 *
 *   rules file, registries --loaded--\
 *                                     >-- both known --> in force, and again after every change of either
 *   policy's actor --managedChanged--/
 *
 * Until both are known nothing is decided: requests wait.
 */
import { fault, type Fault, type Outgoing } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import type { ManagedRules, PolicyInputs } from './egress-policy.ts'
import type { Registry } from './registries.ts'
import { changeRules, type RuleChange, type Rules } from './rules.ts'

export type PolicyState = {
  /** Null until they were read. */
  rules: Rules | null
  /** Why the file they are kept in cannot be used. */
  problem: string | null
  registries: readonly Registry[]
  /** Null until policy's actor told. */
  managed: ManagedRules | null
}

/** What a change leads to: the new state, what to put in force, what to save, or why it is refused. */
export type PolicyStep = { state: PolicyState; inForce?: PolicyInputs; save?: Rules; refuse?: Fault }

export const noPolicyYet: PolicyState = { rules: null, problem: null, registries: [], managed: null }

export const policyRef = 'policy'
export const watchPolicy: Outgoing = { type: 'send', to: 'policy', kind: 'watch', body: {}, ref: policyRef, deadlineMs: null }

export function loaded(
  state: PolicyState,
  { rules, problem, registries }: { rules: Rules; problem: string | null; registries: readonly Registry[] },
): PolicyStep {
  return enforce({ ...state, rules, problem, registries })
}

export function managedChanged(state: PolicyState, body: unknown): PolicyStep {
  const { values, decidedBy, failedClosed } = (body as { policy: Policy }).policy
  const managed = { hosts: values.coworkEgressAllowedHosts, decidedBy: decidedBy['coworkEgressAllowedHosts'] ?? 'default', failedClosed }
  return enforce({ ...state, managed })
}

export function registriesRead(state: PolicyState, registries: readonly Registry[]): PolicyStep {
  return JSON.stringify(registries) === JSON.stringify(state.registries) ? { state } : enforce({ ...state, registries })
}

/** In force at once; saved after, so that a disk that is full cannot hold up a denial. */
export function changed(state: PolicyState, change: RuleChange, session: string | null): PolicyStep {
  if (state.rules === null) return { state, refuse: fault('not-now', 'The egress rules are being read.', { retryAfterMs: 500 }) }
  if (state.problem !== null)
    return {
      state,
      refuse: fault('bad-settings', 'The egress rules cannot be changed while their file cannot be read.', {
        cause: state.problem,
        remedy: 'Correct or remove the file, then restart the daemon.',
      }),
    }
  const result = changeRules(state.rules, change, session)
  if (!result.ok) return { state, refuse: result.error }
  return { ...enforce({ ...state, rules: result.rules }), save: result.rules }
}

export type RulesView = Rules & { managed: ManagedRules; problem: string | null }

export function rulesView({ rules, managed, problem }: PolicyState): RulesView {
  return {
    member: rules?.member ?? { mode: 'none', allow: [], deny: [] },
    sessions: rules?.sessions ?? {},
    managed: managed ?? { hosts: [], decidedBy: 'not known yet', failedClosed: false },
    problem,
  }
}

function enforce(state: PolicyState): PolicyStep {
  const { rules, managed, registries } = state
  return rules === null || managed === null ? { state } : { state, inForce: { ...rules, managed, registries } }
}
