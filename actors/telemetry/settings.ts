/** What policy says about telemetry, and what a policy message means for it. Pure. */
import type { Policy } from '../policy/protocol.ts'

/** Without headers: those are secrets and stay with the exporter. */
export type Settings = {
  endpoint: string | null
  decidedBy: string
  protocol: 'http/protobuf' | 'http/json'
  resource: Readonly<Record<string, string>>
  capture: readonly string[]
  traces: boolean
  prices: Prices
}
/** US dollars for a million tokens, by model name or pattern. */
export type Prices = Policy['values']['modelPrices']
/** What a record may and must carry. */
export type Rules = Pick<Settings, 'capture' | 'resource' | 'prices'>
export const noRules: Rules = { capture: [], resource: {}, prices: {} }

export function settingsOf({ values, decidedBy }: Policy): Settings {
  const { otlpEndpoint, otlpProtocol, otlpResourceAttributes, otlpContentCapture, otlpTracesEnabled, modelPrices } = values
  return {
    endpoint: otlpEndpoint,
    decidedBy: decidedBy['otlpEndpoint'] ?? 'default',
    protocol: otlpProtocol,
    resource: otlpResourceAttributes,
    capture: otlpContentCapture,
    traces: otlpTracesEnabled,
    prices: modelPrices,
  }
}

/** Address of one signal below the endpoint, as the OTLP exporter specification has it for the common endpoint. */
export function signalUrl(endpoint: string, signal: 'logs' | 'traces' | 'metrics'): string {
  const url = new URL(endpoint)
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/${signal}`
  return url.href
}

/** As it may be shown: no user, no password, no query. */
export function shownEndpoint(endpoint: string): string {
  const { protocol, host, pathname } = new URL(endpoint)
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}
