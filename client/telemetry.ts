/** `bulkhead telemetry …`: where telemetry goes and how that is going; a self test. */
import type { SignalStatus, TelemetryStatus, TelemetryTest } from '../actors/telemetry/protocol.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { oneLine, printable } from './printable.ts'

/** @returns the exit code; a collector that did not take everything is a failure */
export async function telemetry(
  daemon: Daemon,
  { action, json }: { action: 'status' | 'test'; json: boolean },
  out: (text: string) => void,
): Promise<number> {
  if (action === 'status') {
    const status = await daemon.call<TelemetryStatus>('telemetry/status')
    out(json ? `${JSON.stringify(status)}\n` : statusText(status))
    return exitCodes.done
  }
  const test = await daemon.call<TelemetryTest>('telemetry/test')
  out(json ? `${JSON.stringify(test)}\n` : testText(test))
  return test.ok ? exitCodes.done : exitCodes.failed
}

function statusText({ state, endpoint, decidedBy, protocol, traces, capture, headers, signals, audit }: TelemetryStatus): string {
  const where = {
    unknown: 'Policy has not told yet; what happens meanwhile is kept.',
    off: `Telemetry is off: no endpoint (${decidedBy}).`,
    on: `Telemetry goes to ${endpoint} as ${protocol} (${decidedBy}).`,
  }
  const lines = [
    where[state],
    ...(state === 'on'
      ? [
          `  Content beside metadata: ${capture.join(', ') || 'none'}. Traces: ${traces ? 'on' : 'off'}. Headers: ${headers.join(', ') || 'none'}.`,
          ...Object.entries(signals).flatMap(([name, signal]) => signalText(name, signal)),
        ]
      : []),
    `Audit log: ${audit.entries} entries, head ${audit.head.slice(0, 16) || 'none'}${audit.trouble ? `. It cannot be written: ${oneLine(audit.trouble, 200)}` : ''}`,
    '',
  ]
  return printable(lines.join('\n'))
}

function signalText(name: string, { sent, waiting, lost, failures, lastError, lastSentAt }: SignalStatus): string[] {
  const all = lost.full + lost.refused + lost.dropped
  const why = all === 0 ? '' : ` (too many waited ${lost.full}, refused ${lost.refused}, dropped ${lost.dropped})`
  return [
    `  ${name.padEnd(8)} ${sent} sent, ${waiting} waiting, ${all} lost${why}, ${failures} failed exports${lastSentAt ? `, last sent ${lastSentAt}` : ''}`,
    ...(lastError ? [`           last error: ${oneLine(lastError, 200)}`] : []),
  ]
}

function testText({ endpoint, protocol, results }: TelemetryTest): string {
  const rows = results.map(
    ({ signal, ok, ms, error }) =>
      `  ${signal.padEnd(8)} ${ok ? `taken after ${ms} ms` : `not taken: ${oneLine(error ?? 'unknown', 300)}`}\n`,
  )
  return printable(`Sent to ${endpoint} as ${protocol}:\n${rows.join('')}`)
}
