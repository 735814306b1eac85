/** What waits for a collector that is down, slow, refusing, or gone: bounded, counted, and nobody waits for it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { createExport, type Export } from './export.ts'
import type { LogRecord } from './records.ts'
import type { Settings } from './settings.ts'
import { createSignal, type Outcome, usualLimits } from './signal.ts'

const record = (name: string, size = 0): LogRecord => ({ name, at: 1, attributes: { text: 'x'.repeat(size) }, trace: null, error: false })
const quick = { ...usualLimits, everyMs: 1, retryMs: { first: 1, last: 4 } }

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void
let server: Server | null = null
let out: Export | null = null
afterEach(async () => {
  await out?.close()
  out = null
  server?.closeAllConnections()
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(null)))
  server = null
})

/** A collector that answers logs as told and takes the rest. */
async function collector(answer: Answer): Promise<string> {
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const bytes = Buffer.concat(chunks)
      const body = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString()
      if (request.url === '/v1/logs') answer(request, response, body)
      else response.end('{}')
    })
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
const settings = (endpoint: string | null, more: Partial<Settings> = {}): Settings => ({
  endpoint,
  decidedBy: 'test',
  protocol: 'http/json',
  resource: {},
  capture: [],
  prices: {},
  traces: false,
  ...more,
})
const logs = () => (out as Export).status().signals.logs
const until = (ready: () => boolean) => expect.poll(ready).toBe(true)

describe('what waits', () => {
  test('is bounded in records and in bytes, and what is over is counted', () => {
    const few = createSignal<LogRecord>({ ...quick, waiting: 3 })
    for (let i = 0; i < 10; i++) few.add(record(`e${i}`))
    expect(few.status()).toMatchObject({ accepted: 10, waiting: 3, lost: { full: 7 } })
    const large = createSignal<LogRecord>({ ...quick, waitingBytes: 10_000 })
    for (let i = 0; i < 10; i++) large.add(record(`e${i}`, 3_000))
    expect(large.status()).toMatchObject({ waiting: 3, lost: { full: 7 } })
  })

  test('is sent in order, in batches, one at a time, and tried again until it is taken or refused', async () => {
    const outcomes: Outcome[] = [
      { type: 'retry', why: 'down' },
      { type: 'retry', why: 'down' },
      { type: 'sent' },
      { type: 'refused', why: 'no' },
      { type: 'sent', refused: 1 },
    ]
    const seen: string[][] = []
    let running = 0
    const signal = createSignal<LogRecord>({ ...quick, batch: 2 })
    for (const name of ['a', 'b', 'c', 'd', 'e']) signal.add(record(name))
    signal.connect(async (batch) => {
      expect(++running).toBe(1)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      seen.push(batch.map(({ name }) => name))
      return outcomes.shift() ?? { type: 'sent' }
    })
    await until(() => signal.status().waiting === 0)
    expect(seen).toEqual([['a', 'b'], ['a', 'b'], ['a', 'b'], ['c', 'd'], ['e']])
    expect(signal.status()).toMatchObject({ accepted: 5, sent: 2, failures: 3, lost: { full: 0, refused: 3, dropped: 0 }, lastError: 'no' })
  })

  test('a batch in flight when it is disconnected is counted once', async () => {
    let answer: (outcome: Outcome) => void = () => {}
    const signal = createSignal<LogRecord>(quick)
    signal.connect(() => new Promise((resolve) => (answer = resolve)))
    signal.add(record('a'))
    const flushed = signal.flush()
    signal.disconnect('lose')
    answer({ type: 'sent' })
    await flushed
    const { sent, waiting, lost } = signal.status()
    expect(sent + waiting + lost.dropped).toBe(1)
  })
})

describe('a collector', () => {
  test('that is not there yet: records wait and arrive', async () => {
    out = createExport(quick)
    out.log(record('early'))
    const url = await collector((_, response) => response.end('{}'))
    await out.configure(settings(url), {})
    out.log(record('later'))
    await until(() => logs().sent === 2)
    expect(logs().lost).toEqual({ full: 0, refused: 0, dropped: 0 })
  })

  test('that is overloaded is asked again', async () => {
    let asked = 0
    const url = await collector((_, response) => {
      response.writeHead(asked++ === 0 ? 503 : 200).end('{}')
    })
    out = createExport(quick)
    await out.configure(settings(url), {})
    out.log(record('a'))
    await until(() => logs().sent === 1)
    expect(asked).toBe(2)
  })

  test('that refuses: the loss is counted, the reason is kept, and the headers are not in it though it repeats them', async () => {
    const url = await collector((request, response) => {
      response.writeHead(401, 'No').end(`bad token ${request.headers.authorization}`)
    })
    out = createExport(quick)
    await out.configure(settings(url), { authorization: 'Bearer very-secret' })
    out.log(record('a'))
    await until(() => logs().lost.refused === 1)
    expect(logs().lastError).toBe('HTTP 401 No: bad token ***')
    expect(JSON.stringify(out.status())).not.toContain('very-secret')
    expect(out.status().headers).toEqual(['authorization'])
  })

  test('that takes only a part says so', async () => {
    const url = await collector((_, response) => {
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end('{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"one"}}')
    })
    out = createExport(quick)
    await out.configure(settings(url), {})
    out.log(record('a'))
    out.log(record('b'))
    await until(() => logs().waiting === 0)
    expect(logs()).toMatchObject({ sent: 1, lost: { refused: 1 } })
    expect((await out.test(1)).results.find(({ signal }) => signal === 'logs')).toMatchObject({ ok: false })
  })

  test('that never answers holds up nobody, and closing does not wait for it', async () => {
    const held: ServerResponse[] = []
    const url = await collector((_, response) => void held.push(response))
    out = createExport({ ...quick, waiting: 100 })
    await out.configure(settings(url), {})
    for (let i = 0; i < 1_000; i++) out.log(record('a'))
    await until(() => held.length === 1)
    expect(logs()).toMatchObject({ accepted: 1_000, waiting: 100, lost: { full: 900 } })
    await out.close()
    expect(logs()).toMatchObject({ waiting: 0, lost: { full: 900, dropped: 100 } })
    expect(held).toHaveLength(1)
  })
})

describe('other settings', () => {
  test('what waits for one collector does not go to another, nor content to where it may no longer go', async () => {
    const bodies: string[] = []
    const url = await collector((_, response, body) => {
      bodies.push(body)
      response.end('{}')
    })
    out = createExport(quick)
    await out.configure(settings('http://127.0.0.1:1', { capture: ['userPrompts'] }), {})
    out.log(record('for-another'))
    await out.configure(settings(url, { capture: ['userPrompts'] }), {})
    expect(logs().lost.dropped).toBe(1)
    out.log(record('first'))
    await until(() => logs().sent === 1)
    await out.configure(settings(null), {})
    out.log(record('nobody-asked'))
    expect(out.status().state).toBe('off')
    await out.configure(settings(url), { x: '1' })
    out.log(record('again'))
    await until(() => logs().sent === 2)
    expect(bodies.join()).not.toMatch(/for-another|nobody-asked/)
  })

  test('without an endpoint a self test is refused, and what came before policy told is neither sent nor lost', async () => {
    out = createExport(quick)
    out.log(record('early'))
    await out.configure(settings(null), {})
    expect(logs()).toMatchObject({ accepted: 0, waiting: 0, lost: { dropped: 0 } })
    await expect(out.test(1)).rejects.toMatchObject({ code: 'telemetry-off' })
  })
})
