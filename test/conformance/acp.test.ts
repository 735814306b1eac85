/** The Agent Client Protocol through `bulkhead acp`, driven by `acpx`, a client nobody here wrote, and frame by frame. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkout, type Home, openHome } from '../harness/product.ts'

let home: Home
let folder: string
beforeAll(() => {
  home = openHome({ env: { BULKHEAD_VM: 'off' } })
  folder = home.copyOf(join(checkout, 'examples', 'sales'), 'sales')
})
afterAll(() => home.close())

const shim = `${process.execPath} ${join(checkout, 'client', 'main.ts')} acp`
type Frame = { id?: number; method?: string; params?: Record<string, unknown>; result?: Record<string, unknown>; error?: { code: number } }

type Ended = { code: number | null; frames: Frame[]; story: string }

function acpx(args: readonly string[], prompt: string): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [
        join(checkout, 'node_modules', 'acpx', 'dist', 'cli.js'),
        '--agent',
        shim,
        '--cwd',
        folder,
        '--format',
        'json',
        ...args,
        'exec',
        prompt,
      ],
      { cwd: folder, env: { ...home.env, HOME: home.dir }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.on('close', (code) => {
      const lines = out.split('\n').filter((line) => line.startsWith('{'))
      resolve({ code, frames: lines.map((line) => JSON.parse(line) as Frame), story: `${out}\n${err}` })
    })
  })
}

const updates = (frames: readonly Frame[]): Record<string, unknown>[] =>
  frames.filter(({ method }) => method === 'session/update').map(({ params }) => params?.['update'] as Record<string, unknown>)

describe('acpx', () => {
  test('drives a session: prompt, permission, write, end of turn', async () => {
    const { code, frames, story } = await acpx(['--approve-all'], 'Write "hello" to notes.md')
    expect(code, story).toBe(0)
    expect(readFileSync(join(folder, 'notes.md'), 'utf8')).toContain('hello')
    expect(frames.find(({ method }) => method === 'session/request_permission')?.params).toMatchObject({
      toolCall: { kind: 'edit' },
      options: [{ kind: 'allow_once' }, { kind: 'allow_always' }, { kind: 'reject_once' }],
    })
    expect(updates(frames)).toContainEqual(expect.objectContaining({ sessionUpdate: 'tool_call_update', status: 'completed' }))
    expect(frames.at(-1)).toMatchObject({ result: { stopReason: 'end_turn' } })
  })

  test('denies, and nothing is written', async () => {
    const { frames, story } = await acpx(['--deny-all'], 'Write "no" to denied.md')
    expect(frames.at(-1), story).toMatchObject({ result: { stopReason: 'refusal' } })
    expect(existsSync(join(folder, 'denied.md'))).toBe(false)
  })
})

/** One editor on one shim, line by line. */
function editor() {
  const child = spawn(process.execPath, [join(checkout, 'client', 'main.ts'), 'acp'], { env: home.env, stdio: ['pipe', 'pipe', 'inherit'] })
  const frames: Frame[] = []
  let rest = ''
  let heard: () => void = () => {}
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    // Every line on stdout is one message, nothing else.
    frames.push(...lines.map((line) => JSON.parse(line) as Frame))
    heard()
  })
  let next = 0
  return {
    frames,
    async call(method: string, params: object): Promise<Frame> {
      const id = ++next
      child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
      for (;;) {
        const answer = frames.find((frame) => frame.id === id && frame.method === undefined)
        if (answer) return answer
        await new Promise<void>((resolve) => (heard = resolve))
      }
    },
    /** Resolves with the shim's exit code. */
    leave(): Promise<number | null> {
      child.stdin.end()
      return new Promise((resolve) => child.once('close', resolve))
    },
  }
}

describe('an editor', () => {
  test('finds what was said before, after the daemon was started anew, and goes on', async () => {
    const first = editor()
    expect(await first.call('initialize', { protocolVersion: 65535, clientCapabilities: {} })).toMatchObject({
      result: { protocolVersion: 1, agentCapabilities: { loadSession: true, sessionCapabilities: { list: {}, resume: {} } } },
    })
    const { result } = await first.call('session/new', { cwd: folder, mcpServers: [] })
    const sessionId = String(result?.['sessionId'])
    await first.call('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'List the files' }] })
    const listed = await first.call('session/list', {})
    expect(listed.result?.['sessions']).toContainEqual(expect.objectContaining({ sessionId, cwd: folder, title: 'List the files' }))
    expect((await first.call('session/list', { cwd: '/nowhere' })).result).toEqual({ sessions: [] })
    expect(await first.leave()).toBe(0)
    await home.call(['daemon', 'stop'])

    const second = editor()
    await second.call('initialize', { protocolVersion: 1, clientCapabilities: {} })
    const loaded = await second.call('session/load', { sessionId, cwd: folder, mcpServers: [] })
    expect(loaded.result).toEqual({})
    const before = second.frames.slice(0, second.frames.indexOf(loaded))
    expect(updates(before).map(({ sessionUpdate }) => sessionUpdate)).toEqual(
      expect.arrayContaining(['user_message_chunk', 'tool_call', 'tool_call_update', 'agent_message_chunk']),
    )
    expect(updates(before)[0]).toEqual({ sessionUpdate: 'user_message_chunk', content: { type: 'text', text: 'List the files' } })
    const ended = await second.call('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'Read 2025-q1.csv' }] })
    expect(ended.result).toMatchObject({ stopReason: 'end_turn' })
    await second.leave()
  })

  test('resumes without history, closes, and gets an answer to what nobody knows', async () => {
    const it = editor()
    await it.call('initialize', { protocolVersion: 1, clientCapabilities: {} })
    const { result } = await it.call('session/new', { cwd: folder, mcpServers: [] })
    const sessionId = String(result?.['sessionId'])
    await it.call('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'List the files' }] })
    const seen = updates(it.frames).length
    await it.call('session/resume', { sessionId, cwd: folder, mcpServers: [] })
    expect(updates(it.frames)).toHaveLength(seen)
    expect((await it.call('session/close', { sessionId })).result).toEqual({})
    expect((await it.call('_somebody/else', {})).error).toMatchObject({ code: -32601 })
    await it.leave()
  })
})
