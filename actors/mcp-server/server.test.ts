/** The actor of a tool server with a real server of npm, in its own process and its jail. */
import { mkdtempSync, rmSync } from 'node:fs'
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
  await expect.poll(() => seen.at(-1), { timeout: 20_000 }).toMatchObject({ state: 'ready', restarts: 1 })
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
