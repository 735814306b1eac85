import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestModule } from 'vitest/node'
import { shownFailure, type Tally, tallyVariable } from './tally.ts'

/** Counts what ran beside vitest's own report: every test once, every file that could not run, every error outside a test. */
export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const tally: Tally = { passed: 0, failed: [], skipped: [] }
    for (const module of modules) count(module, tally)
    for (const error of errors) tally.failed.push({ name: 'error outside a test', why: shownFailure(error.message) })
    const path = process.env[tallyVariable]
    if (path) writeFileSync(path, JSON.stringify(tally))
  }
}

function count(module: TestModule, tally: Tally): void {
  const failures = tally.failed.length
  for (const test of module.children.allTests()) {
    const result = test.result()
    const name = `${module.relativeModuleId} > ${test.fullName}`
    if (result.state === 'passed') tally.passed += 1
    else if (result.state === 'failed') tally.failed.push({ name, why: whyOf(result.errors) })
    else tally.skipped.push({ name, reason: skipReason(result, test.options.mode) })
  }
  // A file that failed to load, or a hook that failed, may have no failed test to show for it.
  if (module.state() === 'failed' && tally.failed.length === failures)
    tally.failed.push({ name: `${module.relativeModuleId} (the file itself)`, why: whyOf(module.errors()) })
}

function whyOf(errors: readonly { message: string; diff?: unknown }[]): string {
  return errors.map(({ message, diff }) => shownFailure(typeof diff === 'string' ? `${message}\n${diff}` : message)).join('\n')
}

function skipReason(result: { state: string; note?: string | undefined }, mode: string | undefined): string {
  if (result.note) return result.note
  if (result.state === 'pending') return 'it never ended'
  return mode === 'todo' ? 'marked as to do' : 'marked as skipped, without a reason'
}
