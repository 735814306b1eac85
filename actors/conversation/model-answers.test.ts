import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { fault } from '../../kernel/index.ts'
import { type Harness, type ModelBody, type Peers, resultsIn, startConversation } from '../../test/harness/conversation.ts'
import { answerBytes, say, use } from '../../test/harness/scripted-model.ts'

let running: Harness | null = null
async function start(peers: Peers, options?: Parameters<typeof startConversation>[1]): Promise<Harness> {
  running = await startConversation(peers, options)
  return running
}
afterEach(async () => {
  await running?.stop()
  running = null
})

type Ended = { status: string; text: string; error?: { code: string; cause?: string } }

describe('stop reasons', () => {
  const outcome = async (answers: ReturnType<typeof say>[]): Promise<{ reply: Ended; bodies: ModelBody[] }> => {
    const bodies: ModelBody[] = []
    const { prompt } = await start({
      model: (body, n) => {
        bodies.push(body)
        return answers[n] ?? say('end')
      },
    })
    return { reply: (await prompt('go')).reply as Ended, bodies }
  }

  test('max_tokens: the answer is continued and joined', async () => {
    const { reply, bodies } = await outcome([say('first half, ', 'max_tokens'), say('second half')])
    expect(reply).toMatchObject({ status: 'done', text: 'first half, second half' })
    expect(bodies[1]?.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
  })

  test('max_tokens without end is reported', async () => {
    const { reply } = await outcome([1, 2, 3, 4].map((n) => say(`${n}`, 'max_tokens')))
    expect(reply).toMatchObject({ status: 'failed', text: '1234', error: { code: 'output-limit' } })
  })

  test('max_tokens in the middle of a tool call: the call is not carried out', async () => {
    const { bodies } = await outcome([{ ...use(['w', 'Write', { file_path: 'a', content: 'half' }]), stopReason: 'max_tokens' }, say('ok')])
    expect(resultsIn(bodies[1] as ModelBody)['w']).toMatchObject({ error: true, text: expect.stringContaining('cut off') as string })
    expect(running?.heard.every(({ peer }) => peer === 'egress')).toBe(true)
  })

  test('pause_turn: resent as it is', async () => {
    const { reply, bodies } = await outcome([say('working', 'pause_turn'), say('done')])
    expect(reply).toMatchObject({ status: 'done', text: 'done' })
    expect(bodies[1]?.messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
  })

  test('refusal: reported, and withdrawn from what later calls send', async () => {
    const bodies: ModelBody[] = []
    const { prompt, history } = await start({
      model: (body, n) => {
        bodies.push(body)
        return n === 0
          ? { content: [], stopReason: 'refusal', stopDetails: { type: 'refusal', category: 'cyber', explanation: 'not this' } }
          : say('fine')
      },
    })
    expect((await prompt('bad')).reply).toMatchObject({ status: 'refused', error: { code: 'declined', cause: 'not this' } })
    expect(await history()).toBe(0)
    expect((await prompt('good')).reply.status).toBe('done')
    expect(bodies[1]?.messages.map(({ content }) => content[0]?.text)).toEqual(['good'])
  })

  test('stop_sequence ends; a full context window is an error', async () => {
    expect((await outcome([say('x', 'stop_sequence')])).reply.status).toBe('done')
    await running?.stop()
    expect((await outcome([say('x', 'model_context_window_exceeded')])).reply).toMatchObject({
      status: 'failed',
      error: { code: 'context-full' },
    })
  })

  test('a model that never stops calling tools is stopped', async () => {
    const { prompt } = await start({ model: (_, n) => use([`c${n}`, 'Dance', {}]) })
    const { reply } = await prompt('go')
    expect(reply).toMatchObject({ status: 'failed', error: { code: 'turn-limit' }, toolCalls: 60 })
  })

  test('an answer without content ends the turn and is not kept: the API would not take it back', async () => {
    const { reply } = await outcome([{ content: [] }])
    expect(reply).toEqual({ status: 'done', text: '', toolCalls: 0 })
    expect(await running?.history()).toBe(1)
  })
})

describe('when the model API fails', () => {
  const failing = async (model: Peers['model'], onEvent: (event: { type: string }) => void = () => {}): Promise<Ended> =>
    (await (await start({ model })).prompt('go', { onEvent })).reply as Ended
  const json =
    (status: number, type: string, headers: Record<string, string> = {}): Peers['model'] =>
    (_, __, from) => {
      from.part({ type: 'head', status, headers: { 'content-type': 'application/json', ...headers } })
      from.part({
        type: 'chunk',
        bytes: new TextEncoder().encode(JSON.stringify({ type: 'error', error: { type, message: `said ${type}` } })),
      })
      return 'sent'
    }

  test('a wrong key is model-refused, with the reason', async () => {
    expect(await failing(json(401, 'authentication_error'))).toMatchObject({
      status: 'failed',
      error: { code: 'model-refused', cause: 'said authentication_error' },
    })
  })

  test('overload is retried by the SDK', async () => {
    const overloaded = json(529, 'overloaded_error', { 'retry-after-ms': '1' })
    expect(await failing((body, n, from) => (n < 2 ? overloaded(body, n, from) : say('ok')))).toMatchObject({ status: 'done' })
  })

  test('overload that stays is reported, with when to try again', async () => {
    expect(await failing(json(529, 'overloaded_error', { 'retry-after': '0.001' }))).toMatchObject({
      status: 'failed',
      error: { code: 'model-unreachable', cause: 'said overloaded_error', retryAfterMs: 1 },
    })
  })

  test('unreachable stays what egress said', async () => {
    const reply = await failing(() => {
      throw fault('model-unreachable', 'no route', { cause: 'ECONNREFUSED' })
    })
    expect(reply).toMatchObject({ status: 'failed', error: { code: 'model-unreachable', cause: 'ECONNREFUSED' } })
  }, 15_000)

  test('a refusal by rule is not retried', async () => {
    let calls = 0
    const reply = await failing(() => {
      calls++
      throw fault('revoked', 'taken back')
    })
    expect(reply).toMatchObject({ status: 'failed', error: { code: 'revoked' } })
    expect(calls).toBe(1)
  })

  test('an answer that breaks off unseen is asked for again; one the member saw a part of is not', async () => {
    let onText: () => void = () => {}
    const onEvent = ({ type }: { type: string }): void => void (type === 'text' && onText())
    const broken =
      (shown: boolean): Peers['model'] =>
      async (_, n, from) => {
        const seen = new Promise<void>((resolve) => (onText = resolve))
        if (n > 0) return say('ok')
        const [whole] = answerBytes(say('some text'), 100_000) as [Uint8Array]
        from.part({ type: 'head', status: 200, headers: { 'content-type': 'text/event-stream' } })
        from.part({ type: 'chunk', bytes: whole.slice(0, shown ? Math.floor(whole.length * 0.6) : 60) })
        // What is not read yet when an answer breaks off is lost, so it has to be read first.
        await (shown ? seen : turn())
        throw fault('model-unreachable', 'broke off')
      }
    expect(await failing(broken(false), onEvent)).toMatchObject({ status: 'done' })
    await running?.stop()
    expect(await failing(broken(true), onEvent)).toMatchObject({ status: 'failed', error: { code: 'model-unreachable' } })
  })

  test('an error inside the stream is treated the same', async () => {
    const inside: Peers['model'] = (_, n, from) => {
      if (n > 0) return say('ok')
      from.part({ type: 'head', status: 200, headers: { 'content-type': 'text/event-stream' } })
      from.part({
        type: 'chunk',
        bytes: new TextEncoder().encode('event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'),
      })
      return 'sent'
    }
    expect(await failing(inside)).toMatchObject({ status: 'done', text: 'ok' })
  })

  test('a stream that just ends is asked for again', async () => {
    const ends: Peers['model'] = (_, n, from) => {
      if (n > 0) return say('ok')
      from.part({ type: 'head', status: 200, headers: { 'content-type': 'text/event-stream' } })
      return 'sent'
    }
    expect(await failing(ends)).toMatchObject({ status: 'done', text: 'ok' })
  })
})
