/** The first lines of a CSV-like file: its delimiter, header, and what its columns hold. Pure. */

export type Head = {
  path: string
  delimiter: ',' | ';' | '\t' | '|'
  /** Records before the header (blank lines, a title, `sep=;`). */
  skip: number
  header: readonly string[]
  /** Sample rows as wide as the header. */
  rows: readonly (readonly string[])[]
}

const delimiters = [',', ';', '\t', '|'] as const

/** Null when there is no header of at least one column. `lines` may end in the middle of a quoted field. */
export function readHead(path: string, lines: readonly string[]): Head | null {
  const text = lines
    .join('\n')
    .replace(/^\ufeff/, '')
    .replaceAll('\r', '')
  const [, declared] = /^sep=(.)\n/i.exec(text) ?? []
  const tried = delimiters.map((delimiter) => ({ delimiter, records: records(text, delimiter) }))
  const chosen = tried.find(({ delimiter }) => delimiter === declared) ?? tried.toSorted((a, b) => fit(b.records) - fit(a.records))[0]
  if (!chosen) return null
  const { delimiter, records: found } = chosen
  const width = typicalWidth(found.slice(declared ? 1 : 0))
  const skip = found.findIndex(
    (record, index) =>
      (index > 0 || !declared) && record.length === width && record.filter((cell) => cell !== '').length >= Math.min(2, width),
  )
  const header = found[skip]
  if (skip === -1 || !header) return null
  return { path, delimiter, skip, header, rows: found.slice(skip + 1).filter((record) => record.length === width) }
}

/** Whether at least `share` of the filled cells of a column read as numbers. */
export function isNumeric({ rows }: Head, column: number, share = 0.6): boolean {
  const filled = rows.map((row) => row[column] ?? '').filter((cell) => cell !== '')
  return filled.length === 0 ? rows.length === 0 : filled.filter(looksNumeric).length / filled.length >= share
}

export function isDate({ rows }: Head, column: number): boolean {
  const filled = rows.map((row) => row[column] ?? '').filter((cell) => cell !== '')
  const dates = filled.filter((cell) =>
    /^\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([ T].*)?$|^\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T].*)?$|^\d{1,2}[. -]+[a-z]{3,9}\.?,?[ -]+\d{4}$|^[a-z]{3,9}\.? \d{1,2},? \d{4}$/i.test(
      cell,
    ),
  )
  return filled.length > 0 && dates.length / filled.length >= 0.6
}

function looksNumeric(cell: string): boolean {
  const bare = cell.replace(/^\((.*)\)$/, '-$1').replace(/\p{Sc}|\b(?:usd|eur|gbp|chf|jpy|cad|aud|sek|nok|dkk|kr|fr)\b\.?|[\s'’%]/giu, '')
  return /^[+-]?[\d.,]*\d[\d.,]*(?:e[+-]?\d+)?-?$/i.test(bare) && !/^\d{1,4}[./]\d{1,2}[./]\d{1,4}$/.test(cell)
}

/** RFC 4180 with a delimiter; a quote only opens at the start of a field. */
function records(text: string, delimiter: string): string[][] {
  const out: string[][] = []
  let record: string[] = []
  let cell = ''
  let quoted = false
  const endCell = () => {
    record.push(cell.trim())
    cell = ''
  }
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at)
    if (quoted) {
      if (char !== '"') cell += char
      else if (text.charAt(at + 1) === '"') {
        cell += '"'
        at += 1
      } else quoted = false
    } else if (char === '"' && cell.trim() === '') {
      cell = ''
      quoted = true
    } else if (char === delimiter) endCell()
    else if (char === '\n') {
      endCell()
      out.push(record)
      record = []
    } else cell += char
  }
  if (cell !== '' || record.length > 0) {
    endCell()
    out.push(record)
  }
  return out.filter((one) => one.some((value) => value !== ''))
}

/** How well a delimiter explains the text: columns, and how many records agree on them. */
function fit(found: readonly (readonly string[])[]): number {
  const width = typicalWidth(found)
  if (width < 2) return 0
  return (found.filter((record) => record.length === width).length / found.length) * 100 + width
}

function typicalWidth(found: readonly (readonly string[])[]): number {
  const counts = new Map<number, number>()
  for (const { length } of found) counts.set(length, (counts.get(length) ?? 0) + 1)
  return [...counts].toSorted(([widthA, a], [widthB, b]) => b - a || widthB - widthA)[0]?.[0] ?? 0
}
