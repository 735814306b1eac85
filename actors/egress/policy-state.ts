/**
 * What egress knows of policy, and how it changes. Pure.
 *
 *   rules file, registries --loaded--\
 *                                     >-- both known --> in force, and again after every change of either
 *   policy's actor --managedChanged--/
 *
 * Until both are known nothing is decided: requests wait, those of effects in their effect, questions and changes of the rules here.
 */
import { fault, type Fault, type Outgoing } from '../../kernel/index.ts'
import type { Policy } from '../policy/protocol.ts'
import type { ManagedRules, PolicyInputs } from './egress-policy.ts'
import { limits } from './limits.ts'
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
  /** Asked before both were known, the first first. */
  held: readonly Question[]
}

type Known = PolicyState & { rules: Rules; managed: ManagedRules }

/** What somebody asks of the rules: to be shown them, or a change. */
export type Question = { request: number; change: { rule: RuleChange; session: string | null } | null }
export type Answer = { request: number } & ({ show: RulesView } | { save: Rules } | { refuse: Fault })

/** What a step leads to: the new state, what to put in force, what becomes of each question that waits no longer, in their order. */
export type PolicyStep = { state: PolicyState; inForce?: PolicyInputs; answers: readonly Answer[] }

export const noPolicyYet: PolicyState = { rules: null, problem: null, registries: [], managed: null, held: [] }

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
  const decides = (key: keyof typeof values): string => decidedBy[key] ?? 'default'
  const hosts = values.coworkEgressAllowedHosts
  const [url, pac] = [values.egressProxyUrl ?? null, values.egressProxyPacUrl ?? null]
  const proxy = { url, pac, decidedBy: decides(pac === null ? 'egressProxyUrl' : 'egressProxyPacUrl') }
  return enforce({ ...state, managed: { hosts, decidedBy: decides('coworkEgressAllowedHosts'), failedClosed, proxy } })
}

export function registriesRead(state: PolicyState, registries: readonly Registry[]): PolicyStep {
  return JSON.stringify(registries) === JSON.stringify(state.registries) ? { state, answers: [] } : enforce({ ...state, registries })
}

export function asked(state: PolicyState, question: Question): PolicyStep {
  if (!isKnown(state)) {
    if (state.held.length < limits.heldQuestions) return { state: { ...state, held: [...state.held, question] }, answers: [] }
    const refuse = fault('overloaded', 'The egress rules are being read, and as many wait for them as may.', { retryAfterMs: 500 })
    return { state, answers: [{ request: question.request, refuse }] }
  }
  const { state: next, answer } = answered(state, question)
  return next.rules === state.rules ? { state: next, answers: [answer] } : { ...enforce(next), answers: [answer] }
}

/** Who gave up is not answered, and what it asked to be changed is not changed. */
export function givenUp(state: PolicyState, request: number): PolicyState {
  return state.held.some((one) => one.request === request) ? { ...state, held: state.held.filter((one) => one.request !== request) } : state
}

/** Saved after it is in force, so that a disk that is full cannot hold up a denial. */
function answered(state: Known, { request, change }: Question): { state: Known; answer: Answer } {
  if (change === null) return { state, answer: { request, show: viewOf(state) } }
  if (state.problem !== null) {
    const refuse = fault('bad-settings', 'The egress rules cannot be changed while their file cannot be read.', {
      cause: state.problem,
      remedy: 'Correct or remove the file, then restart the daemon.',
    })
    return { state, answer: { request, refuse } }
  }
  const result = changeRules(state.rules, change.rule, change.session)
  return result.ok
    ? { state: { ...state, rules: result.rules }, answer: { request, save: result.rules } }
    : { state, answer: { request, refuse: result.error } }
}

export type RulesView = Rules & { managed: ManagedRules; problem: string | null }

function viewOf({ rules, managed, problem }: Known): RulesView {
  return { ...rules, managed, problem }
}

function isKnown(state: PolicyState): state is Known {
  return state.rules !== null && state.managed !== null
}

/** What is known is in force; who waited for it is answered. */
function enforce(before: PolicyState): PolicyStep {
  if (!isKnown(before)) return { state: before, answers: [] }
  let state: Known = { ...before, held: [] }
  const answers: Answer[] = []
  for (const question of before.held) {
    const one = answered(state, question)
    state = one.state
    answers.push(one.answer)
  }
  const { rules, managed, registries } = state
  return { state, inForce: { ...rules, managed, registries }, answers }
}
