/** `bulkhead replay SESSION`: takes a session's steps again, on the machines of today. Reads the message log; needs no daemon. */
import { replay, type ReplayReport } from '../kernel/replay.ts'
import { version } from '../kernel/version.ts'
import { exitCodes } from './exit-codes.ts'
import { printable } from './printable.ts'
import { actorOf, withRecordedSteps } from './recorded-steps.ts'

export function replaySession(options: { session: string; json: boolean; home: string; out(text: string): void }): Promise<number> {
  const { session, json, home, out } = options
  return withRecordedSteps(home, session, async (log, spans) => {
    const report = await replay(log, spans, actorOf)
    out(json ? `${JSON.stringify({ session, ...report })}\n` : replayText(session, report))
    return report.divergences.length + report.skipped.length === 0 ? exitCodes.done : exitCodes.failed
  })
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
