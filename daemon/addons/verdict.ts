/** Whether an actor from outside may run: somebody agreed to exactly this code and manifest, and policy does not forbid it. Pure. */
import type { Stored } from './store.ts'

/** `list`: null when nobody decided. `decidedBy`: the key, and who set it. */
export type Allowed = { list: readonly string[] | null; decidedBy: string }

export type Verdict =
  | { run: true; by: string }
  /** `disabled`: by policy. `new`, `changed`: nobody agreed to what it is now. `waiting`: policy is not known. */
  | { run: false; state: 'disabled' | 'new' | 'changed' | 'waiting'; why: string }

/** @param policy null: not known yet, so nothing may run */
export function verdict({ name, hash, consent }: Pick<Stored, 'name' | 'hash' | 'consent'>, policy: Allowed | null): Verdict {
  if (policy === null) return { run: false, state: 'waiting', why: 'the policy of this device is not known yet' }
  const forbidden = forbids(name, hash, policy)
  if (forbidden) return { run: false, state: 'disabled', why: forbidden }
  // The administrator's word on exactly this code needs no other.
  if (policy.list?.includes(`${name}@${hash}`)) return { run: true, by: policy.decidedBy }
  if (consent === null) return { run: false, state: 'new', why: 'nobody has allowed it' }
  if (consent.hash !== hash) return { run: false, state: 'changed', why: `it changed since ${consent.by} allowed it on ${consent.at}` }
  return { run: true, by: consent.by }
}

/** Why policy does not allow it, or null. An entry with a hash allows that code only. */
export function forbids(name: string, hash: string, { list, decidedBy }: Allowed): string | null {
  if (list === null || list.includes(name) || list.includes(`${name}@${hash}`)) return null
  const other = list.some((entry) => entry.startsWith(`${name}@`))
  return `${decidedBy}: ${other ? 'it is allowed as another version only' : 'it is not allowed'}`
}
