/** One model call through the SDK: streams what the member sees, returns the finished message, turns every failure into a fault. */
import Anthropic, { APIConnectionError, APIError } from '@anthropic-ai/sdk'
import type { ContentBlockParam, Message, MessageCreateParamsBase } from '@anthropic-ai/sdk/resources/messages'
import { type EffectContext, type Fault, fault, isFault } from '../../kernel/index.ts'
import { egressFetch, RefusedError } from './egress-fetch.ts'
import { BROKEN_STREAM_RETRIES, MODEL_HEADERS_TIMEOUT_MS, MODEL_RETRIES } from './limits.ts'
import type { ConversationEvent } from './protocol.ts'
import type { ModelAnswer } from './steps.ts'

/** A request that was not answered well. */
export type ModelAttempt = {
  /** Code of the fault it would be, and its words. */
  code: string
  message: string
  /** HTTP status; null: no answer came. */
  status: number | null
  durationMs: number
  /** From 1. */
  attempt: number
  /** No other follows it. */
  last: boolean
}

/**
 * Rejects with a fault (`model-unreachable`, `model-refused`, or what the router refused with). Aborting `signal` cancels the
 * request at egress.
 * @param request the prompt whose requester sees the text
 */
export async function callModel(
  context: Pick<EffectContext, 'request' | 'part'>,
  request: number,
  body: MessageCreateParamsBase,
  signal: AbortSignal,
  onFailure: (attempt: ModelAttempt) => void = () => {},
): Promise<ModelAnswer> {
  const attempts = countAttempts(onFailure)
  let shown = false
  let delivered: Promise<void> = Promise.resolve()
  let refusal: Fault | undefined
  const show = (event: ConversationEvent): void => {
    shown = true
    delivered = delivered.then(() => context.part(request, event))
    // A part that cannot be delivered ends the request; whoever awaits `delivered` last hears of it.
    delivered.catch(() => {})
  }
  const fetch = egressFetch(context, () => delivered)
  const client = new Anthropic({
    // Egress puts the real key in its place, and knows the real address; nothing here comes from the environment.
    apiKey: 'placeholder',
    authToken: null,
    webhookKey: null,
    baseURL: 'https://model.invalid',
    fetch: async (input, init) => {
      attempts.begin()
      try {
        const response = await fetch(input, init)
        if (!response.ok)
          attempts.failed(response.status, modelFault(APIError.generate(response.status, undefined, response.statusText, response.headers)))
        return response
      } catch (error) {
        if (!init?.signal?.aborted) attempts.failed(null, modelFault(error))
        refusal = error instanceof RefusedError ? error.fault : undefined
        // The SDK retries what `fetch` throws. A refusal by rule stays one, so it is given as an answer that is not retried.
        if (refusal && !isPassing(refusal))
          return Response.json(
            { type: 'error', error: { type: 'permission_error', message: refusal.message } },
            { status: 403, headers: { 'x-should-retry': 'false' } },
          )
        throw error
      }
    },
    maxRetries: MODEL_RETRIES,
    timeout: MODEL_HEADERS_TIMEOUT_MS,
    logLevel: 'off',
    openTelemetry: false,
  })

  for (let attempt = 0; ; attempt++) {
    refusal = undefined
    try {
      const stream = client.messages.stream(body as Parameters<typeof client.messages.stream>[0], { signal })
      stream.on('text', (text) => show({ type: 'text', text }))
      stream.on('thinking', (text) => show({ type: 'thinking', text }))
      const message = await stream.finalMessage()
      await delivered
      return { ...answerOf(message), requestId: stream.request_id ?? undefined, durationMs: attempts.durationMs() }
    } catch (error) {
      signal.throwIfAborted()
      // The answer had begun, so no failure of this attempt is noted yet.
      attempts.failed(null, refusal ?? modelFault(error))
      const again = attempt < BROKEN_STREAM_RETRIES && !shown && brokeOff(error)
      if (!again) {
        attempts.end()
        throw refusal ?? modelFault(error)
      }
    }
  }
}

/** Tells of each attempt that failed, once it is known whether another follows. */
function countAttempts(tell: (attempt: ModelAttempt) => void) {
  let attempt = 0
  let began = 0
  let pending: Omit<ModelAttempt, 'last'> | null = null
  const durationMs = (): number => Math.round(performance.now() - began)
  const flush = (last: boolean): void => {
    if (pending) tell({ ...pending, last })
    pending = null
  }
  return {
    durationMs,
    begin() {
      flush(false)
      attempt++
      began = performance.now()
    },
    failed(status: number | null, { code, message, cause }: Fault) {
      pending ??= { code, message: cause ? `${message} ${cause}` : message, status, durationMs: durationMs(), attempt }
    },
    end: () => flush(true),
  }
}

/** What is kept of a message: its blocks as plain data, thinking and its signature unchanged. */
function answerOf({ content, stop_reason, stop_details, usage }: Message): Omit<ModelAnswer, 'durationMs'> {
  const { cache_read_input_tokens: cacheRead, cache_creation_input_tokens: cacheCreation } = usage
  return {
    content: JSON.parse(JSON.stringify(content)) as ContentBlockParam[],
    stopReason: stop_reason,
    refusal: stop_details?.explanation ?? stop_details?.category ?? undefined,
    usage: {
      input: (usage.input_tokens ?? 0) + (cacheCreation ?? 0) + (cacheRead ?? 0),
      output: usage.output_tokens ?? 0,
      cacheRead: cacheRead ?? 0,
      cacheCreation: cacheCreation ?? 0,
    },
    speed: (usage as { speed?: unknown }).speed === 'fast' ? 'fast' : 'normal',
  }
}

/** Worth another try: the receiver was not there or not ready. What a capability does not allow stays so. */
function isPassing({ code }: Fault): boolean {
  return code === 'model-unreachable' || code === 'actor-down' || code === 'overloaded' || code === 'deadline' || code === 'not-now'
}

/** The answer began and then failed; the SDK retries only what failed before. */
function brokeOff(error: unknown): boolean {
  if (error instanceof RefusedError) return isPassing(error.fault)
  if (error instanceof APIConnectionError) return false
  if (error instanceof APIError) return error.status === undefined && (error.type === 'overloaded_error' || error.type === 'api_error')
  return true
}

function modelFault(error: unknown): Fault {
  if (isFault(error)) return error
  if (error instanceof RefusedError) return error.fault
  if (error instanceof APIConnectionError)
    return fault('model-unreachable', 'The model API could not be reached.', { cause: causeOf(error) })
  if (error instanceof APIError) {
    // The class leaves its status and headers open to `any`.
    const { status, type, headers } = error as APIError
    const cause = error.apiMessage ?? error.message
    const passing = status === 429 || (status ?? 0) >= 500 || type === 'overloaded_error' || type === 'api_error'
    if (!passing) return fault('model-refused', `The model API refused the request (${status ?? type ?? 'error'}).`, { cause })
    const wait = Number(headers?.get('retry-after')) * 1000
    return fault(
      'model-unreachable',
      status === 429 ? 'The model API limits how fast this key may ask.' : 'The model API is overloaded or failing.',
      {
        cause,
        remedy: 'Try again in a while.',
        ...(wait > 0 ? { retryAfterMs: wait } : {}),
      },
    )
  }
  return fault('model-unreachable', 'The answer of the model API broke off.', { cause: causeOf(error), remedy: 'Try again.' })
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}
