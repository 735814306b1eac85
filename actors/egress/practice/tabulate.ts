/** Answers a question about tables: find them, look at their headers, compute with Python in the workspace. */
import type { Question } from './question.ts'
import { pythonProgram, readResult } from './python.ts'
import { printed, tableReport } from './report.ts'
import { resolve } from './resolve.ts'
import {
  callAll,
  callOne,
  devicePath,
  failed,
  linesIn,
  outputIn,
  pathsIn,
  reasonOf,
  type Section,
  shortPath,
  type Skill,
  workspacePath,
} from './skill.ts'
import { readHead } from './table-head.ts'
import type { Call, World } from './transcript.ts'

/** Tables looked at; a folder with more needs their names in the prompt. */
const mostTables = 24
const headLines = 25

export function* tabulate(question: Question, world: World): Skill {
  const title = 'Table'
  const named = question.files.map((file) => devicePath(file, world.folders[0], world))
  const found = named.length > 0 ? named : yield* findTables(world)
  if (typeof found === 'string') return failed(title, found)
  const reads = yield* callAll(
    found.length === 1 ? 'Looking at its header.' : `Looking at the headers of ${found.length} files.`,
    found.map((path): Call => ({ name: 'Read', input: { file_path: path, limit: headLines } })),
  )
  const unread = reads.filter(({ ok }) => !ok)
  if (unread[0] && unread.length === reads.length)
    return failed(title, `I could not read ${found.length === 1 ? shortPath(found[0] ?? '', world) : 'any table'}: ${reasonOf(unread[0])}`)
  const heads = reads.flatMap((result, index) => {
    const head = result.ok ? readHead(found[index] ?? '', linesIn(result)) : null
    return head ? [head] : []
  })
  const resolved = resolve(question, heads)
  if (!resolved.ok) return failed(title, resolved.why)
  const { plan } = resolved
  if (plan.files.some(({ head }) => workspacePath(head.path, world) === null))
    return failed(plan.title, 'The file is in no connected folder, so the workspace does not see it.')

  const program = pythonProgram(plan, ({ head }) => workspacePath(head.path, world) ?? head.path)
  const files = plan.files.map(({ head }) => shortPath(head.path, world))
  const names = files.join(', ')
  const run = yield* callOne(
    `Computing ${plan.title.charAt(0).toLowerCase()}${plan.title.slice(1)} from ${names} with Python in the workspace.`,
    'Bash',
    {
      command: `python3 - <<'PYTHON'\n${program}PYTHON`,
      description: `${plan.title} (${names})`,
    },
  )
  if (!run.ok)
    return failed(
      plan.title,
      `The figures could not be computed, because the program did not run to its end: ${reasonOf(run)} I do not compute them without it.`,
    )
  const result = readResult(outputIn(run))
  if (!result) return failed(plan.title, `The program ended without a result. It printed:\n\n${printed(outputIn(run)).slice(-600)}`)
  const report = tableReport(plan, question, result, files)
  return { ok: true, title: plan.title, ...report, files: plan.files.map(({ head }) => head.path) } satisfies Section
}

function* findTables(
  world: World,
): Generator<{ say: string; calls: readonly Call[] }, readonly string[] | string, readonly { ok: boolean; text: string }[]> {
  if (world.folders.length === 0) return 'No folder is connected, so there is no table to look at.'
  const calls = world.folders.map(({ path }): Call => ({ name: 'Glob', input: { pattern: '**/*.{csv,CSV,tsv,TSV}', path } }))
  const results = yield* callAll('Looking for tables.', calls)
  const paths = results.flatMap(pathsIn).filter((path) => !/\/(?:\.[^/]+|node_modules)\//.test(path))
  if (paths.length > 0) return [...new Set(paths)].slice(0, mostTables)
  const refused = results.find(({ ok }) => !ok)
  return refused ? `I could not look for tables: ${reasonOf(refused)}` : 'There is no CSV or TSV file in the connected folders.'
}
