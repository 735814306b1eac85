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

const file = (text: string): unknown => ({
  text,
  sha256: 'a'.repeat(64),
  lines: text.split('\n').length - 1,
  truncated: false,
  size: text.length,
})

/** Never ends by itself; tells when it is cancelled. */
const untilCancelled = (signal: AbortSignal, note: () => void): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      note()
      reject(fault('cancelled', 'x'))
    })
  })

describe('interrupt', () => {
  test('in the middle of the answer: egress is cancelled, the history stays usable', async () => {
    let cancelled = false
    const bodies: ModelBody[] = []
    const harness = await start({
      model: (body, n, from) => {
        bodies.push(body)
        if (n > 0) return say('again')
        from.part({ type: 'head', status: 200, headers: {} })
        for (const bytes of answerBytes(say('a long answer')).slice(0, 18)) from.part({ type: 'chunk', bytes })
        return untilCancelled(from.signal, () => {
          cancelled = true
        })
      },
    })
    const abort = new AbortController()
    const pending = harness.prompt('go', { signal: abort.signal, onEvent: (event) => event.type === 'text' && abort.abort() })
    await expect(pending).rejects.toMatchObject({ code: 'cancelled' })
    await expect.poll(() => cancelled).toBe(true)
    expect((await harness.prompt('next')).reply).toMatchObject({ status: 'done', text: 'again' })
    expect(bodies[1]?.messages.map(({ content }) => content.map(({ text }) => text))).toEqual([
      ['go'],
      ['[The member interrupted this turn.]'],
      ['next'],
    ])
  })

  test('in the middle of a command: it is cancelled, and its call gets a result', async () => {
    let cancelled = false
    const bodies: ModelBody[] = []
    const harness = await start({
      model: (body, n) => {
        bodies.push(body)
        return n === 0 ? use(['b1', 'Bash', { command: 'sleep 100' }], ['b2', 'Bash', { command: 'x' }]) : say('again')
      },
      exec: (_, __, from) => {
        from.part({ type: 'stdout', text: 'started\n' })
        return untilCancelled(from.signal, () => {
          cancelled = true
        })
      },
    })
    const abort = new AbortController()
    await expect(
      harness.prompt('go', { signal: abort.signal, onEvent: (event) => event.type === 'tool_output' && abort.abort() }),
    ).rejects.toMatchObject({ code: 'cancelled' })
    await expect.poll(() => cancelled).toBe(true)
    await harness.prompt('next')
    expect(resultsIn(bodies[1] as ModelBody)).toMatchObject({
      b1: { error: true, text: expect.stringContaining('may or may not') as string },
      b2: { error: true },
    })
    expect(bodies[1]?.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'user'])
  })

  test('while the member is being asked: the question is taken back', async () => {
    let taken = false
    const abort = new AbortController()
    const harness = await start({
      model: (_, n) => (n === 0 ? use(['b', 'Bash', { command: 'x' }]) : say('again')),
      consent: (_, from) => {
        setImmediate(() => abort.abort())
        return untilCancelled(from.signal, () => {
          taken = true
        })
      },
    })
    await expect(harness.prompt('go', { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' })
    await expect.poll(() => taken).toBe(true)
    expect((await harness.prompt('next')).reply.status).toBe('done')
  })
})

describe('the journal', () => {
  test('a message is durable before anything happens because of it, and a restarted conversation continues', async () => {
    const kinds: string[] = []
    const bodies: ModelBody[] = []
    const harness = await start({
      model: async (body, n) => {
        bodies.push(body)
        kinds.push(`model after ${(await running?.journal())?.length}`)
        return n === 0 ? use(['r', 'Read', { file_path: 'a' }]) : say(`answer ${n}`)
      },
      gate: async () => {
        kinds.push(`read after ${(await running?.journal())?.length}`)
        return file('x\n')
      },
    })
    await harness.prompt('one')
    expect(kinds).toEqual(['model after 1', 'read after 2', 'model after 3'])
    expect((await harness.journal()).map(({ type, entry }) => `${type} ${entry.role}`)).toEqual([
      'message user',
      'message assistant',
      'message user',
      'message assistant',
    ])
    await harness.restart()
    await expect.poll(() => harness.history()).toBe(4)
    await harness.prompt('two')
    expect(bodies[2]?.messages.length).toBe(5)
  })

  test('a conversation stopped while a tool ran answers the open call itself when it continues', async () => {
    const bodies: ModelBody[] = []
    const harness = await start({
      model: (body, n) => {
        bodies.push(body)
        return n === 0 ? use(['b', 'Bash', { command: 'x' }]) : say('ok')
      },
      exec: () => new Promise(() => {}),
    })
    const lost = harness.prompt('one').catch((error: { code: string }) => error.code)
    await expect.poll(() => harness.heard.some(({ peer }) => peer === 'vm-supervisor')).toBe(true)
    await harness.restart()
    expect(await lost).toBe('actor-down')
    await harness.prompt('two')
    expect(resultsIn(bodies[1] as ModelBody)['b']).toMatchObject({
      error: true,
      text: expect.stringContaining('No result') as string,
    })
  })
})
