/** `bulkhead replay SESSION`: takes a session's steps again, on the machines of today. Reads the message log; needs no daemon. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fault } from '../kernel/index.ts'
import { messageLogName, openMessageLog } from '../kernel/message-log.ts'
import { replay, type ReplayReport } from '../kernel/replay.ts'
import type { Actor } from '../kernel/types.ts'
import { version } from '../kernel/version.ts'
import { exitCodes } from './exit-codes.ts'
import { printable } from './printable.ts'

const actorsDir = new URL('../actors/', import.meta.url)

export async function replaySession(options: { session: string; json: boolean; home: string; out(text: string): void }): Promise<number> {
  const { session, json, home, out } = options
  const file = join(home, messageLogName)
  if (!existsSync(file)) throw fault('no-such-session', 'There is no message log yet.', { cause: file })
  const log = openMessageLog(file, { version, readOnly: true })
  try {
    const spans = log.spansOf(session)
    if (spans.length === 0) throw fault('no-such-session', `No step of ${session} is in the message log.`)
    const report = await replay(log, spans, load)
    out(json ? `${JSON.stringify({ session, ...report })}\n` : replayText(session, report))
    return report.divergences.length + report.skipped.length === 0 ? exitCodes.done : exitCodes.failed
  } finally {
    log.close()
  }
}

async function load(kind: string): Promise<Actor | null> {
  const index = new URL(`${kind}/index.ts`, actorsDir)
  // Kinds come from a file: only a folder's own name is one.
  if (!/^[a-z0-9-]+$/.test(kind) || !existsSync(index)) return null
  return ((await import(index.href)) as { actor: Actor }).actor
}

function replayText(session: string, { actors, spans, steps, versions, skipped, divergences }: ReplayReport): string {
  const others = versions.filter((other) => other !== version)
  const lines = [
    `${session}: ${steps} steps of ${actors.length} actors in ${spans} spans (${actors.join(', ')})`,
    ...(others.length > 0 ? [`Written by ${others.join(', ')}; this is ${version}: machines may have changed since.`] : []),
    ...skipped.map(({ actor, span, why }) => `not taken again: ${actor}, span ${span}: ${why}`),
    ...divergences.flatMap(({ actor, incarnation, span, n, event, expected, found }) => [
      `DIFFERS: ${actor} (life ${incarnation}), span ${span}, line ${n}`,
      `  event ${event.length > 400 ? `${event.slice(0, 400)}…` : event}`,
      `  then: ${outcome(expected)}`,
      `  now:  ${outcome(found)}`,
    ]),
    divergences.length + skipped.length === 0 ? 'Every step came out as it did then.' : '',
  ]
  return printable(`${lines.filter((line) => line !== '').join('\n')}\n`)
}

function outcome({ value, did, error }: ReplayReport['divergences'][number]['expected']): string {
  return error === null ? `${value}, ${did.join('; ') || 'nothing'}` : `threw ${error}`
}
