/** "Use (the) tool NAME (with {JSON} | key=value, key value, …)": a tool called by its name. Pure. */
import { type Aside, asidePattern, onlyAside, restore } from './clauses.ts'
import type { Intent } from './intents.ts'

export function usingTool(clause: string, asides: readonly Aside[]): Intent | null {
  const [, name, rest = ''] =
    /^(?:use|call|invoke|try)\s+(?:the\s+)?(?:mcp\s+)?tool\s+(\S+?)[,:]?(?:\s+(?:with|on|using|for)(?:\s+(?:the\s+)?(?:input|arguments?|parameters?))?:?\s+([\s\S]+))?$/i.exec(
      clause,
    ) ?? []
  if (name === undefined) return null
  return { do: 'tool', tool: restore(name, asides), input: toolInput(rest, asides) }
}

function toolInput(text: string, asides: readonly Aside[]): Record<string, unknown> {
  // In JSON the quotes belong to it, unless all of it was quoted.
  const whole = onlyAside(text, asides)?.raw ?? text.replace(/⟦(\d+)⟧/g, (_, index) => asides[Number(index)]?.source ?? '')
  if (whole.trim().startsWith('{')) {
    try {
      return JSON.parse(whole) as Record<string, unknown>
    } catch {
      // Not JSON after all: read as words below.
    }
  }
  const pairs = text.matchAll(new RegExp(`([A-Za-z_][\\w-]*)\\s*(?:=|:|\\s)\\s*(${asidePattern}|[^\\s,]+)`, 'g'))
  return Object.fromEntries(
    [...pairs].map(([, key = '', value = '']) => [key, onlyAside(value, asides) ? restore(value, asides) : plainValue(value)]),
  )
}

function plainValue(text: string): unknown {
  if (/^-?\d+(?:\.\d+)?$/.test(text)) return Number(text)
  return text === 'true' ? true : text === 'false' ? false : text
}
