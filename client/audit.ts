/** `bulkhead audit …`: reads the audit log's files, with the daemon running or not. */
import { existsSync } from 'node:fs'
import type { Line } from '../actors/telemetry/audit-chain.ts'
import { type Verdict, verifyAudit } from '../actors/telemetry/audit-verify.ts'
import { fault } from '../kernel/index.ts'
import type { AuditCommand } from './audit-args.ts'
import { exitCodes } from './exit-codes.ts'
import { oneLine, printable } from './printable.ts'

/** @returns the exit code; a log that is not whole is a failure, for an export as well */
export function audit({ action, json, dir, expect, filter }: AuditCommand, home: string, out: (text: string) => void): number {
  const place = dir ?? home
  if (!existsSync(place))
    throw fault('not-found', `There is no audit log in ${place}.`, {
      remedy: 'It is made when the daemon first runs; `--dir` names another folder.',
    })
  if (action === 'verify') {
    const verdict = verifyAudit(place, expect)
    out(json ? `${JSON.stringify(verdict)}\n` : verdictText(verdict))
    return verdict.ok ? exitCodes.done : exitCodes.failed
  }
  const verdict = verifyAudit(place, expect, (line) => {
    if (matches(line, filter)) out(action === 'export' || json ? `${JSON.stringify(line)}\n` : lineText(line))
  })
  if (verdict.broken)
    throw fault('io-failed', 'The audit log is not whole; entries that are not as they were written are left out.', {
      cause: brokenText(verdict.broken),
      remedy: 'See `bulkhead audit verify`.',
    })
  return exitCodes.done
}

function matches(line: Line, { session, action, since, until }: AuditCommand['filter']): boolean {
  return (
    (session === undefined || line.session === session || line.data['session'] === session) &&
    (action === undefined || line.action === action || line.action.startsWith(`${action}.`)) &&
    (since === undefined || line.at >= since) &&
    (until === undefined || line.at < until)
  )
}

function verdictText({ ok, entries, first, last, key, broken, afterHead }: Verdict): string {
  const range = last ? `, ${first} to ${last.n}` : ''
  return printable(
    [
      ok ? `The audit log is whole: ${entries} entries${range}.` : `The audit log is NOT whole (${entries} readable entries${range}).`,
      ...(broken ? [`First thing wrong: ${brokenText(broken)}`] : []),
      ...(afterHead > 0 ? [`${afterHead} entries were written after the last signature (a crash, or the daemon is writing now).`] : []),
      ...(last ? [`Last entry: ${last.n}:${last.hash}`] : []),
      `Signed with key: ${key ?? 'none'}`,
      '',
    ].join('\n'),
  )
}

const brokenText = ({ file, line, n, why }: NonNullable<Verdict['broken']>): string =>
  `${file}${line === null ? '' : ` line ${line}`}${n === null ? '' : ` (entry ${n})`}: ${why}`

function lineText({ n, at, from, session, action, data }: Line): string {
  return `${printable(oneLine(`${n}  ${at}  ${action}  ${session ?? (typeof data['session'] === 'string' ? data['session'] : '-')}  ${from}  ${JSON.stringify(data)}`, 600))}\n`
}
