/** `bulkhead policy …`: what is in force and who decided, one key explained, a settings file checked. */
import { readFileSync } from 'node:fs'
import type { EffectivePolicy, PolicyExplanation } from '../actors/policy/protocol.ts'
import { fault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { oneLine, printable } from './printable.ts'

type Problem = EffectivePolicy['problems'][number]
type Checked = { ok: boolean; problems: readonly Problem[] }
export type PolicyCommand = { action: 'show' | 'check' | 'explain'; about: string; json: boolean }

/** @returns the exit code; a file with problems is a failure */
export async function policy(daemon: Daemon, { action, about, json }: PolicyCommand, out: (text: string) => void): Promise<number> {
  const print = <T>(report: T, text: (report: T) => string): void => out(json ? `${JSON.stringify(report)}\n` : text(report))
  if (action === 'show') print(await daemon.call<EffectivePolicy>('policy/show'), policyText)
  else if (action === 'explain') print(await daemon.call<PolicyExplanation>('policy/explain', { key: about }), explanationText)
  else {
    const checked = await daemon.call<Checked>('policy/check', { text: textOf(about) })
    print(checked, ({ ok, problems }) => (ok ? 'Nothing is wrong with it.\n' : problems.map(problemText).join('')))
    return checked.ok ? exitCodes.done : exitCodes.failed
  }
  return exitCodes.done
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw fault('not-found', `${path} cannot be read.`, {
      cause: error instanceof Error ? error.message : String(error),
      remedy: 'Name a settings file.',
    })
  }
}

function policyText({ entries, problems, sources, failedClosed, enabled }: EffectivePolicy): string {
  const width = Math.max(...entries.map(({ key }) => key.length))
  const rows = entries.map(({ key, value, decidedBy }) => `  ${key.padEnd(width)}  ${valueText(value)}  (${decidedBy})`)
  return printable(
    [
      ...(failedClosed ? ['Managed policy is there but cannot be used: nothing applies, and local settings are off.'] : []),
      ...(enabled ? [] : ['The product is switched off for this organization: no session starts.']),
      'Sources:',
      ...sources.map(({ kind, place, state, why }) => `  ${kind}  ${place}: ${state}${why ? `, ${oneLine(why, 200)}` : ''}`),
      'In force:',
      ...rows,
      ...(problems.length > 0 ? ['Problems:', ...problems.map((problem) => `  ${problemText(problem).trimEnd()}`)] : []),
      '',
    ].join('\n'),
  )
}

function explanationText({ key, value, decidedBy, type, default: usual, effect, example, problems }: PolicyExplanation): string {
  const lines = [
    `${key}: ${valueText(value)} (${decidedBy})`,
    `  ${effect}`,
    `  Type: ${type}`,
    `  Default: ${valueText(usual)}`,
    `  Example: ${JSON.stringify(example)}`,
    ...problems.map((problem) => `  ${problemText(problem).trimEnd()}`),
    '',
  ]
  return printable(lines.join('\n'))
}

const valueText = (value: unknown): string =>
  value === null ? 'not set' : oneLine(typeof value === 'string' ? value : JSON.stringify(value), 200)

const problemText = ({ key, source, message }: Problem): string =>
  `${key === null ? '' : `${oneLine(key)}: `}${oneLine(message, 300)} (${oneLine(source, 200)})\n`
