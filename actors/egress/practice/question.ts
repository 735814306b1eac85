/** Questions about tables, read from the words alone: what to compute, of what, grouped by what. Pure; columns come later. */
import { filePattern } from './clauses.ts'

export type Op = 'sum' | 'average' | 'median' | 'count' | 'distinct' | 'max' | 'min'
/** `words` as the member wrote them, '' when they named nothing. */
export type Measure = { op: Op; words: string }
export type Test = 'is' | 'is not' | 'contains' | '>' | '>=' | '<' | '<='
/** `guessed`: read from "for product Tea", which may not be meant as a condition at all. */
export type Condition = { words: string; test: Test; value: string; guessed: boolean }
export type Question = {
  measures: readonly Measure[]
  groups: readonly string[]
  /** Named in the prompt; none: all tables found. */
  files: readonly string[]
  where: readonly Condition[]
  year: number | null
  /** Only the first or last `n` by the first measure. */
  top: { n: number; order: 'most' | 'least' } | null
}

type Context = { files: readonly string[]; restore(text: string): string; earlier: Question | null }

const opWords: readonly (readonly [Op, RegExp])[] = [
  ['distinct', /\b(?:(?:number|count)\s+of\s+)?(?:how many\s+)?(?:distinct|unique|different)\b/i],
  ['average', /\b(?:averages?|avg|mean)\b/i],
  ['median', /\bmedian\b/i],
  ['count', /\b(?:how many|number of|count(?:s|ing)?(?:\s+of)?)\b/i],
  ['max', /\b(?:max(?:imum)?|highest|largest|biggest|greatest|most expensive)\b/i],
  ['min', /\b(?:min(?:imum)?|lowest|smallest|cheapest|least)\b/i],
  ['sum', /\b(?:grand total|totals?|totall?ing|sums?|sum up|add(?:ing)? (?:up|together)|tally|aggregate)\b/i],
]
const numberWords: Record<string, number> = { one: 1, two: 2, three: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9, ten: 10 }
const asking =
  /^(?:(?:show|tell|give|get|find|calculate|compute|determine|work out|figure out|report|analy[sz]e|display|list|print|summari[sz]e|what(?:'s| is| are| was| were)?|do|make|please)\s+(?:me\s+|us\s+|out\s+)*)+/i
const notTables =
  /^(?:write|save|put|store|create|make|produce|generate|export|output|run|execute|read|open|cat|replace|change|edit|fetch|download)\b/i
const grouping =
  /^(?<head>.*?)\s*,?\s*\b(?:(?:group(?:ed|ing)?|broken? down|break ?down|split|aggregated?|summed|totall?ed|categori[sz]ed)\s+by(?:\s+each)?|for (?:each|every)|in each|by(?:\s+each)?|per|each)\s+(?<groups>.+)$/is

/** Null when the words do not ask about a table. */
export function readQuestion(clause: string, context: Context): Question | null {
  if (notTables.test(clause)) return null
  const { text, where, year } = takeConditions(clause, context)
  const bare = tidy(withoutFiles(text))
    .replace(asking, '')
    .replace(/^(?:an?\s+|the\s+)?(?:breakdown|overview|summary|table|list|report|chart)\s+(?:of|for|with|showing)\s+/i, '')
    .replace(/^(?:the|our|my|all)\s+/i, '')
  const rest = { files: context.files, where, year, top: null }
  return ranked(bare, rest) ?? followUp(bare, rest, context.earlier) ?? grouped(bare, rest) ?? whole(bare, rest)
}

/** How an operation is called in titles: `Total sales`. */
export const opNames: Record<Op, string> = {
  sum: 'Total',
  average: 'Average',
  median: 'Median',
  count: 'Number of',
  distinct: 'Distinct',
  max: 'Highest',
  min: 'Lowest',
}

type Rest = Omit<Question, 'measures' | 'groups'>

function ranked(text: string, rest: Rest): Question | null {
  const [, group, how = '', words = ''] =
    /^which\s+(.+?)\s+(?:has|had|have|having|sold|made|earned|got|is|are|was|were|with|brought in)\s+(?:the\s+)?(most|highest|largest|biggest|greatest|best|top|lowest|least|fewest|smallest|worst)\s*(.*)$/i.exec(
      text,
    ) ?? []
  if (group) return { ...rest, groups: groupPhrases(group), measures: readMeasures(words, 'sum'), top: { n: 1, order: least(how) } }
  const [, place = '', count, what, by] =
    /^(top|bottom|best|worst|largest|biggest|highest|lowest|smallest)\s+(\d+|one|two|three|four|five|six|seven|eight|nine|ten)?\s*(.+?)\s+(?:by|in terms of|with the (?:most|highest|least|lowest)|ranked by|in)\s+(.+)$/i.exec(
      text,
    ) ?? []
  if (!what || !by || (count === undefined && !/^(?:top|bottom)$/i.test(place))) return null
  return {
    ...rest,
    groups: groupPhrases(what),
    measures: readMeasures(by, 'sum'),
    top: { n: count ? (numberWords[count.toLowerCase()] ?? Math.max(1, Number(count))) : 5, order: least(place) },
  }
}

function followUp(text: string, rest: Rest, earlier: Question | null): Question | null {
  if (!earlier) return null
  const same = {
    ...rest,
    files: rest.files.length > 0 ? rest.files : earlier.files,
    where: [...earlier.where, ...rest.where],
    year: rest.year ?? earlier.year,
  }
  const [, groups] =
    /^(?:(?:how )?about\s+)?(?:the\s+)?(?:same\s+)?(?:thing\s+)?(?:but\s+)?(?:by|per|for each)\s+(.+?)(?:\s+(?:instead|too|as well))?$/i.exec(
      text,
    ) ?? []
  if (groups) return { ...same, measures: earlier.measures, groups: groupPhrases(groups) }
  const [, op] = /^(?:(?:how )?about\s+)?(?:the\s+)?(\w+)(?:\s+(?:instead|too|as well))?$/i.exec(text) ?? []
  const found = op && !/^\w+$/.test(text) ? findOp(op) : null
  return found ? { ...same, groups: earlier.groups, measures: earlier.measures.map(({ words }) => ({ op: found.op, words })) } : null
}

function grouped(text: string, rest: Rest): Question | null {
  const { head, groups } = grouping.exec(text)?.groups ?? {}
  if (head === undefined || groups === undefined) return null
  const measuresText = head.replace(/^(?:group|break down|split|breakdown(?: of)?)\s*/i, '')
  const hasOp = findOp(measuresText) !== null
  if (
    !hasOp &&
    (measuresText === ''
      ? head === ''
      : measuresText.split(/\s+/).length > 5 ||
        /\b(?:files?|folders?|lines?|sort(?:ed)?|written|made|created|order(?:ed)? )\b/i.test(measuresText))
  )
    return null
  const phrases = groupPhrases(groups)
  return phrases.length === 0 ? null : { ...rest, groups: phrases, measures: readMeasures(measuresText, 'sum') }
}

function whole(text: string, rest: Rest): Question | null {
  const found = findOp(text)
  if (!found || found.at > 0 || /\b(?:files?|folders?|director(?:y|ies)|documents?)\b/i.test(text)) return null
  if (rest.files.some((file) => /\.(?:md|txt|log|json|html?)$/i.test(file))) return null
  return { ...rest, groups: [], measures: readMeasures(text, 'sum') }
}

function readMeasures(text: string, fallback: Op): Measure[] {
  const measures: Measure[] = []
  for (const piece of text.split(/\s*(?:,|\band\b|\bplus\b|&)\s*/i)) {
    const found = findOp(piece)
    const words = found ? `${piece.slice(0, found.at)} ${piece.slice(found.at + found.length)}` : piece
    measures.push({ op: found?.op ?? measures.at(-1)?.op ?? fallback, words: plainWords(words) })
  }
  // "total and average sales": the first has the words of the second.
  return measures.map((measure, index) =>
    measure.words === '' ? { ...measure, words: measures.slice(index).find(({ words }) => words !== '')?.words ?? '' } : measure,
  )
}

function findOp(text: string): { op: Op; at: number; length: number } | null {
  const found = opWords.flatMap(([op, words]) => {
    const match = words.exec(text)
    return match ? [{ op, at: match.index, length: match[0].length }] : []
  })
  return found.toSorted((a, b) => a.at - b.at || b.length - a.length)[0] ?? null
}

function groupPhrases(text: string): string[] {
  return text
    .replace(/\s*\([^)]*\)/g, '')
    .split(/\s*(?:,|\band\b|\bthen by\b|&|\/)\s*/i)
    .map((phrase) => plainWords(phrase.replace(/^by\s+/i, '')))
    .filter((phrase) => phrase !== '')
}

function plainWords(text: string): string {
  return text
    .replace(
      /\b(?:the|an?|all|our|my|of|up|each|every|values?|columns?|there|are|is|was|were|do|does|did|we|have|has|had|they|in total|overall|together)\b/gi,
      ' ',
    )
    .replace(/[^\p{L}\p{N}_%$€£#.⟦⟧-]+/gu, ' ')
    .trim()
}

function takeConditions(clause: string, { restore }: Context): { text: string; where: Condition[]; year: number | null } {
  const where: Condition[] = []
  let text = clause.replace(
    /\b(?:where|with|when|if|whose)\s+(?:the\s+)?([\w ]+?)\s*(is not|isn't|!=|<>|is (?:greater|more|larger|higher) than|is (?:less|lower|smaller|fewer) than|is at least|is at most|is over|is above|is under|is below|contains|equals?|is|>=|<=|==|=|>|<)\s*(⟦\d+⟧|[^\s,]+(?:\s+(?!by\b|per\b|for\b|in\b|from\b|and\b|grouped\b)[^\s,]+)*)/gi,
    (_, words: string, test: string, value: string) => {
      where.push({ words: words.trim(), test: testOf(test), value: restore(value), guessed: false })
      return ' '
    },
  )
  text = text.replace(
    /\bfor\s+(?:the\s+)?(?!each\b|every\b|all\b|year\b)([\p{L}_]+)\s+(⟦\d+⟧|[\p{L}\p{N}][\p{L}\p{N} _-]*?)(?=\s+(?:by|per|grouped)\b|$)/giu,
    (all, words: string, value: string) => {
      if (/^(?:by|per|and|in|from)\b/i.test(value)) return all
      where.push({ words, test: 'is', value: restore(value), guessed: true })
      return ' '
    },
  )
  const [found, digits] = /\b(?:in|for|during|of|from)\s+(?:the year\s+)?((?:19|20)\d\d)\b/i.exec(text) ?? []
  if (found) text = text.replace(found, ' ')
  return { text: tidy(text), where, year: digits ? Number(digits) : null }
}

function testOf(words: string): Test {
  const text = words.toLowerCase()
  if (/not|isn't|!=|<>/.test(text)) return 'is not'
  if (text === 'contains') return 'contains'
  if (/>=|at least/.test(text)) return '>='
  if (/<=|at most/.test(text)) return '<='
  if (/>|greater|more|larger|higher|over|above/.test(text)) return '>'
  if (/<|less|lower|smaller|fewer|under|below/.test(text)) return '<'
  return 'is'
}

function withoutFiles(text: string): string {
  return text
    .replace(
      new RegExp(
        `\\s*\\b(?:(?:in|from|of|using|over|across|for|with)\\s+)?(?:the\\s+)?(?:(?:csv|tsv|data)\\s+)?(?:files?\\s+)?${filePattern}(?:(?:\\s*,\\s*|\\s+and\\s+)(?:the\\s+)?${filePattern})*(?:\\s+files?)?`,
        'gi',
      ),
      ' ',
    )
    .replace(/\s*\b(?:in|from|under|inside)\s+(?:the\s+)?(?:folder\s+)?[\w.-]*\/[\w./-]*/gi, ' ')
    .replace(
      /\s*\b(?:in|from|of|using|over|across)\s+(?:all\s+|the\s+|these\s+|my\s+|this\s+|that\s+|connected\s+|our\s+|every\s+|each\s+)*(?:[\w-]+\s+)?(?:csvs?|tsvs?|files?|folders?|data|datasets?|tables?|spreadsheets?|directory)(?:\s+(?:files?|folders?|data))?\b/gi,
      ' ',
    )
}

function tidy(text: string): string {
  return text
    .replace(/\s*\b(?:sorted|ordered|ranked)\b.*$/i, '')
    .replace(/\s*\bin (?:descending|ascending|alphabetical) order\b/gi, '')
    .replace(/\s*\bas an?\s+(?:markdown\s+)?(?:table|list|report)\b/gi, '')
    .replace(/\s*\b(?:using|with|in) python\b/gi, '')
    .replace(/\s+/g, ' ')
    .trim()
}

function least(word: string): 'most' | 'least' {
  return /^(?:lowest|least|fewest|smallest|worst|bottom)$/i.test(word) ? 'least' : 'most'
}
