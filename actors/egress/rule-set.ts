/**
 * Many host patterns as one set that answers in the time of a few look-ups, however many they are: a name is looked up as it is, then each
 * of its parents among the wildcards. Pure.
 */
import { type HostRule, isAddress, parsePattern } from './host-grammar.ts'

export type HostTarget = {
  /** Canonical. */
  host: string
  /** The one that will be dialled. */
  port: number
}
export type RuleSet = {
  size: number
  /** Bad entries, dropped one by one: they never widen or void the rest. */
  warnings: readonly string[]
  /** The rule that covers the target; of several the most specific. */
  find(target: HostTarget): HostRule | null
}

/** Rules of one host, or of one wildcard's base, by port; 0 stands for any. */
type Ports = Map<number, HostRule>
const anyPort = 0

/** `list` names the entries in warnings. */
export function compileRules(entries: readonly string[], list: string): RuleSet {
  const exact = new Map<string, Ports>()
  const wildcards = new Map<string, Ports>()
  const warnings: string[] = []
  let size = 0
  for (const entry of entries) {
    const parsed = parsePattern(entry)
    if (!parsed.ok) {
      warnings.push(`${list} entry ${JSON.stringify(entry.slice(0, 80))} is ignored: ${parsed.why}`)
      continue
    }
    const { host, wildcard, port } = parsed.value
    const side = wildcard ? wildcards : exact
    const ports: Ports = side.get(host) ?? new Map()
    side.set(host, ports)
    if (!ports.has(port ?? anyPort)) size += 1
    ports.set(port ?? anyPort, parsed.value)
  }
  return {
    size,
    warnings,
    find({ host, port }) {
      const named = at(exact.get(host), port)
      if (named || wildcards.size === 0 || endsAsAddress(host)) return named
      for (const parent of parentsOf(host)) {
        const rule = at(wildcards.get(parent), port)
        if (rule) return rule
      }
      return null
    },
  }
}

/** One decision looks the same host up in several sets: cutting its name up, and hashing the pieces, is most of the work. */
let cut = ''
const parents: string[] = []

/** `a.b.c` has `b.c` and `c`. */
function parentsOf(host: string): readonly string[] {
  if (cut === host) return parents
  parents.length = 0
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) parents.push(host.slice(dot + 1))
  cut = host
  return parents
}

/** A canonical name does not end in a digit label or a bracket; an address does. Cheaper than reading it whole, and asked at each decision. */
function endsAsAddress(host: string): boolean {
  const last = host.charCodeAt(host.length - 1)
  return last === 0x5d || (last >= 0x30 && last <= 0x39 && isAddress(host))
}

function at(ports: Ports | undefined, port: number): HostRule | null {
  return ports?.get(port) ?? ports?.get(anyPort) ?? null
}
