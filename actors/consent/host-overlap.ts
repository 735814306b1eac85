/**
 * What two lists of host patterns both allow. Patterns as the egress actor knows them (`example.com`, `*.example.com`, each with an optional
 * `:port`), on policy's side also a bare `*`. The result is never wider than either list; what cannot be compared is left out.
 */

type Pattern = { host: string; wildcard: boolean; port: string | null }

/** Every overlap of a pattern of the one list with one of the other, without repeats, in the order of the first. */
export function overlap(member: readonly string[], policy: readonly string[]): string[] {
  const found = member.flatMap((text) => {
    if (policy.includes('*')) return [text]
    if (text === '*') return policy
    // Words of egress, such as `@packages`: it holds what they stand for to policy's list itself.
    if (text.startsWith('@')) return [text]
    const wanted = parse(text)
    return wanted === null ? [] : policy.flatMap((other) => common(wanted, parse(other)))
  })
  return [...new Set(found)]
}

/** A pattern in one spelling, a word of egress as it is, or null. */
export function canonicalHostPattern(text: string): string | null {
  if (text === '*' || text === '@packages') return text
  const pattern = parse(text)
  if (pattern === null || (pattern.wildcard && pattern.host.split('.').length < 2)) return null
  return spelled(pattern)
}

function spelled({ wildcard, host, port }: Pattern): string {
  return `${wildcard ? '*.' : ''}${host}${port === null ? '' : `:${port}`}`
}

function common(a: Pattern, b: Pattern | null): string[] {
  if (b === null || (a.port !== null && b.port !== null && a.port !== b.port)) return []
  const narrow = within(a, b) ? a : within(b, a) ? b : null
  if (narrow === null) return []
  const port = a.port ?? b.port
  return [spelled({ ...narrow, port })]
}

/** Whether every host of `inner` is one of `outer`, ports aside. */
function within(inner: Pattern, outer: Pattern): boolean {
  if (!outer.wildcard) return !inner.wildcard && inner.host === outer.host
  return inner.host.endsWith(`.${outer.host}`) || (inner.wildcard && inner.host === outer.host)
}

function parse(text: string): Pattern | null {
  const [, star, name = '', port = null] = /^(\*\.)?([^:/\s*@?#[\]\\]+)(?::(\d+))?$/u.exec(text) ?? []
  try {
    const { hostname } = new URL(`http://${name.endsWith('.') ? name.slice(0, -1) : name}/`)
    return { host: hostname, wildcard: star !== undefined, port }
  } catch {
    return null
  }
}
