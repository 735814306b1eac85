/**
 * OpenTelemetry's SDK and OTLP exporters (I/O). Loaded here and nowhere else, and only when there is an endpoint: nothing of it is in memory
 * without one. Records come in our own form and leave through the SDK's.
 */
import { arch, platform, release, userInfo } from 'node:os'
import type { Attributes as OtelAttributes, Context, SpanContext } from '@opentelemetry/api'
import type { ExportResult } from '@opentelemetry/core'
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs'
import type { PushMetricExporter, ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { exportTimeoutMs, metricsEveryMs } from './limits.ts'
import type { TelemetryTest } from './protocol.ts'
import type { Attributes, LogRecord, Measure, SpanRecord } from './records.ts'
import { type Settings, signalUrl } from './settings.ts'
import type { Outcome } from './signal.ts'

export type Otlp = {
  logs(batch: readonly LogRecord[]): Promise<Outcome>
  spans(batch: readonly SpanRecord[]): Promise<Outcome>
  measure(measure: Measure): void
  /** Exports the metrics now; how it went is in what `onMetrics` was told. */
  flushMetrics(): Promise<Outcome>
  test(now: number): Promise<TelemetryTest['results']>
  close(): Promise<void>
}
type Exporter<T> = { export(items: T, done: (result: ExportResult) => void): void; shutdown(): Promise<void> }

const scope = 'dev.bulkhead'
const version = '0.1.0'
/** Seconds: model calls and tools take from milliseconds to minutes; the SDK's default buckets are made for milliseconds. */
const secondsBuckets = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600]

/** @param headers secrets: they go into requests to the endpoint and into nothing else */
export async function openOtlp(
  settings: Settings & { endpoint: string },
  headers: Readonly<Record<string, string>>,
  onMetrics: (outcome: Outcome) => void,
): Promise<Otlp> {
  const json = settings.protocol === 'http/json'
  const [api, core, resources, sdkLogs, sdkMetrics, logsModule, metricsModule, traceModule] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/core'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-logs'),
    import('@opentelemetry/sdk-metrics'),
    json ? import('@opentelemetry/exporter-logs-otlp-http') : import('@opentelemetry/exporter-logs-otlp-proto'),
    json ? import('@opentelemetry/exporter-metrics-otlp-http') : import('@opentelemetry/exporter-metrics-otlp-proto'),
    json ? import('@opentelemetry/exporter-trace-otlp-http') : import('@opentelemetry/exporter-trace-otlp-proto'),
  ])
  const rejected = listenForRejections(api)
  const options = (signal: 'logs' | 'traces' | 'metrics') => ({
    url: signalUrl(settings.endpoint, signal),
    headers: { ...headers },
    timeoutMillis: exportTimeoutMs,
    userAgent: `bulkhead/${version}`,
  })
  const logExporter = new logsModule.OTLPLogExporter(options('logs'))
  const spanExporter = new traceModule.OTLPTraceExporter(options('traces'))
  const metricExporter = new metricsModule.OTLPMetricExporter(options('metrics'))
  // The organization's own attributes first: what the product says of itself cannot be overridden.
  const resource = resources.resourceFromAttributes({
    ...settings.resource,
    'service.name': 'bulkhead',
    'service.version': version,
    'host.arch': arch(),
    'os.type': platform(),
    'os.version': release(),
    'process.owner': userInfo().username,
  })

  const secrets = Object.values(headers).filter((value) => value.length > 3)
  const send = <T>(exporter: Exporter<T>, items: T, what: keyof Rejected): Promise<Outcome> =>
    new Promise((resolve) => {
      rejected[what] = 0
      exporter.export(items, ({ code, error }) => {
        if (code === core.ExportResultCode.SUCCESS)
          return resolve({ type: 'sent', ...(rejected[what] > 0 ? { refused: rejected[what] } : {}) })
        const outcome = failure(error)
        resolve({ ...outcome, why: withoutSecrets(outcome.why, secrets) })
      })
    })

  // The SDK makes the records; which of them wait, and for how long, is decided before they get here.
  let made: ReadableLogRecord[] = []
  const processor = { onEmit: (record: ReadableLogRecord) => void made.push(record), forceFlush: async () => {}, shutdown: async () => {} }
  const logger = new sdkLogs.LoggerProvider({ resource, processors: [processor] }).getLogger(scope, version)
  const contextOf = (trace: string | null): Context =>
    trace === null ? api.ROOT_CONTEXT : api.trace.setSpanContext(api.ROOT_CONTEXT, spanContext(trace.slice(3, 35), trace.slice(36, 52)))

  function readable({ name, at, attributes, trace, error }: LogRecord): void {
    const severity = error ? api.SeverityNumber.ERROR : api.SeverityNumber.INFO
    logger.emit({
      eventName: name,
      body: name,
      timestamp: at,
      observedTimestamp: at,
      severityNumber: severity,
      severityText: error ? 'ERROR' : 'INFO',
      attributes: plain(attributes),
      context: contextOf(trace),
    })
  }

  async function exportMetrics(metrics: ResourceMetrics, done: (result: ExportResult) => void): Promise<void> {
    lastMetrics = await send(metricExporter, metrics, 'DataPoints')
    onMetrics(lastMetrics)
    done({ code: lastMetrics.type === 'sent' ? core.ExportResultCode.SUCCESS : core.ExportResultCode.FAILED })
  }
  const counted: PushMetricExporter = {
    export(metrics: ResourceMetrics, done) {
      // Closing the reader would export once more, to a collector that may no longer be the one.
      if (closing) return done({ code: core.ExportResultCode.SUCCESS })
      void exportMetrics(metrics, done)
    },
    forceFlush: () => metricExporter.forceFlush(),
    // Cumulative: an export that is lost loses nothing, the next one has it all.
    selectAggregationTemporality: () => sdkMetrics.AggregationTemporality.CUMULATIVE,
    shutdown: () => metricExporter.shutdown(),
  }
  let closing = false
  let lastMetrics: Outcome = { type: 'retry', why: 'Nothing was exported.' }
  const reader = new sdkMetrics.PeriodicExportingMetricReader({
    exporter: counted,
    exportIntervalMillis: metricsEveryMs,
    exportTimeoutMillis: exportTimeoutMs * 2,
  })
  const meters = new sdkMetrics.MeterProvider({ resource, readers: [reader] })
  const meter = meters.getMeter(scope, version)
  const advice = { advice: { explicitBucketBoundaries: secondsBuckets } }
  const counter = (name: string, unit: string) => {
    const instrument = meter.createCounter(name, { unit })
    return (value: number, attributes: OtelAttributes) => instrument.add(value, attributes)
  }
  const seconds = (name: string) => {
    const instrument = meter.createHistogram(name, { unit: 's', ...advice })
    return (value: number, attributes: OtelAttributes) => instrument.record(value, attributes)
  }
  const instruments = {
    'bulkhead.session.count': counter('bulkhead.session.count', '{session}'),
    'bulkhead.token.usage': counter('bulkhead.token.usage', '{token}'),
    'bulkhead.cost.usage': counter('bulkhead.cost.usage', 'USD'),
    'bulkhead.code_edit_tool.decision': counter('bulkhead.code_edit_tool.decision', '{decision}'),
    'gen_ai.client.operation.duration': seconds('gen_ai.client.operation.duration'),
    'gen_ai.execute_tool.duration': seconds('gen_ai.execute_tool.duration'),
  }
  const tests = counter('bulkhead.telemetry.test', '{test}')

  function spanOf({ name, traceId, spanId, parentId, startMs, endMs, kind, attributes, error }: SpanRecord): ReadableSpan {
    return {
      name,
      kind: kind === 'client' ? api.SpanKind.CLIENT : api.SpanKind.INTERNAL,
      spanContext: () => spanContext(traceId, spanId),
      ...(parentId === null ? {} : { parentSpanContext: spanContext(traceId, parentId) }),
      startTime: core.millisToHrTime(startMs),
      endTime: core.millisToHrTime(endMs),
      duration: core.millisToHrTime(Math.max(0, endMs - startMs)),
      status: error === null ? { code: api.SpanStatusCode.UNSET } : { code: api.SpanStatusCode.ERROR, message: error },
      attributes: { ...plain(attributes), ...(error === null ? {} : { 'error.type': error }) },
      links: [],
      events: [],
      ended: true,
      resource,
      instrumentationScope: { name: scope, version },
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    }
  }

  const otlp: Otlp = {
    logs(batch) {
      made = []
      for (const record of batch) readable(record)
      return send(logExporter, made, 'LogRecords')
    },
    spans: (batch) => send(spanExporter, batch.map(spanOf), 'Spans'),
    measure: ({ instrument, value, attributes }) => instruments[instrument](value, plain(attributes)),
    async flushMetrics() {
      await meters.forceFlush()
      return lastMetrics
    },
    async test(now) {
      const ids = { traceId: hex(16), spanId: hex(8) }
      const attributes = { 'event.name': 'telemetry_test', 'event.timestamp': new Date(now).toISOString() }
      const trace = settings.traces ? `00-${ids.traceId}-${ids.spanId}-01` : null
      tests(1, {})
      const span: SpanRecord = {
        name: 'telemetry_test',
        ...ids,
        parentId: null,
        startMs: now,
        endMs: now,
        kind: 'internal',
        attributes: {},
        error: null,
      }
      return Promise.all([
        tried('logs', () => otlp.logs([{ name: 'telemetry_test', at: now, attributes, trace, error: false }])),
        tried('metrics', otlp.flushMetrics),
        ...(settings.traces ? [tried('traces', () => otlp.spans([span]))] : []),
      ])
    },
    async close() {
      closing = true
      await Promise.allSettled([logExporter.shutdown(), spanExporter.shutdown(), meters.shutdown({ timeoutMillis: exportTimeoutMs })])
    },
  }
  return otlp
}

async function tried(signal: 'logs' | 'traces' | 'metrics', work: () => Promise<Outcome>): Promise<TelemetryTest['results'][number]> {
  const began = performance.now()
  const outcome = await work()
  const ms = Math.round(performance.now() - began)
  if (outcome.type !== 'sent') return { signal, ok: false, ms, error: outcome.why }
  return outcome.refused ? { signal, ok: false, ms, error: 'The collector rejected it.' } : { signal, ok: true, ms }
}

/** A status that OTLP does not call retryable is final; whatever else happened may pass. */
function failure(error: (Error & { code?: number | string; data?: string }) | undefined): Exclude<Outcome, { type: 'sent' }> {
  const { code, data = '', message = 'unknown' } = error ?? {}
  if (typeof code !== 'number') return { type: 'retry', why: `${code ? `${code}: ` : ''}${message}` }
  const said = data.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
  return { type: 'refused', why: `HTTP ${code} ${message}${said ? `: ${said}` : ''}` }
}

/** A collector may repeat what it was sent. */
function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets.reduce((clean, secret) => clean.replaceAll(secret, '***'), text)
}

type Rejected = { LogRecords: number; Spans: number; DataPoints: number }

/** The exporters tell of records a collector rejected only through the SDK's diagnostics. One export per signal runs at a time. */
function listenForRejections(api: typeof import('@opentelemetry/api')): Rejected {
  const rejected: Rejected = { LogRecords: 0, Spans: 0, DataPoints: 0 }
  const note = (...parts: unknown[]): void => {
    for (const [, what, count] of parts
      .map(String)
      .join(' ')
      .matchAll(/"rejected(LogRecords|Spans|DataPoints)":\s*"?(\d+)/g))
      rejected[what as keyof Rejected] += Number(count)
  }
  const quiet = (): void => {}
  const logger = { error: quiet, warn: note, info: quiet, debug: quiet, verbose: quiet }
  api.diag.setLogger(logger, { logLevel: api.DiagLogLevel.WARN, suppressOverrideMessage: true })
  return rejected
}

const spanContext = (traceId: string, spanId: string): SpanContext => ({ traceId, spanId, traceFlags: 1 })
const hex = (bytes: number): string => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString('hex')
const plain = (attributes: Attributes): OtelAttributes => ({ ...attributes }) as OtelAttributes
