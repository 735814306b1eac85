/** Results as Markdown. Pure. */
import { resultMark, type TableResult } from './python.ts'
import type { Question } from './question.ts'
import type { Plan } from './resolve.ts'

/** Rows of a table told in an answer; a report has all. */
const toldRows = 20

/** `names`: of the plan's files, as people know them. */
export function tableReport(plan: Plan, question: Question, result: TableResult, names: readonly string[]): { body: string; told: string } {
  const rows = ranked(question, result)
  const places = plan.measureNames.map((_, index) =>
    decimals([...rows.map(({ values }) => values[index] ?? null), result.total.values[index] ?? null]),
  )
  const format = (values: readonly (string | null)[]) =>
    values.map((value, index) => (value === null ? '–' : rounded(value, places[index] ?? 0)))
  const showTotal = plan.groupNames.length > 0 && !question.top && plan.measureNames.length > 0
  const head = plan.groupNames.length > 0 ? [...plan.groupNames, ...plan.measureNames] : plan.measureNames
  const tableOf = (shown: typeof rows) =>
    markdownTable(
      head,
      [
        ...shown.map(({ key, values }) => [...key, ...format(values)]),
        ...(showTotal
          ? [
              [
                `**${totalName(question)}**`,
                ...plan.groupNames.slice(1).map(() => ''),
                ...format(result.total.values).map((value) => `**${value}**`),
              ],
            ]
          : []),
      ],
      plan.groupNames.length,
    )
  const grand = plan.measureNames.map(
    (name, index) =>
      `${totalName(question)}, ${name.charAt(0).toLowerCase()}${name.slice(1)}: **${format(result.total.values)[index] ?? '–'}**`,
  )
  const sources = result.files.map(
    ({ rows: read, used }, index) => `- \`${names[index] ?? ''}\`: ${count(read, 'row')} read, ${used} counted`,
  )
  const remarks = [
    ...plan.notes,
    ...(result.groups > result.rows.length
      ? [`${result.groups} groups; the first ${result.rows.length} are listed, the total covers all.`]
      : []),
    ...(result.filtered > 0 ? [`${count(result.filtered, 'row')} did not meet the condition.`] : []),
    ...(result.summaryRows > 0
      ? [`${count(result.summaryRows, 'row')} of totals inside the data left out, so that nothing counts twice.`]
      : []),
    result.skipped === 0
      ? 'Rows skipped as unreadable: 0.'
      : `Rows skipped as unreadable: ${result.skipped} (${result.skippedExamples.join('; ')}${result.skipped > result.skippedExamples.length ? '; …' : ''}).`,
  ]
  const rest = (shown: typeof rows) => [
    ...(plan.groupNames.length > 0 && !question.top ? ['', ...grand] : []),
    ...(shown.length < rows.length ? ['', `(${rows.length - shown.length} more groups)`] : []),
  ]
  const body = [
    tableOf(rows),
    ...rest(rows),
    '',
    '## Source',
    '',
    ...sources,
    `- Rows counted: ${result.total.count}`,
    ...remarks.map((remark) => `- ${remark}`),
  ].join('\n')
  const short = rows.slice(0, toldRows)
  const heeded = remarks.filter((remark) => !remark.endsWith(': 0.'))
  return {
    body,
    told: [tableOf(short), ...rest(short), ...(heeded.length > 0 ? ['', ...heeded.map((remark) => `- ${remark}`)] : [])].join('\n'),
  }
}

/** What a report consists of, whatever the sections are about. */
export function reportDocument(sections: readonly { title: string; body: string }[]): string {
  const [only, ...others] = sections
  const text =
    only && others.length === 0
      ? `# ${only.title}\n\n${only.body}`
      : `# Report\n\n${sections.map(({ title, body }) => `## ${title}\n\n${body.replace(/^## /gm, '### ')}`).join('\n\n')}`
  return `${text.trimEnd()}\n`
}

/** Decimal text to `places`, half away from zero; exact, as floats are not. */
function rounded(value: string, places: number): string {
  const [, sign = '', whole = '0', fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(value) ?? []
  const digits = BigInt(whole + fraction.slice(0, places).padEnd(places, '0')) + (Number(fraction[places] ?? 0) >= 5 ? 1n : 0n)
  const text = digits.toString().padStart(places + 1, '0')
  const out = places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`
  return /[1-9]/.test(out) ? sign + out : out
}

/** What a program printed, without the line meant for the practice model. */
export function printed(output: string): string {
  return output
    .split('\n')
    .filter((line) => !line.startsWith(resultMark))
    .join('\n')
    .trim()
}

function decimals(values: readonly (string | null)[]): number {
  return values.some((value) => value?.includes('.')) ? 2 : 0
}

function ranked({ top }: Question, { rows }: TableResult): TableResult['rows'] {
  if (!top) return rows
  const value = ({ values }: TableResult['rows'][number]) => Number(values[0] ?? 0)
  return rows.toSorted((a, b) => (top.order === 'most' ? value(b) - value(a) : value(a) - value(b))).slice(0, top.n)
}

function totalName({ measures }: Question): string {
  return measures.every(({ op }) => op === 'sum' || op === 'count') ? 'Grand total' : 'Overall'
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[], textColumns: number): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replace(/\s+/g, ' ')
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `|${head.map((_, index) => (index < textColumns ? '---' : '---:')).join('|')}|`, ...rows.map(line)].join('\n')
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
}
