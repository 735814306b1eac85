/** Skills on files: list, read, search, summarise, write, edit. */
import {
  callAll,
  callOne,
  devicePath,
  failed,
  folderOf,
  hasCode,
  homeFolder,
  linesIn,
  pathsIn,
  reasonOf,
  shortPath,
  type Skill,
} from './skill.ts'
import { readHead } from './table-head.ts'
import type { Call, World } from './transcript.ts'

/** Text of one file an answer quotes; the rest stays in the file. */
const toldLines = 60
const summaryLines = 400
const summaryFiles = 12

export function* list({ pattern, path }: { pattern: string; path: string | null }, world: World): Skill {
  const title = pattern === '**/*' ? 'Files' : `Files matching ${pattern}`
  const places = path === null ? world.folders.map((folder) => folder.path) : [devicePath(path, world.folders[0], world)]
  if (places.length === 0) return failed(title, 'No folder is connected.')
  const results = yield* callAll(
    'Looking at what is there.',
    places.map((place): Call => ({ name: 'Glob', input: { pattern, path: place } })),
  )
  const refused = results.find(({ ok }) => !ok)
  if (refused) return failed(title, `I could not list the files: ${reasonOf(refused)}`)
  const paths = results.flatMap(pathsIn)
  const more = results.some(({ text }) => /^\(there are more/m.test(text))
  const lines = paths.map((one) => `- ${shortPath(one, world)}`)
  if (lines.length === 0) return { ok: true, title, body: 'There is no such file.', files: [] }
  return {
    ok: true,
    title,
    body: [`${lines.length}${more ? ' or more' : ''} file${lines.length === 1 ? '' : 's'}:`, '', ...lines].join('\n'),
    files: paths,
  }
}

export function* read({ files, offset, limit }: { files: readonly string[]; offset?: number; limit?: number }, world: World): Skill {
  const span = { ...(offset === undefined ? {} : { offset }), ...(limit === undefined ? {} : { limit }) }
  const found = yield* readFiles(files, span, world)
  const title = found.map(({ name }) => name).join(', ')
  const parts = found.map(({ name, result }) => {
    if (!result.ok)
      return {
        ok: false,
        body: `${name}: I could not read it. ${reasonOf(result)}`,
        told: `${name}: I could not read it. ${reasonOf(result)}`,
      }
    const lines = linesIn(result)
    const cut = lines.length > toldLines ? [...lines.slice(0, toldLines), `… (${lines.length - toldLines} more lines)`] : lines
    return { ok: true, body: quoted(name, lines), told: lines.length === 0 ? `${name} is empty.` : quoted(name, cut) }
  })
  const ok = parts.some((part) => part.ok)
  return {
    ok,
    title,
    body: parts.map(({ body }) => body).join('\n\n'),
    told: parts.map(({ told }) => told).join('\n\n'),
    files: found.filter(({ result }) => result.ok).map(({ path }) => path),
  }
}

export function* search(
  { pattern, shown, path, glob }: { pattern: string; shown: string; path: string | null; glob: string | null },
  world: World,
): Skill {
  const title = `Lines with "${shown}"`
  const input = {
    pattern,
    output_mode: 'content',
    ...(path === null ? {} : { path: devicePath(path, world.folders[0], world) }),
    ...(glob === null ? {} : { glob }),
  }
  const result = yield* callOne(`Searching for "${shown}".`, 'Grep', input)
  if (!result.ok) return failed(title, `I could not search: ${reasonOf(result)}`)
  const lines = result.text.split('\n').filter((line) => /^\/.*?[:-]\d+[:-]/.test(line))
  if (lines.length === 0)
    return { ok: true, title, body: `"${shown}" does not occur${path ? ` in ${path}` : glob ? ` in ${glob} files` : ''}.`, files: [] }
  const matches = lines.map((line) => {
    const [, file = '', number = '', text = ''] = /^(.*?)[:-](\d+)[:-](.*)$/s.exec(line) ?? []
    return { file, line: `- ${shortPath(file, world)}:${number}: ${text.trim().slice(0, 300)}` }
  })
  const files = [...new Set(matches.map(({ file }) => file))]
  const headline = `${lines.length} line${lines.length === 1 ? '' : 's'} in ${files.length} file${files.length === 1 ? '' : 's'}:`
  const told =
    matches.length > toldLines
      ? { told: [headline, '', ...matches.slice(0, toldLines).map(({ line }) => line), `(${matches.length - toldLines} more)`].join('\n') }
      : {}
  return { ok: true, title, body: [headline, '', ...matches.map(({ line }) => line)].join('\n'), ...told, files }
}

export function* summarise({ files }: { files: readonly string[] }, world: World): Skill {
  const named = files.filter((file) => !file.includes('*'))
  let paths: readonly string[] = named
  if (named.length === 0) {
    const pattern = files[0] ?? '**/*'
    const found = yield* list({ pattern: pattern.includes('/') ? pattern : `**/${pattern}`, path: null }, world)
    if (!found.ok) return { ...found, title: 'Summary' }
    paths = (found.files ?? []).filter(
      (path) => !/\.(?:png|jpe?g|gif|pdf|zip|gz|xlsx?|docx?|pptx?|sqlite|db|ico|woff2?|mp[34])$/i.test(path),
    )
  }
  if (paths.length === 0) return failed('Summary', 'There is no file to summarise.')
  const found = yield* readFiles(paths.slice(0, summaryFiles), { limit: summaryLines }, world)
  const parts = found.map(({ name, path, result }) =>
    result.ok ? `- **${name}**: ${outline(path, linesIn(result))}` : `- **${name}**: could not be read. ${reasonOf(result)}`,
  )
  const left = paths.length - found.length
  const body = [...parts, ...(left > 0 ? [`- ${left} more file${left === 1 ? '' : 's'} not looked at.`] : [])].join('\n')
  return {
    ok: found.some(({ result }) => result.ok),
    title: found.length === 1 ? `Summary of ${found[0]?.name}` : 'Summary',
    body,
    files: found.map(({ path }) => path),
  }
}

export function* write({ file, content }: { file: string; content: string }, world: World, beside?: string): Skill {
  const folder = (beside && folderOf(beside, world)) || homeFolder(world)
  const path = devicePath(file, folder?.mode === 'rw' ? folder : homeFolder(world), world)
  const name = shortPath(path, world)
  let result = yield* callOne(`Writing ${name}.`, 'Write', { file_path: path, content })
  if (!result.ok && hasCode(result, 'changed-since-read', 'already-exists')) {
    yield* callAll(`${name} is there already; reading it first.`, [{ name: 'Read', input: { file_path: path } }])
    result = yield* callOne(`Writing ${name}.`, 'Write', { file_path: path, content })
  }
  if (!result.ok) return failed(name, `${name} was not written: ${reasonOf(result)}`)
  return {
    ok: true,
    title: name,
    body: `Wrote ${name} (${content.split('\n').length - (content.endsWith('\n') ? 1 : 0)} lines).`,
    files: [path],
  }
}

export function* edit({ file, from, to }: { file: string; from: string; to: string }, world: World): Skill {
  const path = devicePath(file, world.folders[0], world)
  const name = shortPath(path, world)
  const before = yield* callOne(`Reading ${name}.`, 'Read', { file_path: path })
  if (!before.ok) return failed(name, `I could not read ${name}: ${reasonOf(before)}`)
  const input = { file_path: path, old_string: from, new_string: to }
  let result = yield* callOne(`Replacing "${short(from)}" with "${short(to)}" in ${name}.`, 'Edit', input)
  // "Replace A with B" means every A; the tool asks to have that said.
  if (!result.ok && hasCode(result, 'ambiguous-match'))
    result = yield* callOne(`It occurs more than once in ${name}; replacing all.`, 'Edit', { ...input, replace_all: true })
  if (!result.ok) return failed(name, `${name} was not changed: ${reasonOf(result)}`)
  const [, count] = /: (\d+ replacements?)\./.exec(result.text) ?? []
  return {
    ok: true,
    title: name,
    body: `Replaced "${short(from)}" with "${short(to)}" in ${name}${count ? ` (${count})` : ''}.`,
    files: [path],
  }
}

type FoundFile = { name: string; path: string; result: { ok: boolean; text: string } }

/** All at once; a name that is not in the first folder is tried in the others. */
function* readFiles(
  files: readonly string[],
  span: Record<string, number>,
  world: World,
): Generator<{ say: string; calls: readonly Call[] }, FoundFile[], readonly { ok: boolean; text: string }[]> {
  const ask = (path: string): Call => ({ name: 'Read', input: { file_path: path, ...span } })
  const paths = files.map((file) => devicePath(file, world.folders[0], world))
  const say = paths.length === 1 ? `Reading ${shortPath(paths[0] ?? '', world)}.` : `Reading ${paths.length} files.`
  const results = yield* callAll(say, paths.map(ask))
  const found = paths.map(
    (path, index): FoundFile => ({ path, name: shortPath(path, world), result: results[index] ?? { ok: false, text: 'It was not read.' } }),
  )
  for (const [index, file] of files.entries()) {
    for (const folder of world.folders.slice(1)) {
      const current = found[index]
      const elsewhere = devicePath(file, folder, world)
      if (!current || current.result.ok || !hasCode(current.result, 'not-found') || elsewhere === current.path) continue
      const [result] = yield* callAll(`Trying ${shortPath(elsewhere, world)}.`, [ask(elsewhere)])
      if (result?.ok) found[index] = { path: elsewhere, name: shortPath(elsewhere, world), result }
    }
  }
  return found
}

function outline(path: string, lines: readonly string[]): string {
  if (lines.length === 0) return 'empty.'
  const more = lines.length >= summaryLines ? ' or more' : ''
  if (/\.(?:csv|tsv)$/i.test(path)) {
    const head = readHead(path, lines)
    if (head) return `a table of ${head.rows.length}${more} rows with the columns ${head.header.join(', ')}.`
  }
  const words = lines
    .join(' ')
    .split(/\s+/)
    .filter((word) => word !== '').length
  const headings = lines.flatMap((line) => /^#{1,3}\s+(.+)$/.exec(line)?.[1] ?? [])
  const prose = lines
    .filter((line) => !/^\s*(?:#|[-*|>`=]|\d+\.)/.test(line))
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim()
  const [first = ''] = /^.{20,300}?[.!?](?=\s|$)/.exec(prose) ?? [prose.slice(0, 200)]
  const about = headings.length > 0 ? ` Headings: ${headings.slice(0, 8).join('; ')}.` : ''
  return `${lines.length}${more} lines, ${words} words.${about}${first ? ` It begins: "${first}"` : ''}`
}

function quoted(name: string, lines: readonly string[]): string {
  const fence = lines.some((line) => line.startsWith('```')) ? '````' : '```'
  return [`${name}:`, '', fence, ...lines, fence].join('\n')
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}
