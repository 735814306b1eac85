/** The actor of a tool server with a real server of npm, in its own process and its jail. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startTestKernel } from '../../kernel/testing/test-kernel.ts'
import { manifest } from './manifest.ts'
import { protocol, type ServerStatus } from './protocol.ts'

const packages = join(import.meta.dirname, '..', '..', 'node_modules')
const data = mkdtempSync(join(tmpdir(), 'mcp-server-'))
const url = new URL('./index.ts', import.meta.url).href
const { test: holder, stop } = await startTestKernel({
  actors: [{ manifest, protocol, entry: url, load: async () => ((await import(url)) as typeof import('./index.ts')).actor }],
  placement: 'manifest',
})
afterAll(async () => {
  await stop()
  rmSync(data, { recursive: true })
})

test('starts, lists, calls, and starts again after it was killed', async () => {
  const args = [join(packages, '@modelcontextprotocol/server-everything/dist/index.js'), 'stdio']
  const params = {
    name: 'everything',
    command: 'node',
    args,
    env: { HELLO: 'there' },
    network: false,
    folders: [],
    code: [packages],
    data,
    nodeBinary: process.execPath,
  }
  const { slots } = await holder.request('kernel', 'spawn', {
    kind: 'mcp-server',
    instance: 'everything.1',
    session: null,
    params,
    grants: [],
  })
  const slot = slots[0] as string
  const seen: ServerStatus[] = []
  const watch = new AbortController()
  const watching = holder
    .request(slot, 'watch', {}, { onPart: (part) => seen.push((part as { status: ServerStatus }).status), signal: watch.signal })
    .catch((error: unknown) => error)

  const echo = await holder.request(slot, 'call', { tool: 'echo', input: { message: 'hi' } })
  expect(echo.body).toMatchObject({ content: [{ type: 'text', text: expect.stringContaining('hi') }], isError: false, truncated: false })
  const ready = seen.at(-1)
  expect(ready).toMatchObject({ state: 'ready', isolation: 'full', info: { name: expect.any(String) } })
  expect(ready?.tools?.map(({ name }) => name)).toContain('echo')

  const environment = await holder.request(slot, 'call', { tool: 'get-env', input: {} })
  const variables = JSON.parse((environment.body as { content: { text: string }[] }).content[0]?.text ?? '{}') as Record<string, string>
  expect(Object.keys(variables).toSorted()).toEqual(['HELLO', 'HOME', 'LANG', 'PATH', 'PWD', 'TMPDIR'])

  const image = await holder.request(slot, 'call', { tool: 'get-tiny-image', input: {} })
  expect(JSON.stringify(image.body)).toMatch(/\[image image\/png, \d+ (?:bytes|KiB), not shown\]/)

  const parts: string[] = []
  await holder.request(
    slot,
    'call',
    { tool: 'trigger-long-running-operation', input: { duration: 0.6, steps: 3 } },
    { onPart: (part) => parts.push((part as { text: string }).text) },
  )
  expect(parts.join('')).toContain('of 3')

  process.kill(ready?.pid as number, 'SIGKILL')
  await expect.poll(() => seen.at(-1)?.state).not.toBe('ready')
  await expect.poll(() => seen.at(-1)).toMatchObject({ state: 'ready', restarts: 1 })
  watch.abort()
  expect(await watching).toMatchObject({ code: 'cancelled' })
  await holder.request('kernel', 'stop', { id: 'mcp-server:everything.1' })
  expect(() => process.kill(seen.at(-1)?.pid as number, 0)).toThrow()
})

test('a server that cannot start is said to be down, with the reason, and calls are refused at once', async () => {
  const params = {
    name: 'broken',
    command: 'node',
    args: ['-e', 'console.error("no such luck"); process.exit(3)'],
    env: {},
    network: false,
    folders: [],
    code: [],
    data,
    nodeBinary: process.execPath,
  }
  const { slots } = await holder.request('kernel', 'spawn', { kind: 'mcp-server', instance: 'broken.1', session: null, params, grants: [] })
  await expect(holder.request(slots[0] as string, 'call', { tool: 'x', input: {} })).rejects.toMatchObject({
    code: 'server-unavailable',
    cause: expect.stringContaining('no such luck'),
  })
  await expect(holder.request(slots[0] as string, 'restart', {})).rejects.toMatchObject({ code: 'server-unavailable' })
  await holder.request('kernel', 'stop', { id: 'mcp-server:broken.1' })
})

test('the trace of a call reaches the server in _meta', async () => {
  const script = join(data, 'meta-server.cjs')
  writeFileSync(
    script,
    `const answer = { initialize: ({ protocolVersion }) => ({ protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'meta', version: '1' } }),
  'tools/list': () => ({ tools: [{ name: 'meta', inputSchema: { type: 'object' } }] }),
  'tools/call': ({ _meta }) => ({ content: [{ type: 'text', text: JSON.stringify(_meta ?? {}) }] }) }
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: answer[method](params) }))
})`,
  )
  const { slots } = await holder.request('kernel', 'spawn', {
    kind: 'mcp-server',
    instance: 'meta.1',
    session: null,
    params: {
      name: 'meta',
      command: 'node',
      args: [script],
      env: {},
      network: false,
      folders: [],
      code: [data],
      data,
      nodeBinary: process.execPath,
    },
    grants: [],
  })
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const call = (trace?: string) =>
    holder.request(slots[0] as string, 'call', { tool: 'meta', input: {} }, trace === undefined ? {} : { trace })
  expect((await call(`00-${traceId}-00f067aa0ba902b7-01`)).body).toMatchObject({ content: [{ text: expect.stringContaining(traceId) }] })
  expect(JSON.stringify((await call()).body)).not.toContain('traceparent')
})
