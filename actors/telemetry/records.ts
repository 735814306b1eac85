/** Events of a session as the records that leave the device: which text may go with them, and which measurements they are. Pure. */
import { maxContent, maxInputText, maxInputTotal } from './limits.ts'
import type { HopView, TelemetryEvent } from './protocol.ts'
import type { Prices, Rules } from './settings.ts'

export type Scalar = string | number | boolean
export type Attributes = Readonly<Record<string, Scalar | readonly string[]>>
export type LogRecord = { name: string; at: number; attributes: Attributes; trace: string | null; error: boolean }
export type SpanRecord = {
  name: string
  traceId: string
  spanId: string
  parentId: string | null
  startMs: number
  endMs: number
  kind: 'internal' | 'client'
  attributes: Attributes
  error: string | null
}
export type Measure = { instrument: Instrument; value: number; attributes: Attributes }
export type Instrument =
  | 'bulkhead.session.count'
  | 'bulkhead.token.usage'
  | 'bulkhead.cost.usage'
  | 'bulkhead.code_edit_tool.decision'
  | 'gen_ai.client.operation.duration'
  | 'gen_ai.execute_tool.duration'

const redacted = '<REDACTED>'
const clip = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most)}…` : text)

/** Text that policy opted in to. Prompts bring answers along, as documented for this key. */
function contentOf({ name, content = {} }: TelemetryEvent, { capture }: Rules): Record<string, string> {
  const may = (what: string): boolean => capture.includes(what)
  const { prompt, response, error, toolParameters, toolInput, body } = content
  const given: Record<string, string> = {}
  if (name === 'user_prompt') given['prompt'] = may('userPrompts') ? clip(prompt ?? '', maxContent) : redacted
  if (name === 'assistant_response')
    given['response'] = may('assistantResponses') || may('userPrompts') ? clip(response ?? '', maxContent) : redacted
  if (name === 'api_request_body' || name === 'api_response_body')
    given['body'] = may('rawApiBodies') ? clip(body ?? '', maxContent) : redacted
  if (!may('toolDetails')) return given
  if (error !== undefined) given['error_message'] = clip(error, maxContent)
  if (toolParameters !== undefined) given['tool_parameters'] = clip(toolParameters, maxInputTotal)
  if (toolInput !== undefined) given['tool_input'] = shortInput(toolInput)
  return given
}

/** A tool's input as JSON, with long texts in it cut. */
export function shortInput(input: unknown): string {
  const text = JSON.stringify(input, (_key, value: unknown) => (typeof value === 'string' ? clip(value, maxInputText) : value)) ?? 'null'
  return clip(text, maxInputTotal)
}

export function logRecord(event: TelemetryEvent, session: string | null, at: number, rules: Rules): LogRecord {
  const { name, prompt, sequence, attributes, folders, trace } = event
  return {
    name,
    at,
    trace: trace ?? null,
    error: name === 'api_error',
    attributes: {
      ...rules.resource,
      'event.name': name,
      'event.timestamp': new Date(at).toISOString(),
      'event.sequence': sequence,
      'prompt.id': prompt,
      ...(session === null ? {} : { 'session.id': session }),
      'terminal.type': 'non-interactive',
      'workspace.host_paths': folders,
      ...attributes,
      ...costAttribute(event, rules),
      ...contentOf(event, rules),
    },
  }
}

const span = (trace: string): { traceId: string; spanId: string } => {
  const [, traceId = '', spanId = ''] = trace.split('-')
  return { traceId, spanId }
}

/** Model calls and tool runs are spans too, named as OpenTelemetry's conventions for generative AI (v0.1.0) name them. */
export function eventSpan(event: TelemetryEvent, session: string | null, at: number, { capture }: Rules): SpanRecord | null {
  const { name, attributes, trace, parent, content, prompt } = event
  if (trace === undefined || parent === undefined) return null
  const text = (key: string): string => String(attributes[key] ?? '')
  const common = {
    ...span(trace),
    parentId: parent,
    startMs: at - Number(attributes['duration_ms'] ?? 0),
    endMs: at,
  }
  const ids: Attributes = { 'prompt.id': prompt, ...(session === null ? {} : { 'session.id': session }) }
  if (name === 'tool_result') {
    const output =
      capture.includes('toolContent') && content?.toolOutput !== undefined ? { tool_output: clip(content.toolOutput, maxContent) } : {}
    return {
      ...common,
      name: `execute_tool ${text('tool_name')}`,
      kind: 'internal',
      attributes: {
        ...ids,
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': text('tool_name'),
        'gen_ai.tool.call.id': text('tool_use_id'),
        ...output,
      },
      error: text('success') === 'true' ? null : text('error') || 'failed',
    }
  }
  if (name !== 'api_request' && name !== 'api_error') return null
  const usage =
    name === 'api_request'
      ? {
          'gen_ai.usage.input_tokens': Number(attributes['input_tokens'] ?? 0),
          'gen_ai.usage.output_tokens': Number(attributes['output_tokens'] ?? 0),
        }
      : {}
  return {
    ...common,
    name: `chat ${text('model')}`,
    kind: 'client',
    attributes: {
      ...ids,
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': text('model'),
      ...usage,
    },
    error: name === 'api_error' ? text('error') || 'failed' : null,
  }
}

/** A request between actors. Instance names carry session and folder names, so only the kind is in the span's name. */
export function hopSpan({ traceId, spanId, parentId, kind, from, to, startMs, endMs, error }: HopView): SpanRecord {
  return {
    name: `${kind} ${to.split(':')[0] ?? to}`,
    traceId,
    spanId,
    parentId,
    startMs,
    endMs,
    kind: 'internal',
    attributes: { 'bulkhead.message.kind': kind, 'bulkhead.actor.from': from, 'bulkhead.actor.to': to },
    error,
  }
}

const tokenTypes = {
  input: 'input_tokens',
  output: 'output_tokens',
  cacheRead: 'cache_read_tokens',
  cacheCreation: 'cache_creation_tokens',
} as const
const edits: readonly Scalar[] = ['Write', 'Edit', 'NotebookEdit']

/** US dollars; null when no price is known. */
function costOf({ name, attributes }: Pick<TelemetryEvent, 'name' | 'attributes'>, prices: Prices): number | null {
  if (name !== 'api_request') return null
  const price = priceOf(String(attributes['model'] ?? ''), prices)
  if (price === null) return null
  const { input, output, cacheRead = input, cacheCreation = input } = price
  const each = { input, output, cacheRead, cacheCreation }
  const micros = Object.entries(tokenTypes).reduce(
    (sum, [type, key]) => sum + Number(attributes[key] ?? 0) * each[type as keyof typeof tokenTypes],
    0,
  )
  return Math.round(micros) / 1e6
}

function priceOf(model: string, prices: Prices): Prices[string] | null {
  if (Object.hasOwn(prices, model)) return prices[model] ?? null
  const fitting = Object.keys(prices).filter((pattern) => pattern.includes('*') && fits(pattern, model))
  const [best] = fitting.toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1))
  return best === undefined ? null : (prices[best] ?? null)
}

function fits(pattern: string, model: string): boolean {
  const [head = '', tail = ''] = pattern.split('*')
  return model.length >= head.length + tail.length && model.startsWith(head) && model.endsWith(tail)
}

function costAttribute(event: TelemetryEvent, { prices }: Rules): { cost_usd?: number } {
  const cost = costOf(event, prices)
  return cost === null ? {} : { cost_usd: cost }
}

export function measuresOf(event: TelemetryEvent, { prices }: Rules): Measure[] {
  const { name, attributes } = event
  const { model = '', tool_name: tool = '', decision = '', source = '', success = '' } = attributes
  const seconds = Number(attributes['duration_ms'] ?? 0) / 1000
  const cost = costOf(event, prices)
  const chat = { 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'anthropic', 'gen_ai.request.model': model }
  switch (name) {
    case 'api_request':
      return [
        ...Object.entries(tokenTypes).flatMap(([type, key]): Measure[] => {
          const value = Number(attributes[key] ?? 0)
          return value > 0 ? [{ instrument: 'bulkhead.token.usage', value, attributes: { type, model } }] : []
        }),
        ...(cost === null ? [] : [{ instrument: 'bulkhead.cost.usage' as const, value: cost, attributes: { model } }]),
        { instrument: 'gen_ai.client.operation.duration', value: seconds, attributes: chat },
      ]
    case 'api_error':
      return [
        {
          instrument: 'gen_ai.client.operation.duration',
          value: seconds,
          attributes: { ...chat, 'error.type': String(attributes['error'] ?? '_OTHER') },
        },
      ]
    case 'tool_result':
      return [
        {
          instrument: 'gen_ai.execute_tool.duration',
          value: seconds,
          attributes: {
            'gen_ai.tool.name': tool,
            ...(success === 'true' ? {} : { 'error.type': String(attributes['error'] ?? 'tool_error') }),
          },
        },
      ]
    case 'tool_decision':
      return edits.includes(tool)
        ? [{ instrument: 'bulkhead.code_edit_tool.decision', value: 1, attributes: { tool_name: tool, decision, source } }]
        : []
    default:
      return []
  }
}
