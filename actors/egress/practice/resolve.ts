/** A question about tables and the heads of the tables found -> which columns of which files answer it, or why none does. Pure. */
import { good, matchColumn, measures as measuresSomething, wordsOf } from './column-match.ts'
import { type Op, opNames, type Question, type Test } from './question.ts'
import { type Head, isDate, isNumeric } from './table-head.ts'

export type DatePart = 'year' | 'quarter' | 'month' | 'week' | 'day'
export type GroupColumn = { column: string; part: DatePart | null }
/** `times`: the value is the product of both columns, as with quantity and unit price. `column` null: rows are counted. */
export type MeasureColumn = { op: Op; column: string | null; times: string | null }
export type FilterColumn = { column: string; part: DatePart | null; test: Test; value: string }
export type FilePlan = { head: Head; groups: readonly GroupColumn[]; measures: readonly MeasureColumn[]; where: readonly FilterColumn[] }

export type Plan = {
  files: readonly FilePlan[]
  /** Tables that were looked at and left out. */
  others: readonly string[]
  groupNames: readonly string[]
  measureNames: readonly string[]
  title: string
  /** What was assumed or left out, for the member. */
  notes: readonly string[]
}
export type Resolved = { ok: true; plan: Plan } | { ok: false; why: string }

type Found<T> = { value: T; score: number; note?: string }
type Candidate = FilePlan & { score: number; notes: readonly string[]; nameHits: number }

const dateParts = new Map<string, DatePart>([
  ['year', 'year'],
  ['quarter', 'quarter'],
  ['month', 'month'],
  ['week', 'week'],
  ['day', 'day'],
  ['date', 'day'],
])
const rowWords = new Set([
  'row',
  'order',
  'record',
  'entry',
  'transaction',
  'line',
  'sale',
  'purchase',
  'booking',
  'event',
  'visit',
  'ticket',
  'case',
  'item',
])
const sayNothing = new Set([
  'the',
  'in',
  'on',
  'to',
  'at',
  'of',
  'for',
  'from',
  'sold',
  'made',
  'column',
  'table',
  'all',
  'name',
  'data',
  'respectively',
  'total',
  'amount',
  'value',
  'number',
  'figure',
  'please',
  'i',
  'it',
])

export function resolve(question: Question, heads: readonly Head[]): Resolved {
  const candidates = heads.flatMap((head): Candidate[] => {
    const found = candidate(question, head)
    return found ? [found] : []
  })
  const best = candidates.toSorted((a, b) => b.nameHits - a.nameHits || b.score - a.score)[0]
  if (!best) return { ok: false, why: noFit(question, heads) }
  // A name that answers exactly beats a file's name: `sales.csv` without a fitting column must not hide one with it.
  const strongest = Math.max(...candidates.map(({ score }) => score))
  const chosen = best.score >= strongest - 15 ? best : (candidates.find(({ score }) => score === strongest) ?? best)
  const files = candidates.filter((one) => sameColumns(one, chosen) && one.nameHits === chosen.nameHits)
  const included = new Set(files.map(({ head }) => head.path))
  const { groups, measures } = chosen
  const groupNames = groups.map(({ column, part }, index) => (part ? capital(part) : (question.groups[index] && column) || column))
  return {
    ok: true,
    plan: {
      files,
      others: heads.filter(({ path }) => !included.has(path)).map(({ path }) => path),
      groupNames,
      measureNames: measures.map((measure) => measureName(measure)),
      title: titleOf(question, measures, groupNames),
      notes: [...new Set([...chosen.notes, ...yearNote(question, files)])],
    },
  }
}

function candidate(question: Question, head: Head): Candidate | null {
  const taken: string[] = []
  const groups: Found<GroupColumn>[] = []
  for (const phrase of question.groups) {
    const found = groupColumn(phrase, head, taken)
    if (!found) return null
    taken.push(found.value.column)
    groups.push(found)
  }
  const measured: Found<MeasureColumn>[] = []
  for (const { op, words } of question.measures) {
    const found = measureColumn(op, words, head, taken)
    if (!found) return null
    measured.push(found)
  }
  const where: FilterColumn[] = []
  const unmet: string[] = []
  for (const { words, test, value, guessed } of question.where) {
    const column = bestColumn(words, head, () => true)
    if (!column && guessed) unmet.push(`Not taken into account: "for ${words} ${value}".`)
    if (!column && !guessed) return null
    if (column) where.push({ column: column.value, part: null, test, value })
  }
  const year = question.year === null ? null : yearColumn(head, question.year)
  if (year) where.push(year)
  const found = [...groups, ...measured]
  const asked = new Set(
    [
      ...question.groups,
      ...question.measures.map(({ words }) => words),
      ...(question.year === null ? [] : [String(question.year)]),
    ].flatMap(wordsOf),
  )
  const fileWords = wordsOf(
    head.path
      .split('/')
      .at(-1)
      ?.replace(/\.\w+$/, '') ?? '',
  )
  return {
    head,
    groups: groups.map(({ value }) => value),
    measures: measured.map(({ value }) => value),
    where,
    score: found.length === 0 ? good : found.reduce((sum, { score }) => sum + score, 0) / found.length,
    notes: [
      ...unmet,
      ...found.flatMap(({ note }) => (note ? [note] : [])),
      ...question.groups.flatMap((phrase, index) => unusedNote(phrase, groups[index]?.value.column ?? '')),
    ],
    nameHits: fileWords.filter((word) => asked.has(word)).length,
  }
}

function groupColumn(phrase: string, head: Head, taken: readonly string[]): Found<GroupColumn> | null {
  const named = bestColumn(phrase, head, (column) => !taken.includes(column))
  const part = wordsOf(phrase)
    .map((word) => dateParts.get(word))
    .find((one) => one !== undefined)
  if (part && (!named || named.score < 85)) {
    const date = head.header.find((_, index) => isDate(head, index))
    if (date) return { value: { column: date, part }, score: 85 }
  }
  return named ? { value: { column: named.value, part: null }, score: named.score, ...assumed(phrase, named) } : null
}

function measureColumn(op: Op, words: string, head: Head, groups: readonly string[]): Found<MeasureColumn> | null {
  const free = (column: string) => !groups.includes(column)
  // A column named outright may hold many bad cells; one that is only guessed may not.
  const numeric = (column: string) =>
    free(column) && isNumeric(head, head.header.indexOf(column), matchColumn(words, column) >= 85 ? 0.2 : 0.6)
  const column = (value: string, score: number, note?: string): Found<MeasureColumn> => ({
    value: { op, column: value, times: null },
    score,
    ...(note ? { note } : {}),
  })
  if (op === 'distinct') {
    const named = bestColumn(words, head, () => true)
    return named ? column(named.value, named.score) : null
  }
  const rows = { value: { op: 'count', column: null, times: null }, score: good + 20 } as const
  if (op === 'count') {
    // "How many units by region" asks for their sum; "how many orders" for rows.
    const amount = bestColumn(words, head, (name) => numeric(name) && measuresSomething(name))
    return amount && amount.score >= 66 && /\b(?:units?|quantit|pieces?|items sold|hours?|points?)/i.test(words)
      ? { ...column(amount.value, amount.score), value: { op: 'sum', column: amount.value, times: null } }
      : rows
  }
  const exact = bestColumn(words, head, numeric)
  const fitting =
    exact && exact.score >= 85
      ? exact
      : bestColumn(words, head, (name) => numeric(name) && (measuresSomething(name) || matchColumn(words, name) >= 85))
  if (fitting) return column(fitting.value, fitting.score, assumed(words, fitting).note)
  const asked = wordsOf(words)
  const price = bestColumn('unit price', head, (name) => numeric(name) && /price|rate|preis/i.test(name))
  const quantity = bestColumn('quantity', head, (name) => numeric(name) && measuresSomething(name) && name !== price?.value)
  if (price && quantity && quantity.score >= 60 && asked.some((word) => matchColumn(word, 'revenue') >= good)) {
    return {
      value: { op, column: quantity.value, times: price.value },
      score: 62,
      note: `No column is called "${words}"; it is computed as ${quantity.value} × ${price.value}.`,
    }
  }
  if (asked.length > 0 && asked.every((word) => rowWords.has(word)) && !asked.includes('sale')) return rows
  const general = bestColumn('amount', head, (name) => numeric(name) && measuresSomething(name)) ?? null
  const first = general?.value ?? head.header.find((name) => numeric(name) && measuresSomething(name))
  if (!first) return null
  return column(
    first,
    words === '' ? good : 30,
    words === ''
      ? undefined
      : `No column is called "${words}"; "${first}" is used, the ${general ? 'one that fits best' : 'first with numbers'}.`,
  )
}

function yearColumn(head: Head, year: number): FilterColumn | null {
  const named = head.header.find((name) => wordsOf(name).join(' ') === 'year')
  if (named) return { column: named, part: null, test: 'is', value: String(year) }
  const date = head.header.find((_, index) => isDate(head, index))
  return date ? { column: date, part: 'year', test: 'is', value: String(year) } : null
}

function bestColumn(phrase: string, { header }: Head, allowed: (column: string) => boolean): Found<string> | null {
  const scored = header.filter((name) => name !== '' && allowed(name)).map((name) => ({ value: name, score: matchColumn(phrase, name) }))
  const best = scored.toSorted((a, b) => b.score - a.score)[0]
  return best && best.score >= good ? best : null
}

function assumed(words: string, { value, score }: { value: string; score: number }): { note?: string } {
  return score >= 80 || words === '' ? {} : { note: `"${words}" is taken to be the column "${value}".` }
}

/** Words of a grouping that no column accounts for, like "in the north", must not be dropped silently. */
function unusedNote(phrase: string, column: string): string[] {
  const known = new Set(wordsOf(column))
  const asked = wordsOf(phrase)
  if (!asked.some((word) => known.has(word))) return []
  const unused = asked.filter((word) => !known.has(word) && !sayNothing.has(word) && !dateParts.has(word))
  return unused.length > 0 ? [`Not taken into account: "${unused.join(' ')}".`] : []
}

function yearNote({ year }: Question, files: readonly FilePlan[]): string[] {
  if (
    year === null ||
    files.every(({ head, where }) => where.some(({ value }) => value === String(year)) || head.path.includes(String(year)))
  )
    return []
  return [`There is no date to tell ${year} by; all rows are counted.`]
}

function sameColumns(a: FilePlan, b: FilePlan): boolean {
  const key = ({ groups, measures, where }: FilePlan) =>
    JSON.stringify([
      groups.map(({ column, part }) => [wordsOf(column), part]),
      measures.map(({ op, column, times }) => [op, wordsOf(column ?? ''), wordsOf(times ?? '')]),
      where.map(({ column }) => wordsOf(column)),
    ])
  return key(a) === key(b)
}

function measureName({ op, column, times }: MeasureColumn): string {
  if (column === null) return 'Rows'
  const name = times === null ? column : `${column} × ${times}`
  return op === 'sum' ? `Total ${name}` : op === 'distinct' ? `Distinct ${name}` : `${opNames[op]} ${name}`
}

function titleOf({ measures: asked, top }: Question, measures: readonly MeasureColumn[], groups: readonly string[]): string {
  const names = measures.map(({ op, column }, index) => {
    const words = (asked[index]?.words ?? '').replace(/[⟦⟧\d]+$/g, '').trim()
    return op === 'count' ? `number of ${words || 'rows'}` : `${opNames[op].toLowerCase()} ${words || (column ?? 'rows')}`
  })
  const by = groups.length === 0 ? '' : ` by ${groups.map((name) => name.toLowerCase()).join(' and ')}`
  return capital(`${[...new Set(names)].join(' and ')}${by}${top ? ` (${top.order === 'most' ? 'top' : 'bottom'} ${top.n})` : ''}`)
}

function noFit(question: Question, heads: readonly Head[]): string {
  const wanted = [
    ...question.groups,
    ...question.measures.map(({ words }) => words),
    ...question.where.filter(({ guessed }) => !guessed).map(({ words }) => words),
  ].filter((word) => word !== '')
  const columns = heads.map(({ path, header }) => `- ${path.split('/').at(-1)}: ${header.join(', ')}`)
  return [
    `No table has columns that fit ${wanted.length > 0 ? wanted.map((word) => `"${word}"`).join(', ') : 'the question'}. What there is:`,
    ...columns,
  ].join('\n')
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
