/**
 * A prompt cut into requests, one verb each. What is quoted, in backticks, fenced, or a URL is put aside first, so that no word in it
 * is taken for a request. Pure.
 */

/** `raw` is what was put aside, without its quotes; `source` is with them. */
export type Aside = { kind: 'code' | 'quote' | 'url'; raw: string; source: string; language?: string }
export type Clauses = { clauses: readonly string[]; asides: readonly Aside[] }

/** One aside in a clause, or one file-like word. */
export const asidePattern = '⟦\\d+⟧'
export const filePattern = `(?:${asidePattern}|[~./\\w@%+-]*[\\w~-]\\.[A-Za-z]\\w{0,9}(?![\\w/])|(?<![\\w.~])(?:\\.{1,2}|~)?\\/[^\\s,;]+)`

const verbs =
  'use|call|invoke|list|show|display|read|open|print|cat|view|search|find|grep|look|locate|total|sum|add|tally|append|delete|remove|move|rename|analy[sz]e|inspect|count|average|calculate|compute|work|tabulate|aggregate|group|break|run|execute|exec|fetch|download|get|visit|summari[sz]e|describe|edit|replace|change|substitute|write|save|store|put|create|make|produce|generate|output|export|tell|give|what|which|how|where'

const politeness =
  /^(?:please|now|then|next|first|finally|lastly|after that|also|and|ok(?:ay)?|hey|hi|hello|just|kindly|(?:can|could|would|will) you(?: please)?|i(?:'d| would) like(?: you)? to|i (?:want|need)(?: you)? to|help me(?: to)?|let'?s|let us|go ahead and|(?:do|perform|carry out|complete) (?:the following|these(?: things| steps| tasks)?|this)|(?:use|using|with) (?:python|bash|a script|the (?:vm|workspace|shell|terminal))(?: to)?|try to)\b[\s,:]*/i

const alone = new RegExp(`^(?:in|from|using|with)\\s+(?:the\\s+)?(?:file\\s+)?${filePattern}$`, 'i')

export function splitPrompt(prompt: string): Clauses {
  const { text, asides } = putAside(prompt)
  const clauses = text
    .replace(/^\s*(?:[-*•]|\d+[.)])\s+/gm, '')
    .split(/\n+|(?<=[^\s.])[.!?;](?=\s|$)/)
    .flatMap((sentence) =>
      sentence.split(
        new RegExp(`(?:\\s*,\\s*(?:and\\s+|then\\s+|also\\s+)*|\\s+(?:and|then|also)\\s+(?:then\\s+|also\\s+)*)(?=(?:${verbs})\\b)`, 'i'),
      ),
    )
    .map(trimClause)
    .filter((clause) => clause !== '')
  return { clauses: placesAfter(clauses), asides }
}

/** "In notes.txt, replace a with b": the place is put where it usually stands, after the request it belongs to. */
function placesAfter(clauses: readonly string[]): string[] {
  return clauses.flatMap((clause, index) => {
    if (alone.test(clause) && index + 1 < clauses.length) return []
    const before = clauses[index - 1]
    return [before !== undefined && alone.test(before) ? `${clause} ${before}` : clause]
  })
}

/** Asides put back as they were meant. */
export function restore(text: string, asides: readonly Aside[]): string {
  return text.replace(/⟦(\d+)⟧/g, (_, index) => asides[Number(index)]?.raw ?? '')
}

/** The aside a text consists of, if it is exactly one. */
export function onlyAside(text: string, asides: readonly Aside[]): Aside | null {
  const [, index] = /^⟦(\d+)⟧$/.exec(text.trim()) ?? []
  return index === undefined ? null : (asides[Number(index)] ?? null)
}

function putAside(prompt: string): { text: string; asides: Aside[] } {
  const asides: Aside[] = []
  const aside = (entry: Aside) => `⟦${asides.push(entry) - 1}⟧`
  const text = prompt
    .replace(/[⟦⟧]/g, '')
    .replace(/```(\w*)\n?([\s\S]*?)```/g, (source, language: string, raw: string) =>
      aside({ kind: 'code', raw: raw.replace(/\n$/, ''), source, language }),
    )
    .replace(/`([^`\n]+)`/g, (source, raw: string) => aside({ kind: 'code', raw, source }))
    .replace(/"([^"]*)"|“([^”]*)”|(?<![\w])'([^'\n]*)'(?!\w)|‘([^’\n]*)’/g, (source, a?: string, b?: string, c?: string, d?: string) =>
      aside({ kind: 'quote', raw: a ?? b ?? c ?? d ?? '', source }),
    )
    .replace(/\bhttps?:\/\/[^\s<>⟦⟧]*[^\s<>⟦⟧.,;:!?)\]'"]/gi, (raw: string) => aside({ kind: 'url', raw, source: raw }))
  return { text, asides }
}

function trimClause(clause: string): string {
  let text = clause.trim()
  for (let before = ''; before !== text; ) {
    before = text
    text = text.replace(politeness, '')
  }
  return text
    .replace(/[\s,]+(?:please|thanks|thank you)$/i, '')
    .replace(/[\s,:.!?]+$/, '')
    .trim()
}
