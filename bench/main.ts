/**
 * `npm run bench -- [NAME] [--json] [--runs N] [--full]`: measures and compares. `--full`: in the sizes of the targets, where those take long. With --json, one JSON document on stdout and nothing else: the
 * report of the bench named, or a list of all reports without a name. Progress goes to stderr.
 */
import { parseArgs } from 'node:util'
import { checker } from './checker.ts'
import { egress } from './egress.ts'
import { files } from './files.ts'
import { kernelBench } from './kernel.ts'
import { mainJob } from './main-job.ts'
import { vm } from './vm.ts'
import { type Figure, machine, type Report, table } from './report.ts'

type Bench = (runs: number, told: (text: string) => void, full: boolean) => Promise<Figure[]>

const benches: Readonly<Record<string, Bench>> = { checker, egress, files, kernel: kernelBench, 'main-job': mainJob, vm }

/** Medians of five are steady enough to compare, and a cold start of the VM takes several seconds. */
const defaultRuns = 5

const exitUsage = 2

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { json: { type: 'boolean' }, runs: { type: 'string' }, full: { type: 'boolean' } },
  })
  const runs = Number(values.runs ?? defaultRuns)
  const unknown = positionals.filter((name) => !Object.hasOwn(benches, name))
  if (unknown.length > 0 || positionals.length > 1) throw new TypeError(`One bench or none for all: ${Object.keys(benches).join(', ')}.`)
  if (!Number.isInteger(runs) || runs < 1) throw new TypeError('--runs takes a whole number from 1.')
  const reports: Report[] = []
  for (const name of positionals.length > 0 ? positionals : Object.keys(benches)) {
    const figures = await (benches[name] as Bench)(runs, (text) => process.stderr.write(`${name}: ${text}\n`), values.full ?? false)
    const report = { bench: name, machine: machine(), runs, figures }
    reports.push(report)
    if (!values.json) process.stdout.write(`${table(report)}\n`)
  }
  if (values.json) process.stdout.write(`${JSON.stringify(positionals.length > 0 ? reports[0] : reports, null, 2)}\n`)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  // parseArgs throws TypeErrors too.
  const usage = error instanceof TypeError
  process.stderr.write(`bench: ${usage ? error.message : error instanceof Error ? error.stack : JSON.stringify(error)}\n`)
  process.exitCode = usage ? exitUsage : 1
}
