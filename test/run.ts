/**
 * `npm test`: every check and every suite, one after another, and one line that says what it came to.
 *
 *   npm test                 everything
 *   npm test -- fast         all but the suites that start daemons and VMs
 *   npm test -- PATH…        only the test files whose path contains one of these
 *
 * The last line is `N passed, N failed`, with `, N skipped` when something was; each static check counts as one.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Tally, tallyVariable } from './runner/tally.ts'

type Part = { name: string; about: string; command: readonly string[]; suite: boolean }
type Outcome = Tally & { part: string; seconds: number }

const root = join(import.meta.dirname, '..')
const tool = (path: string): string => join(root, 'node_modules', path)

const checks: readonly Part[] = [
  check(
    'format',
    'biome; `npm run format` writes it',
    tool('@biomejs/biome/bin/biome'),
    'format',
    '--reporter=summary',
    '--error-on-warnings',
    '.',
  ),
  check('lint', 'oxlint with type-aware rules', tool('oxlint/bin/oxlint')),
  check('types', 'tsc', tool('typescript/bin/tsc'), '-p', 'tsconfig.json'),
  check('page types', 'tsc, for the page', tool('typescript/bin/tsc'), '-p', 'client/web/tsconfig.json'),
  check('unused', 'knip: files, exports, dependencies', tool('knip/bin/knip.js'), '--no-progress', '--treat-config-hints-as-errors'),
]

function check(name: string, about: string, ...command: string[]): Part {
  return { name, about, command, suite: false }
}

function suite(project: string, about: string, filters: readonly string[]): Part {
  const reporters = ['--reporter=default', `--reporter=${join(root, 'test', 'runner', 'reporter.ts')}`]
  const none = filters.length > 0 ? ['--passWithNoTests'] : []
  return {
    name: project,
    about,
    command: [tool('vitest/vitest.mjs'), 'run', '--project', project, ...reporters, ...none, ...filters],
    suite: true,
  }
}

function chosenParts(words: readonly string[]): readonly Part[] {
  const fast = words[0] === 'fast'
  const filters = fast ? words.slice(1) : words
  const suites = [
    suite('unit', 'beside the code, and the rules of the repository', filters),
    ...(fast ? [] : [suite('system', 'the running product', filters)]),
  ]
  return filters.length > 0 ? suites : [...checks, ...suites]
}

/** The environment of a run: what a developer has set for their own use must not decide a test. */
function cleanEnvironment(tallyPath: string): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, [tallyVariable]: tallyPath }
  for (const name of ['ANTHROPIC_API_KEY', 'ANTHROPIC_BASE_URL', 'BULKHEAD_HOME', 'BULKHEAD_VM', 'NODE_OPTIONS']) delete env[name]
  return env
}

async function runPart(part: Part, scratch: string): Promise<Outcome> {
  process.stdout.write(`\n── ${part.name} (${part.about}) ${'─'.repeat(Math.max(0, 70 - part.name.length - part.about.length))}\n`)
  const begun = Date.now()
  const tallyPath = join(scratch, `${part.name}.json`)
  const code = await exitCode(part.command, cleanEnvironment(tallyPath))
  const tally = part.suite ? suiteTally(part, tallyPath, code) : checkTally(part, code)
  return { ...tally, part: part.name, seconds: (Date.now() - begun) / 1000 }
}

/** Runs a script on this Node with the output going straight through. */
function exitCode(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, command, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', (error) => {
      process.stdout.write(`${error.message}\n`)
      resolve(127)
    })
    child.on('exit', (code, signal) => {
      if (signal) process.stdout.write(`ended by ${signal}\n`)
      resolve(code ?? 1)
    })
  })
}

function checkTally(part: Part, code: number): Tally {
  return code === 0 ? { passed: 1, failed: [], skipped: [] } : { passed: 0, failed: [{ name: `the ${part.name} check` }], skipped: [] }
}

/** A suite that ended badly without a failed test to show for it has failed all the same. */
function suiteTally(part: Part, tallyPath: string, code: number): Tally {
  let tally: Tally
  try {
    tally = JSON.parse(readFileSync(tallyPath, 'utf8')) as Tally
  } catch {
    return { passed: 0, failed: [{ name: `the ${part.name} suite did not run (code ${code})` }], skipped: [] }
  }
  if (code !== 0 && tally.failed.length === 0) tally.failed.push({ name: `the ${part.name} suite ended with code ${code}` })
  return tally
}

function summary(outcomes: readonly Outcome[]): { text: string; ok: boolean } {
  const failed = outcomes.flatMap((outcome) => outcome.failed)
  const skipped = outcomes.flatMap((outcome) => outcome.skipped)
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0)
  if (passed + failed.length === 0) failed.push({ name: 'no test matched' })
  const lines = ['', `── summary ${'─'.repeat(65)}`]
  for (const { part, seconds, ...tally } of outcomes) {
    lines.push(
      `${tally.failed.length === 0 ? '✓' : '✗'} ${part.padEnd(8)} ${String(tally.passed).padStart(5)} passed ${String(tally.failed.length).padStart(3)} failed  ${seconds.toFixed(1)} s`,
    )
  }
  for (const { name, reason } of skipped) lines.push(`skipped: ${name}: ${reason}`)
  for (const { name, why } of failed) lines.push(`failed: ${name}`, ...(why ? [why.replace(/^/gm, '    ')] : []))
  lines.push(`${passed} passed, ${failed.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`)
  return { text: lines.join('\n'), ok: failed.length === 0 }
}

async function main(args: readonly string[]): Promise<number> {
  const faultFlag = '--workspace-fault='
  const fault = args.find((arg) => arg.startsWith(faultFlag))?.slice(faultFlag.length)
  const scratch = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
  try {
    const outcomes: Outcome[] = []
    if (fault)
      outcomes.push({ part: 'set-up', seconds: 0, passed: 0, failed: [{ name: `set-up of the workspace: ${fault}` }], skipped: [] })
    for (const part of chosenParts(args.filter((arg) => !arg.startsWith(faultFlag)))) outcomes.push(await runPart(part, scratch))
    const { text, ok } = summary(outcomes)
    process.stdout.write(`${text}\n`)
    return ok ? 0 : 1
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

process.exitCode = await main(process.argv.slice(2))
