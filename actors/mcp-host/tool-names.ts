/** Names by which a model knows the tools of servers. Pure. */
import { maxToolName } from './limits.ts'

/** `mcp__server__tool`, in the characters and the length the Messages API takes. What is too long keeps a mark of its whole self. */
export function toolName(server: string, tool: string): string {
  const whole = `${serverPrefix(server)}${plain(tool)}`
  return whole.length <= maxToolName ? whole : `${whole.slice(0, maxToolName - 9)}_${mark(`${server}\n${tool}`)}`
}

export const serverPrefix = (server: string): string => `mcp__${plain(server)}__`

function plain(text: string): string {
  return text.replace(/[^a-zA-Z0-9_-]+/g, '_')
}

/** FNV-1a, 32 bits: it tells names apart, it protects nothing. */
export function mark(text: string): string {
  let hash = 0x811c9dc5
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0
  return hash.toString(16).padStart(8, '0')
}
