import { setImmediate as turn } from 'node:timers/promises'
import * as Effect from 'effect/Effect'
import { describe, expect, test } from 'vitest'
import { type EffectContext, type Fault, fault, type RequestOptions } from '../../kernel/index.ts'
import { egressFetch } from './egress-fetch.ts'
import { RESPONSE_BUFFER_BYTES } from './limits.ts'

/** Egress as a script: `run` sends parts and returns when the answer is over; throwing a fault refuses. */
function scripted(
  run: (part: (body: unknown) => Promise<void>, signal: AbortSignal) => Promise<void>,
): Pick<EffectContext, 'request'> & { sent: unknown[] } {
  const sent: unknown[] = []
  return {
    sent,
    request: (to, kind, body, options: RequestOptions = {}) =>
      Effect.tryPromise({
        try: async (signal) => {
          sent.push({ to, kind, body })
          await run(async (part) => options.onPart?.(part), signal)
          return { body: {}, caps: [] }
        },
        catch: (error) => error as Fault,
      }),
  }
}
const head = { type: 'head', status: 200, headers: { 'content-type': 'text/plain' } }
const chunk = (text: string): unknown => ({ type: 'chunk', bytes: new TextEncoder().encode(text) })
const soon = async (): Promise<void> => {}

describe('a response built from parts', () => {
  test('is a real one: status, headers, body; the request is passed on as it is', async () => {
    const context = scripted(async (part) => {
      await part({ ...head, status: 201 })
      await part(chunk('one '))
      await part(chunk('two'))
    })
    const response = await egressFetch(context, soon)('https://model.invalid/v1/messages?beta=1', {
      method: 'POST',
      headers: { 'X-Api-Key': 'placeholder' },
      body: '{}',
    })
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([201, 'text/plain', 'one two'])
    expect(context.sent).toEqual([
      {
        to: 'egress',
        kind: 'model',
        body: { method: 'POST', path: '/v1/messages?beta=1', headers: { 'x-api-key': 'placeholder' }, body: '{}' },
      },
    ])
  })

  test('holds the sender back while nobody reads', async () => {
    let sent = 0
    const context = scripted(async (part) => {
      await part(head)
      for (; sent < 10; sent++) await part({ type: 'chunk', bytes: new Uint8Array(RESPONSE_BUFFER_BYTES / 2) })
    })
    const response = await egressFetch(context, soon)('https://model.invalid/', {})
    await turn()
    expect(sent).toBeLessThan(3)
    expect((await response.arrayBuffer()).byteLength).toBe(5 * RESPONSE_BUFFER_BYTES)
  })

  test('holds the sender back while what was read is not delivered', async () => {
    let deliver: () => void = () => {}
    const delivered = new Promise<void>((resolve) => {
      deliver = resolve
    })
    let ended = false
    const context = scripted(async (part) => {
      await part(head)
      ended = true
    })
    const response = await egressFetch(context, () => delivered)('https://model.invalid/', {})
    await turn()
    expect(ended).toBe(false)
    deliver()
    expect(await response.text()).toBe('')
  })

  test('ends with an error when the sender fails in the middle, and cannot be taken for whole', async () => {
    const context = scripted(async (part) => {
      await part(head)
      throw fault('actor-down', 'egress died')
    })
    const response = await egressFetch(context, soon)('https://model.invalid/', {})
    await expect(response.text()).rejects.toMatchObject({ fault: { code: 'actor-down' } })
  })
})

describe('no response', () => {
  test('a refusal is what it was', async () => {
    const context = scripted(() => Promise.reject(fault('attenuated', 'not allowed')))
    await expect(egressFetch(context, soon)('https://model.invalid/', {})).rejects.toMatchObject({ fault: { code: 'attenuated' } })
  })

  test('an answer without a head is unreachable', async () => {
    await expect(egressFetch(scripted(soon), soon)('https://model.invalid/', {})).rejects.toMatchObject({
      fault: { code: 'model-unreachable' },
    })
  })

  test('silence is unreachable, and the request is given up', async () => {
    let given: AbortSignal | null = null
    const context = scripted((_, signal) => {
      given = signal
      return new Promise(() => {})
    })
    await expect(egressFetch(context, soon, 20)('https://model.invalid/', {})).rejects.toMatchObject({
      fault: { code: 'model-unreachable', cause: 'nothing for 20 ms' },
    })
    expect(given).toMatchObject({ aborted: true })
  })
})

describe('abort', () => {
  const waiting = (seen: { signal?: AbortSignal }, first?: unknown): Pick<EffectContext, 'request'> =>
    scripted(async (part, signal) => {
      seen.signal = signal
      if (first) await part(first)
      await new Promise(() => {})
    })

  test('before the head, in the body, and by cancelling the body: the request is cancelled', async () => {
    const seen: { signal?: AbortSignal } = {}
    const abort = new AbortController()
    const pending = egressFetch(waiting(seen), soon)('https://model.invalid/', { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(pending).rejects.toThrow('enough')
    expect(seen.signal?.aborted).toBe(true)

    const later = new AbortController()
    const response = await egressFetch(waiting(seen, head), soon)('https://model.invalid/', { signal: later.signal })
    later.abort(new Error('enough'))
    await expect(response.text()).rejects.toThrow('enough')
    expect(seen.signal?.aborted).toBe(true)

    const unread = await egressFetch(waiting(seen, head), soon)('https://model.invalid/', {})
    await unread.body?.cancel()
    await expect.poll(() => seen.signal?.aborted).toBe(true)
  })
})
