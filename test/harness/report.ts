/** Reading totals out of a report meant for people. */

/** Every number in a text, in hundredths; thousands may be set apart by commas, spaces or apostrophes. */
function numbersIn(text: string): number[] {
  return [...text.matchAll(/\d{1,3}(?:[,' \u00a0\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?/g)].map(([match]) =>
    Math.round(Number(match.replaceAll(/[^\d.]/g, '')) * 100),
  )
}

/** The groups whose total is not on a line of the report that names them. Empty: the report is right. */
export function wrongTotals(report: string, totals: ReadonlyMap<string, number>): string[] {
  const lines = report.split('\n')
  return [...totals]
    .filter(([name, cents]) => !lines.some((line) => line.includes(name) && numbersIn(line.replace(name, '')).includes(cents)))
    .map(([name, cents]) => `${name}: expected ${cents / 100}`)
}

/** Totals of comma-separated tables, in hundredths. Written apart from the product, so that the two can disagree. */
export function totalsOf(tables: readonly string[], group: string, amount: string): Map<string, number> {
  const totals = new Map<string, number>()
  for (const table of tables) {
    const [header = [], ...rows] = cellsOf(table)
    const [at, value] = [header.indexOf(group), header.indexOf(amount)]
    for (const row of rows) totals.set(row[at] ?? '', (totals.get(row[at] ?? '') ?? 0) + Math.round(Number(row[value]) * 100))
  }
  return totals
}

function cellsOf(csv: string): string[][] {
  const rows: string[][] = [[]]
  for (const [, quoted, plain = '', end] of csv.trimEnd().matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain)
    if (end === '') break
    if (end !== ',') rows.push([])
  }
  return rows
}
