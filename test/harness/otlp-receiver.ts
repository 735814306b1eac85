/** An OTLP collector that nobody here wrote (`@elastic/mockotlpserver`), and what it received, in plain values. One a test file. */
import { createRequire } from 'node:module'

export type Received = {
  name: string
  attributes: Record<string, unknown>
  traceId: string
  spanId: string
  resource: Record<string, unknown>
}
export type ReceivedSpan = Received & { parentId: string; error: boolean }
export type ReceivedMetric = { name: string; points: { attributes: Record<string, unknown>; value: number }[] }
export type OtlpReceiver = {
  url: string
  port: number
  logs: readonly Received[]
  spans: readonly ReceivedSpan[]
  metrics: readonly ReceivedMetric[]
  /** Path and headers of every request. */
  requests: readonly { path: string; headers: Record<string, string> }[]
  /** Resolves when `ready` holds, looked at with every request that comes. The test's own deadline ends the wait. */
  until(ready: () => boolean): Promise<void>
  /** Everything received, as one text. */
  text(): string
  close(): Promise<void>
}
type Server = { start(): Promise<void>; close(): Promise<void>; httpUrl: URL | string }
type Callbacks = {
  onLogs: (data: unknown) => void
  onTrace: (data: unknown) => void
  onMetrics: (data: unknown) => void
  onRequest: (request: never) => void
}
const require = createRequire(import.meta.url)
const { MockOtlpServer } = require('@elastic/mockotlpserver') as {
  MockOtlpServer: new (options: object) => Server
}

/** The package hears of every server in the process, whoever asked: so it is asked once. */
const listeners = new Set<(signal: 'logs' | 'traces' | 'metrics' | 'request', data: unknown) => void>()
const tell = (signal: 'logs' | 'traces' | 'metrics' | 'request') => (data: unknown) =>
  listeners.forEach((listener) => listener(signal, data))
let callbacks: Partial<Callbacks> = {
  onLogs: tell('logs'),
  onTrace: tell('traces'),
  onMetrics: tell('metrics'),
  onRequest: tell('request'),
}

export async function startOtlpReceiver(port = 0): Promise<OtlpReceiver> {
  const logs: Received[] = []
  const spans: ReceivedSpan[] = []
  const metrics: ReceivedMetric[] = []
  const requests: { path: string; headers: Record<string, string> }[] = []
  const raw: string[] = []
  let waiting: (() => boolean)[] = []
  const listen = (signal: string, data: unknown): void => {
    raw.push(JSON.stringify(data))
    if (signal === 'request') requests.push(data as (typeof requests)[number])
    for (const { resource, scopes } of resourcesOf(data)) {
      if (signal === 'logs')
        for (const item of scopes.flatMap((scope) => list(scope['logRecords'])))
          logs.push({ ...received(item, resource), name: String(plain(item['body'])) })
      if (signal === 'traces')
        for (const item of scopes.flatMap((scope) => list(scope['spans'])))
          spans.push({
            ...received(item, resource),
            name: String(item['name']),
            parentId: hex(item['parentSpanId']),
            error:
              Number((item['status'] as { code?: unknown } | undefined)?.code ?? 0) === 2 ||
              (item['status'] as { code?: unknown } | undefined)?.code === 'STATUS_CODE_ERROR',
          })
      if (signal === 'metrics') for (const item of scopes.flatMap((scope) => list(scope['metrics']))) metrics.push(metricOf(item))
    }
    waiting = waiting.filter((ready) => !ready())
  }
  listeners.add(listen)
  const server = new MockOtlpServer({ services: ['http'], httpHostname: '127.0.0.1', httpPort: port, logLevel: 'fatal', ...callbacks })
  callbacks = {}
  await server.start()
  const url = String(server.httpUrl).replace(/\/$/, '')
  return {
    url,
    port: Number(new URL(url).port),
    logs,
    spans,
    metrics,
    requests,
    until: (ready) =>
      new Promise((resolve) => {
        const look = (): boolean => {
          if (!ready()) return false
          resolve()
          return true
        }
        if (!look()) waiting.push(look)
      }),
    text: () => raw.join('\n'),
    async close() {
      listeners.delete(listen)
      await server.close()
    },
  }
}

type Item = Record<string, unknown>
const list = (value: unknown): Item[] => (Array.isArray(value) ? (value as Item[]) : [])

function resourcesOf(data: unknown): { resource: Record<string, unknown>; scopes: Item[] }[] {
  const message = data as Item
  const resources = list(message['resourceLogs'] ?? message['resourceSpans'] ?? message['resourceMetrics'])
  return resources.map((item) => ({
    resource: attributesOf((item['resource'] as Item | undefined)?.['attributes']),
    scopes: list(item['scopeLogs'] ?? item['scopeSpans'] ?? item['scopeMetrics']),
  }))
}

function received(item: Item, resource: Record<string, unknown>): Omit<Received, 'name'> {
  return { attributes: attributesOf(item['attributes']), traceId: hex(item['traceId']), spanId: hex(item['spanId']), resource }
}

function metricOf(item: Item): ReceivedMetric {
  const { dataPoints } = (item['sum'] ?? item['histogram'] ?? {}) as { dataPoints?: unknown }
  return {
    name: String(item['name']),
    points: list(dataPoints).map(({ ...point }) => ({
      attributes: attributesOf(point['attributes']),
      value: Number(numeric(point['asDouble'] ?? point['asInt'] ?? point['count'])),
    })),
  }
}

function attributesOf(value: unknown): Record<string, unknown> {
  return Object.fromEntries(list(value).map((item) => [String(item['key']), plain(item['value'])]))
}

/** Values as protobuf and as JSON have them. */
function plain(value: unknown): unknown {
  // What is set is the object's own; what is not, protobuf's decoder answers with a default.
  const { stringValue, intValue, doubleValue, boolValue, arrayValue } = { ...(value as Item | undefined) } as Item
  if (stringValue !== undefined) return stringValue
  if (intValue !== undefined) return Number(numeric(intValue))
  if (arrayValue !== undefined) return list((arrayValue as Item)['values']).map(plain)
  return doubleValue ?? boolValue
}

function numeric(value: unknown): unknown {
  const { low, high } = (typeof value === 'object' && value !== null ? value : {}) as { low?: number; high?: number }
  return low === undefined ? value : (high ?? 0) * 2 ** 32 + (low >>> 0)
}

function hex(value: unknown): string {
  if (typeof value === 'string') return value
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : ''
}
