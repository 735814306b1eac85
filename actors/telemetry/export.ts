/**
 * The way out: what waits per signal, and the exporters they go to while there is an endpoint (I/O).
 *
 *   unknown (policy has not told) --configure--> off | on       records of the first moments wait
 *   on --configure, other endpoint or other content--> on       what waits was made for the other: it is dropped and counted
 */
import { fault } from '../../kernel/index.ts'
import { closeMs, maxWaiting } from './limits.ts'
import { openOtlp, type Otlp } from './otlp.ts'
import type { SignalStatus, TelemetryTest } from './protocol.ts'
import type { LogRecord, Measure, SpanRecord } from './records.ts'
import { type Settings, shownEndpoint } from './settings.ts'
import { createSignal, type Outcome, usualLimits } from './signal.ts'

export type Export = {
  configure(settings: Settings, headers: Readonly<Record<string, string>>): Promise<void>
  log(record: LogRecord): void
  span(record: SpanRecord): void
  measure(measure: Measure): void
  /** Spans that were lost before they got here. */
  lostSpans(count: number): void
  test(now: number): Promise<TelemetryTest>
  status(): {
    state: 'unknown' | 'off' | 'on'
    headers: string[]
    signals: { logs: SignalStatus; traces: SignalStatus; metrics: SignalStatus }
  }
  /** Tries for a moment to send what waits, then ends. */
  close(): Promise<void>
}

export function createExport(limits = usualLimits): Export {
  const logs = createSignal<LogRecord>(limits)
  const spans = createSignal<SpanRecord>(limits)
  /** Of before the SDK was loaded. */
  let early: Measure[] = []
  const metrics: SignalStatus = {
    accepted: 0,
    sent: 0,
    waiting: 0,
    lost: { full: 0, refused: 0, dropped: 0 },
    failures: 0,
    lastError: null,
    lastSentAt: null,
  }
  let current: { settings: Settings; headers: Readonly<Record<string, string>> } | null = null
  let otlp: Otlp | null = null
  let lostSpans = 0
  /** Configurations are carried out one after another. */
  let working: Promise<void> = Promise.resolve()

  const isOn = (): boolean => current === null || current.settings.endpoint !== null

  function onMetrics(outcome: Outcome): void {
    if (outcome.type === 'sent') {
      metrics.sent++
      metrics.lost.refused += outcome.refused ?? 0
      metrics.lastSentAt = new Date().toISOString()
      return
    }
    metrics.failures++
    metrics.lastError = outcome.why
  }

  async function configure(settings: Settings, headers: Readonly<Record<string, string>>): Promise<void> {
    const before = current
    if (before && JSON.stringify(before) === JSON.stringify({ settings, headers })) return
    current = { settings, headers }
    const kept =
      settings.endpoint !== null &&
      before?.settings.endpoint === settings.endpoint &&
      JSON.stringify(before.settings.capture) === JSON.stringify(settings.capture)
    // Before policy told, nobody had asked for what waits, and nobody had said where it may go.
    const gone = before === null ? (settings.endpoint === null ? 'forget' : 'keep') : kept ? 'keep' : 'lose'
    logs.disconnect(gone)
    spans.disconnect(gone === 'keep' && !settings.traces ? 'lose' : gone)
    if (gone === 'forget') early = []
    const old = otlp
    otlp = null
    void old?.close().catch(() => {})
    const { endpoint } = settings
    if (endpoint === null) return
    const opened = await openOtlp({ ...settings, endpoint }, headers, onMetrics).catch((error: unknown) => {
      // Told again, it is tried again.
      current = null
      throw error
    })
    otlp = opened
    for (const measure of early) opened.measure(measure)
    early = []
    logs.connect(opened.logs)
    if (settings.traces) spans.connect(opened.spans)
  }

  return {
    configure(settings, headers) {
      working = working.catch(() => {}).then(() => configure(settings, headers))
      return working
    },
    log: (record) => isOn() && logs.add(record),
    span: (record) => current?.settings.endpoint != null && current.settings.traces && spans.add(record),
    measure(measure) {
      if (!isOn()) return
      metrics.accepted++
      if (otlp) otlp.measure(measure)
      else if (early.length < maxWaiting) early.push(measure)
      else metrics.lost.full++
    },
    lostSpans: (count) => void (lostSpans += count),
    async test(now) {
      await working
      const endpoint = current?.settings.endpoint
      if (!otlp || !endpoint || !current) throw fault('telemetry-off', 'There is no endpoint for telemetry.')
      const results = await otlp.test(now)
      return { endpoint: shownEndpoint(endpoint), protocol: current.settings.protocol, ok: results.every(({ ok }) => ok), results }
    },
    status() {
      const traces = spans.status()
      return {
        state: current === null ? 'unknown' : current.settings.endpoint === null ? 'off' : 'on',
        headers: Object.keys(current?.headers ?? {}),
        signals: {
          logs: logs.status(),
          traces: { ...traces, accepted: traces.accepted + lostSpans, lost: { ...traces.lost, full: traces.lost.full + lostSpans } },
          metrics: { ...metrics, lost: { ...metrics.lost } },
        },
      }
    },
    async close() {
      const sent = Promise.all([logs.flush(), spans.flush(), otlp?.flushMetrics()])
      let timer: NodeJS.Timeout | undefined
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, closeMs)
      })
      await Promise.race([sent, late]).catch(() => {})
      clearTimeout(timer)
      logs.disconnect('lose')
      spans.disconnect('lose')
      void otlp?.close().catch(() => {})
    },
  }
}
