/** A policy in force, for tests: what the real one makes of a few inputs. */
import { type Access, createPolicyHolder } from '../access.ts'
import { createDecisionLog } from '../decision-log.ts'
import { noRules, type PolicyInputs } from '../egress-policy.ts'

export function inputsWith(inputs: Partial<PolicyInputs>): PolicyInputs {
  return { member: noRules, sessions: {}, managed: { hosts: null, decidedBy: 'default', failedClosed: false }, registries: [], ...inputs }
}

/** What a capability with these hosts reaches; nobody can be asked. */
export function accessTo(hosts: readonly string[], inputs: Partial<PolicyInputs> = {}): Promise<Access> {
  const holder = createPolicyHolder(() => Promise.reject(new Error('nobody is asked')), createDecisionLog())
  holder.apply(inputsWith(inputs))
  return holder.access({ session: 's-1', hosts }, 'fetch')
}
