/**
 * Quotas that travel with capabilities: messages (uses, rate), bytes, wall time, model tokens, processes. The client pays: each use is
 * counted at the capability it travelled on and at each that one was derived from, so that handing parts of an account to many does not
 * make it larger. Exhausted is a refusal (`expired` for uses, `quota` for the rest), never a crash.
 *
 * Who counts: the kernel counts uses, rate, bytes and ms; the receiver says what it spent in tokens and processes (`charge`), because only
 * it knows. Processes are held while the request is open and come back when it ends.
 */
import { quotaNames } from './attenuation.ts'
import { type Capability, lineage, type Tables } from './capabilities.ts'
import { fault } from './errors.ts'
import type { Fault, Quota } from './types.ts'

/** Why a message of `bytes` may not be paid for at `now` (epoch ms), or null. */
export function unpayable(tables: Tables, cap: Capability, bytes: number, now: number): Fault | null {
  if (!cap.metered) return null
  for (const { usesLeft, budget, limits, reason, bucket } of lineage(tables, cap)) {
    if (usesLeft !== null && usesLeft <= 0)
      return fault('expired', `The grant "${reason}" was for ${limits.uses} use(s).`, { rule: `uses ${limits.uses}` })
    if (budget)
      for (const name of quotaNames) {
        const left = budget[name]
        if (left === undefined || (name === 'bytes' ? left >= bytes && left > 0 : left > 0)) continue
        return exhausted(reason, name, limits.quota?.[name] ?? 0)
      }
    const { rate } = limits
    if (!rate || !bucket) continue
    const tokens = refilled(bucket.tokens, bucket.at, rate, now)
    if (tokens < 1) {
      const retryAfterMs = Math.ceil(((1 - tokens) * rate.perMs) / rate.messages - 1e-6)
      return fault('quota', `The grant "${reason}" allows ${rate.messages} message(s) in ${rate.perMs} ms.`, {
        rule: `rate ${rate.messages} in ${rate.perMs} ms`,
        retryAfterMs,
      })
    }
  }
  return null
}

/** Pays for one message. Called once, when a send is accepted. */
export function pay(tables: Tables, cap: Capability, bytes: number, now: number): void {
  if (!cap.metered) return
  for (const paying of lineage(tables, cap)) {
    if (paying.usesLeft !== null) paying.usesLeft--
    const { rate } = paying.limits
    if (rate && paying.bucket)
      paying.bucket = { tokens: refilled(paying.bucket.tokens, paying.bucket.at, rate, now) - 1, at: Math.max(now, paying.bucket.at) }
  }
  if (bytes > 0) charge(tables, cap, 'bytes', bytes)
}

/** Takes from a budget all along the line; returns the refusal when one is used up by it. Negative amounts come back. */
export function charge(tables: Tables, cap: Capability, name: keyof Quota, amount: number): Fault | null {
  if (!cap.metered) return null
  let empty: Fault | null = null
  for (const { budget, limits, reason } of lineage(tables, cap)) {
    const left = budget?.[name]
    if (!budget || left === undefined) continue
    budget[name] = left - amount
    if (left - amount < 0) empty ??= exhausted(reason, name, limits.quota?.[name] ?? 0)
  }
  return empty
}

/** The smallest budget of `name` along the line; null when there is none. */
export function remaining(tables: Tables, cap: Capability, name: keyof Quota): number | null {
  if (!cap.metered) return null
  let least: number | null = null
  for (const { budget } of lineage(tables, cap)) {
    const left = budget?.[name]
    if (left !== undefined) least = Math.min(least ?? left, left)
  }
  return least
}

function exhausted(reason: string, name: keyof Quota, limit: number): Fault {
  return fault('quota', `The grant "${reason}" allowed ${limit} ${name}, and they are used up.`, { rule: `quota ${name} ${limit}` })
}

function refilled(tokens: number, at: number, rate: { messages: number; perMs: number }, now: number): number {
  return Math.min(rate.messages, tokens + (Math.max(0, now - at) * rate.messages) / rate.perMs)
}
