/** The Python program that computes a plan in the workspace: standard library only, exact decimals, one line of JSON as its result. Pure. */
import type { FilePlan, Plan } from './resolve.ts'

/** The result follows this word on a line of its own. */
export const resultMark = 'TABLE-RESULT'

/** Groups the result lists; the rest is in the totals and counted. Keeps the line well inside what a tool result may hold. */
const mostGroups = 250

export type TableResult = {
  /** `values`: exact decimals as text, in the order of the measures; null where there was nothing to compute from. */
  rows: readonly { key: readonly string[]; values: readonly (string | null)[]; count: number }[]
  total: { values: readonly (string | null)[]; count: number }
  groups: number
  /** In the order of the plan's files. */
  files: readonly { rows: number; used: number }[]
  skipped: number
  skippedExamples: readonly string[]
  filtered: number
  summaryRows: number
}

/** `pathOf`: a file as the workspace sees it. */
export function pythonProgram(plan: Plan, pathOf: (file: FilePlan) => string): string {
  const files = plan.files.map((file) => {
    const { head, groups, measures, where } = file
    const fields = {
      path: pathOf(file),
      delimiter: head.delimiter,
      skip: head.skip,
      groups: groups.map(({ column, part }) => [column, part]),
      measures: measures.map(({ op, column, times }) => [op, column, times]),
      where: where.map(({ column, part, test, value }) => [column, part, test, value]),
    }
    return `    ${literal(fields)},`
  })
  const dated = plan.files.some(({ groups, where }) => [...groups, ...where].some(({ part }) => part !== null))
  return [header, 'FILES = [', ...files, ']', '', numbers, dated ? dates : undatedStub, body].join('\n')
}

export function readResult(output: string): TableResult | null {
  const line = output.split('\n').findLast((one) => one.startsWith(`${resultMark} `))
  if (!line) return null
  try {
    return JSON.parse(line.slice(resultMark.length + 1)) as TableResult
  } catch {
    return null
  }
}

/** JSON as Python: only `null` differs, and text is kept ASCII so that no locale can spoil it. */
function literal(value: unknown): string {
  if (value === null) return 'None'
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`
  if (typeof value === 'object')
    return `{${Object.entries(value)
      .map(([name, one]) => `${literal(name)}: ${literal(one)}`)
      .join(', ')}}`
  if (typeof value !== 'string') return JSON.stringify(value)
  const escaped = Array.from(value).map((char) => {
    const code = char.codePointAt(0) ?? 0
    if (char === '"' || char === '\\') return `\\${char}`
    if (code >= 0x20 && code < 0x7f) return char
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
  return `"${escaped.join('')}"`
}

const header = `import csv, io, json, re, unicodedata
from decimal import Decimal, InvalidOperation
`

const numbers = `def bare(text):
    """A number without currency, blanks and percent sign; (5) and 5- are negative."""
    text = re.sub(r"(?i)(?<![a-z])(usd|eur|gbp|chf|jpy|cad|aud|sek|nok|dkk|kr|fr)(?![a-z])\\.?", "", text.strip())
    text = "".join(c for c in text if not c.isspace() and c not in "'\\u2019%" and unicodedata.category(c) != "Sc")
    text = text.replace("\\u2212", "-")
    if re.fullmatch(r"\\(.*\\)", text):
        text = "-" + text[1:-1]
    if re.fullmatch(r"[^-]+-", text):
        text = "-" + text[:-1]
    return text

def comma_is_decimal(texts, delimiter):
    """Whether a column writes 1.234,5 rather than 1,234.5, judged by all its values."""
    comma = sum(bool(re.search(r"\\.\\d{3},|^[^.,]*,(\\d{1,2}|\\d{4,})$", t)) for t in texts)
    point = sum(bool(re.search(r",\\d{3}\\.|\\.(\\d{1,2}|\\d{4,})$", t)) for t in texts)
    if comma != point:
        return comma > point
    return delimiter == ";" and not point

def number(text, comma):
    text = bare(text)
    if text.count(",") > 1 or ("," in text and not comma):
        if not re.fullmatch(r"[+-]?\\d{1,3}(,\\d{2,3})+(\\.\\d*)?", text):
            return None
        text = text.replace(",", "")
    elif text.count(".") > 1 or ("." in text and comma and re.search(r"\\.\\d{3}(,|$)", text)):
        text = text.replace(".", "")
    try:
        value = Decimal(text.replace(",", "."))
        return value if value.is_finite() else None
    except InvalidOperation:
        return None
`

const undatedStub = `def part_of(text, part, day_first):
    return text

def day_first_in(texts):
    return False
`

const dates = `MONTHS = {m: i + 1 for i, m in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())}

def ymd(text, day_first):
    text = text.strip().lower()
    if m := re.match(r"(\\d{4})[-/.]?(\\d{2}|(?<=[-/.])\\d)(?:[-/.]?(\\d{1,2}))?(?!\\d)", text):
        return int(m[1]), int(m[2]), int(m[3] or 1)
    if m := re.match(r"(\\d{1,2})([-/.])(\\d{1,2})[-/.](\\d{2,4})(?!\\d)", text):
        a, b, y = int(m[1]), int(m[3]), int(m[4])
        y += 2000 if y < 70 else 1900 if y < 100 else 0
        return (y, b, a) if day_first or m[2] == "." or a > 12 else (y, a, b)
    if m := re.match(r"(\\d{1,2})[. -]+([a-z]{3})[a-z]*[.,]*[ -]+(\\d{4})", text):
        return int(m[3]), MONTHS.get(m[2], 0), int(m[1])
    if m := re.match(r"([a-z]{3})[a-z]*\\.? (\\d{1,2}),? (\\d{4})", text):
        return int(m[3]), MONTHS.get(m[1], 0), int(m[2])
    return None

def day_first_in(texts):
    """A first number above 12 anywhere in the column can only be a day."""
    return any(int(m[1]) > 12 for t in texts if (m := re.match(r"\\s*(\\d{1,2})[-/]\\d{1,2}[-/]", t)))

def part_of(text, part, day_first):
    if part is None:
        return text
    date = ymd(text, day_first)
    if not date or not 1 <= date[1] <= 12 or not 1 <= date[2] <= 31:
        return None
    y, m, d = date
    if part == "week":
        import datetime
        try:
            iso = datetime.date(y, m, d).isocalendar()
        except ValueError:
            return None
        return "%04d-W%02d" % (iso[0], iso[1])
    return {"year": "%04d" % y, "quarter": "%04d-Q%d" % (y, (m + 2) // 3), "month": "%04d-%02d" % (y, m), "day": "%04d-%02d-%02d" % (y, m, d)}[part]
`

const body = `def load(path):
    data = open(path, "rb").read()
    for encoding in ["utf-16"] if data[:2] in (b"\\xff\\xfe", b"\\xfe\\xff") else ["utf-8-sig", "cp1252", "latin-1"]:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            pass

def passes(row, conditions, numeric, day_first):
    for index, part, test, value in conditions:
        cell = part_of(row[index].strip(), part, day_first.get(index, False)) or ""
        if test == "contains":
            good = value.lower() in cell.lower()
        elif test in ("is", "is not"):
            same = cell.lower() == value.lower()
            a, b = number(cell, numeric.get(index, False)), number(value, False)
            same = same or (bool(re.fullmatch(r"[\\d.,+-]+", value)) and a is not None and a == b)
            good = same == (test == "is")
        else:
            a, b = number(cell, numeric.get(index, False)), number(value, False)
            good = a is not None and b is not None and {">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}[test]
        if not good:
            return False
    return True

def compute(op, values, rows):
    if op == "count":
        return Decimal(rows)
    if op == "distinct":
        return Decimal(len(set(values)))
    if not values:
        return None
    if op == "sum":
        return sum(values, Decimal(0))
    if op == "average":
        return sum(values, Decimal(0)) / len(values)
    if op == "median":
        ordered, middle = sorted(values), len(values) // 2
        return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return max(values) if op == "max" else min(values)

def text(value):
    return None if value is None else format(value.normalize(), "f") if value else "0"

groups, sources, skipped, examples, filtered, summaries = {}, [], 0, [], 0, 0
for f in FILES:
    reader = csv.reader(io.StringIO(load(f["path"]), newline=""), delimiter=f["delimiter"], skipinitialspace=True)
    records = [(reader.line_num, r) for r in reader if any(c.strip() for c in r)]
    names = [c.strip().lstrip("\\ufeff") for c in records[f["skip"]][1]]
    records = records[f["skip"] + 1:]
    at = names.index
    keys = [(at(c), part) for c, part in f["groups"]]
    measures = [(op, None if c is None else at(c), None if t is None else at(t)) for op, c, t in f["measures"]]
    where = [(at(c), part, test, value) for c, part, test, value in f["where"]]
    used = {i for op, c, t in measures if op not in ("count", "distinct") for i in (c, t) if i is not None}
    column = lambda i: [r[i] for _, r in records if i < len(r)]
    comma = {i: comma_is_decimal([bare(t) for t in column(i)], f["delimiter"]) for i in used | {w[0] for w in where}}
    first = {i: day_first_in(column(i)) for i, part in keys + [(w[0], w[1]) for w in where] if part}
    needed = max([i for i, _ in keys] + [i for m in measures for i in m[1:] if i is not None] + [w[0] for w in where] + [0])
    taken = 0
    for line, row in records:
        def skip(why):
            global skipped
            skipped += 1
            if len(examples) < 5:
                examples.append("%s line %d: %s" % (f["path"].rsplit("/", 1)[-1], line, why))
        if len(row) <= needed:
            skip("has %d fields where %d are needed" % (len(row), needed + 1))
            continue
        if any(re.fullmatch(r"(?i)(grand |sub[- ]?)?totals?:?", row[i].strip()) for i, _ in keys[:1]) or (not keys and re.fullmatch(r"(?i)(grand |sub[- ]?)?totals?:?", row[0].strip())):
            summaries += 1
            continue
        if not passes(row, where, comma, first):
            filtered += 1
            continue
        key = [part_of(" ".join(row[i].split()), part, first.get(i, False)) for i, part in keys]
        if None in key:
            skip("%r is not a date" % row[keys[key.index(None)][0]])
            continue
        values = {i: number(row[i], comma[i]) for i in used}
        bad = [i for i in sorted(used) if values[i] is None]
        if bad:
            skip("%s is %s" % (names[bad[0]], repr(row[bad[0]].strip()) + ", not a number" if row[bad[0]].strip() else "empty"))
            continue
        taken += 1
        cells = []
        for op, c, t in measures:
            cells.append(None if c is None else row[c].strip() if op == "distinct" else values[c] if t is None else values[c] * values[t])
        groups.setdefault(tuple(k if k else "(blank)" for k in key), []).append(cells)
    sources.append({"rows": len(records), "used": taken})

ops = [m[0] for m in FILES[0]["measures"]]
def figures(rows):
    return [text(compute(op, [r[i] for r in rows if r[i] is not None and r[i] != ""], len(rows))) for i, op in enumerate(ops)]

everything = [r for rows in groups.values() for r in rows]
table = [{"key": list(k), "values": figures(rows), "count": len(rows)} for k, rows in groups.items()]
if any(part for _, part in FILES[0]["groups"]):
    table.sort(key=lambda r: r["key"])
else:
    table.sort(key=lambda r: (-Decimal(r["values"][0] or 0), r["key"]))
shown = table if len(table) <= ${mostGroups} else table[:${mostGroups}]
print("${resultMark} " + json.dumps({
    "rows": shown, "total": {"values": figures(everything), "count": len(everything)}, "groups": len(table), "files": sources,
    "skipped": skipped, "skippedExamples": examples, "filtered": filtered, "summaryRows": summaries,
}))
`
