/** Whose pages a search may bring: what the egress rules say, as the provider of the search takes it. Pure. */
import type { BearerPolicy } from './egress-policy.ts'
import { isAddress, parsePattern } from './host-grammar.ts'
import { limits } from './limits.ts'

/** What the caller wants besides: only these, or none of these. */
export type SearchWish = { only?: readonly string[] | undefined; without?: readonly string[] | undefined }
/** The provider takes one of them at most. */
export type SearchDomains = { allowed_domains?: string[]; blocked_domains?: string[] }

/**
 * A provider knows names with all that is below them, and no ports: this asks for no less than the rules allow, and what they do not allow
 * is taken out of the answer. Null: there is nothing that could be asked for.
 */
export function searchDomains(
  { allow, deny }: ReturnType<BearerPolicy['scope']>,
  { only = [], without = [] }: SearchWish,
): SearchDomains | null {
  if (only.length > 0 || allow !== null) {
    const allowed_domains = domains(only.length > 0 ? only : (allow ?? []))
    return allowed_domains.length === 0 ? null : { allowed_domains }
  }
  const blocked_domains = domains([...without, ...deny])
  return blocked_domains.length === 0 ? {} : { blocked_domains }
}

/** Of addresses there are no pages that are searched. */
function domains(patterns: readonly string[]): string[] {
  const names = patterns.flatMap((pattern) => {
    const parsed = parsePattern(pattern)
    return parsed.ok && !isAddress(parsed.value.host) ? [parsed.value.host] : []
  })
  return [...new Set(names)].slice(0, limits.searchDomains)
}
