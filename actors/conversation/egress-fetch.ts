/**
 * `fetch` for the SDK, in a process without a network: a request becomes a `model` message to egress, its streamed parts a
 * real Response. The body is read at the SDK's pace: a part is acknowledged, and with it credit given, only when there is room.
 */
import * as Cause from 'effect/Cause'
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import { asFault, type EffectContext, type Fault, fault, isFault, type PartOf } from '../../kernel/index.ts'
import type { protocol as egress } from '../egress/protocol.ts'
import { MODEL_IDLE_MS, RESPONSE_BUFFER_BYTES } from './limits.ts'

type ModelPart = PartOf<typeof egress, 'model'>
type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** A refusal on its way through the SDK, which knows errors only. */
export class RefusedError extends Error {
  readonly fault: Fault
  constructor(refusal: Fault) {
    super(refusal.message)
    this.name = 'RefusedError'
    this.fault = refusal
  }
}

/**
 * @param hold waits until what earlier parts led to is delivered; without it a slow client would not slow the model down
 * @param idleMs silence after which the answer counts as broken off
 */
export function egressFetch(context: Pick<EffectContext, 'request'>, hold: () => Promise<void>, idleMs: number = MODEL_IDLE_MS): Fetch {
  return (input, init = {}) =>
    new Promise<Response>((resolve, reject) => {
      const url = new URL(input instanceof Request ? input.url : input)
      const abort = new AbortController()
      const { signal } = init
      const body = responseBody(() => abort.abort())
      const stop = (reason: unknown): void => {
        abort.abort()
        reject(reason)
        body.fail(reason)
      }
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = (): void => stop(signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })

      let idle: NodeJS.Timeout | undefined
      let over = false
      const listen = (): void => {
        clearTimeout(idle)
        if (over) return
        idle = setTimeout(
          () => stop(new RefusedError(fault('model-unreachable', 'The model API went silent.', { cause: `nothing for ${idleMs} ms` }))),
          idleMs,
        )
      }
      const onPart = async (raw: unknown): Promise<void> => {
        const part = raw as ModelPart
        if (part.type === 'head') {
          // A status that must not have a body cannot be built with one.
          const empty = part.status === 204 || part.status === 205 || part.status === 304
          resolve(new Response(empty ? null : body.stream, { status: part.status, headers: part.headers }))
        } else await body.push(part.bytes)
        clearTimeout(idle)
        await hold()
        listen()
      }

      const request = {
        method: init.method ?? 'GET',
        path: url.pathname + url.search,
        headers: Object.fromEntries(new Headers(init.headers)),
        body: typeof init.body === 'string' ? init.body : '',
      }
      listen()
      void Effect.runPromiseExit(context.request('egress', 'model', request, { deadlineMs: null, onPart }), { signal: abort.signal }).then(
        (exit) => {
          over = true
          clearTimeout(idle)
          signal?.removeEventListener('abort', onAbort)
          if (Exit.isSuccess(exit)) {
            // Only a mute answer is still waiting for its head here.
            reject(new RefusedError(fault('model-unreachable', 'The model API gave no answer.')))
            return body.end()
          }
          const squashed = Cause.squash(exit.cause)
          const error = new RefusedError(isFault(squashed) ? squashed : asFault(squashed))
          reject(error)
          body.fail(error)
        },
      )
    })
}

/** A body that is pushed into; `push` resolves when there is room for more. */
function responseBody(onCancel: () => void): {
  stream: ReadableStream<Uint8Array>
  push(bytes: Uint8Array): Promise<void>
  end(): void
  fail(reason: unknown): void
} {
  let controller!: ReadableStreamDefaultController<Uint8Array>
  let open = true
  let roomMade: () => void = () => {}
  const close = (): void => {
    open = false
    roomMade()
  }
  const stream = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given
      },
      pull() {
        roomMade()
      },
      cancel() {
        close()
        onCancel()
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: RESPONSE_BUFFER_BYTES }),
  )
  return {
    stream,
    async push(bytes) {
      if (!open) return
      controller.enqueue(bytes)
      if ((controller.desiredSize ?? 0) > 0) return
      await new Promise<void>((resolve) => {
        roomMade = resolve
      })
    },
    end() {
      if (!open) return
      close()
      controller.close()
    },
    fail(reason) {
      if (!open) return
      close()
      controller.error(reason)
    },
  }
}
