/**
 * Attenuation: what a capability still allows, and that passing it on can only allow less. Pure, so that the router, the checker and a test
 * by property ask the same functions.
 *
 *   kinds, hosts, tools   the names both lists have; a list of patterns is compared as text, so that `a.example.com` under
 *                         `*.example.com` is given up rather than guessed at
 *   expiresAt, uses       the smaller
 *   quota, rate           the smaller of each; and every capability it was derived from keeps its own count (capabilities.ts)
 *   mode                  `ro` wins
 *   session               set once
 *   path                  the inner one; one outside is refused, one with `..` always
 */
import { fault } from './errors.ts'
import type { Fault, Limits, Quota } from './types.ts'

export const quotaNames = ['bytes', 'ms', 'tokens', 'processes'] as const satisfies readonly (keyof Quota)[]

/** Intersection of two limits. A `Fault` when they contradict (another session, a path outside). */
export function narrow(parent: Limits, child: Limits): Limits | Fault {
  const merged: { -readonly [K in keyof Limits]: Limits[K] } = {}
  for (const key of ['kinds', 'hosts', 'tools'] as const) {
    const list = both(parent[key], child[key], (a, b) => b.filter((item) => a.includes(item)))
    if (list) merged[key] = list
  }
  for (const key of ['expiresAt', 'uses'] as const) {
    const least = both(parent[key], child[key], Math.min)
    if (least !== undefined) merged[key] = least
  }
  const quota = both(parent.quota, child.quota, smallest)
  if (quota) merged.quota = quota
  const rate = both(parent.rate, child.rate, (a, b) => (b.messages * a.perMs < a.messages * b.perMs ? b : a))
  if (rate) merged.rate = rate
  const mode = both(parent.mode, child.mode, (a, b) => (a === 'ro' ? a : b))
  if (mode) merged.mode = mode
  if (parent.session !== undefined && child.session !== undefined && parent.session !== child.session)
    return fault('attenuated', 'A capability of one session cannot be passed to another.', { rule: `session ${parent.session}` })
  const session = parent.session ?? child.session
  if (session !== undefined) merged.session = session
  if (child.path !== undefined && !isInside(child.path, parent.path ?? ''))
    return fault('attenuated', 'The path is outside the one the capability allows.', {
      rule: `path ${parent.path ?? '(the whole folder)'}`,
    })
  const path = child.path ?? parent.path
  if (path !== undefined) merged.path = path
  return merged
}

function smallest(a: Quota, b: Quota): Quota {
  const merged: { -readonly [K in keyof Quota]: Quota[K] } = {}
  for (const name of quotaNames) {
    const least = both(a[name], b[name], Math.min)
    if (least !== undefined) merged[name] = least
  }
  return merged
}

function both<T, R>(a: T | undefined, b: T | undefined, combine: (a: T, b: T) => R): T | R | undefined {
  if (a === undefined) return b
  return b === undefined ? a : combine(a, b)
}

/** Whether relative path `path` is `folder` or lies below it; '' is the whole root. Neither may contain `..`. */
export function isInside(path: string, folder: string): boolean {
  if (path.split('/').includes('..')) return false
  return folder === '' || path === folder || path.startsWith(`${folder}/`)
}
