import * as fs from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { FromActor, Out } from '../../kernel/frames.ts'
import { createHost, type Host } from '../../kernel/host.ts'
import { createStepper } from '../../kernel/stepper.ts'
import type { Badge } from '../../kernel/index.ts'
import { sha256Of } from './file-content.ts'
import { actor } from './index.ts'
import { machine } from './machine.ts'
import { encodeRequest } from './ninep-codec.ts'
import { handlesOn, type TestFolder, testFolder } from './test-folder.ts'

const badge: Badge = { from: 'conversation:s', session: 's', limits: {} }

describe('as a machine', () => {
  const stepper = createStepper(machine)
  const from = (request: number | null, limits = {}) => ({ request, badge: { ...badge, limits }, caps: [] })

  test('what comes before the folder is open waits, and is served or refused then', () => {
    const { snapshot, commands } = stepper.initial({ params: { root: '/w', name: 'w', mode: 'rw' }, slots: [] })
    expect(commands).toEqual([{ do: 'effect', name: 'openFolder', params: { root: '/w', name: 'w', mode: 'rw', changes: null } }])
    const waiting = stepper.step(snapshot, { type: 'read', body: { path: 'a' }, from: from(1) } as never)
    expect(waiting).toMatchObject({ handled: true, commands: [] })
    const two = stepper.step(waiting.snapshot, { type: 'list', body: { path: '' }, from: from(2) } as never)
    const both = stepper.step(two.snapshot, { type: 'openFolder.opened', gate: 7, root: '/r' } as { type: string })
    expect(both.commands).toMatchObject([{ name: 'readFile' }, { name: 'listFolder' }])
    const opened = stepper.step(waiting.snapshot, { type: 'openFolder.opened', gate: 7, root: '/r' } as { type: string })
    expect(opened.commands).toMatchObject([{ do: 'effect', name: 'readFile', params: { gate: 7 } }])
    const failed = stepper.step(waiting.snapshot, { type: 'openFolder.failed', error: { code: 'not-found' } } as { type: string })
    expect(failed.commands).toContainEqual(
      expect.objectContaining({ do: 'emit', message: expect.objectContaining({ type: 'refuse' }) as unknown }),
    )
  })

  test("the capability's limits travel with each task; a lost folder refuses and is looked for again", () => {
    const start = stepper.initial({ params: { root: '/w', name: 'w', mode: 'ro' }, slots: [] }).snapshot
    const serving = stepper.step(start, { type: 'openFolder.opened', gate: 3, root: '/real' } as never).snapshot
    expect(stepper.step(serving, { type: 'read', body: { path: 'a' }, from: from(1, { path: 'x' }) } as never).commands).toEqual([
      {
        do: 'effect',
        name: 'readFile',
        params: { request: 1, gate: 3, grant: { path: 'x' }, body: { path: 'a' }, from: 'conversation:s' },
      },
    ])
    expect(stepper.step(serving, { type: 'read', body: { path: 'a' }, from: from(null) } as never).commands).toEqual([])
    const error = { code: 'not-found', message: 'gone', remedy: '' }
    const lost = stepper.step(serving, { type: 'readFile.failed', request: 1, error, gone: true } as never)
    expect(lost.snapshot.value).toEqual({ up: 'lost' })
    expect(
      lost.commands.map((command) => (command.do === 'emit' ? command.message.type : command.do === 'effect' ? command.name : command.do)),
    ).toEqual(['refuse', 'closeFolder', 'timer'])
    const refused = stepper.step(lost.snapshot, { type: 'write', body: {}, from: from(2) } as never)
    expect(refused.commands).toEqual([{ do: 'emit', message: { type: 'refuse', request: 2, error: { ...error, retryAfterMs: 5_000 } } }])
    const again = stepper.step(lost.snapshot, { type: 'xstate.after.reopen.fs-gate.up.lost' } as never)
    expect(again.snapshot.value).toEqual({ up: 'opening' })
  })
})

describe('with its effects', () => {
  let folder: TestFolder
  let host: Host
  let out: Out[]
  let stopped: Promise<void>
  let next: number
  beforeEach(() => {
    folder = testFolder()
    out = []
    next = 1
    stopped = new Promise((resolve) => {
      host = createHost(
        actor,
        { send: (frame: FromActor) => void (frame.t === 'step' && out.push(...frame.out)), stopped: resolve },
        { freeze: true, withdrawn: () => false },
      )
    })
    host.receive({ t: 'start', params: { root: folder.root, name: 'work', mode: 'rw' }, slots: {}, transcript: null } as never)
  })
  afterEach(async () => {
    host.receive({ t: 'stop' } as never)
    await stopped
    folder.remove()
  })

  async function ask(kind: string, body: unknown): Promise<Record<string, unknown>> {
    const request = next++
    host.receive({
      t: 'msg',
      n: request,
      event: { type: kind, body: actor.protocol[kind as 'read'].body.parse(body), from: { request, badge, caps: [] } },
    } as never)
    for (;;) {
      const answer = out.find((item) => (item.t === 'reply' || item.t === 'refuse') && item.request === request) as
        | { t: string; body?: unknown; error?: unknown }
        | undefined
      if (answer)
        return (answer.t === 'reply' ? actor.protocol[kind as 'read'].reply.parse(answer.body) : answer.error) as Record<string, unknown>
      await turn()
    }
  }

  test('a session of requests, each answered as its schema says', async () => {
    expect(await ask('info', {})).toEqual({ root: folder.root, name: 'work', mode: 'rw' })
    expect(await ask('write', { path: 'd/a', content: 'one\n' })).toMatchObject({ created: true, sha256: sha256Of('one\n') })
    expect(await ask('preview', { path: 'd/a', content: 'two\n' })).toMatchObject({ path: 'd/a', created: false })
    expect(await ask('edit', { path: 'd/a', oldText: 'one', newText: 'two' })).toMatchObject({ replacements: 1 })
    expect(await ask('read', { path: 'd/a' })).toMatchObject({ text: 'two\n' })
    expect(await ask('list', { path: '' })).toMatchObject({ entries: [{ name: 'd' }] })
    expect(await ask('stat', { path: 'd/a' })).toMatchObject({ type: 'file' })
    expect(await ask('glob', { pattern: '**' })).toMatchObject({ paths: ['d/a'] })
    expect(await ask('grep', { pattern: 'two' })).toMatchObject({ matches: [{ path: 'd/a' }] })
    expect(await ask('read', { path: '../outside/secret.txt' })).toMatchObject({ code: 'outside-folder' })
    expect(await ask('read', { path: 'none' })).toMatchObject({ code: 'not-found' })
    const before = handlesOn(folder.root)
    const frame = encodeRequest('version', 0xffff, { msize: 8_192, version: '9P2000.L' })
    expect((await ask('ninep', { conn: 'c', uid: 1_000, frame })).frame).toBeInstanceOf(Uint8Array)
    await ask('ninep', {
      conn: 'c',
      uid: 1_000,
      frame: encodeRequest('attach', 1, { fid: 1, afid: 0xffff_ffff, uname: '', aname: '', uid: 0 }),
    })
    expect(handlesOn(folder.root)).toBe(before + 1)
    expect(await ask('ninep-close', { conn: 'c' })).toEqual({})
    expect(handlesOn(folder.root)).toBe(before)
  })

  test('a folder that is deleted is said to be, until it is back', async () => {
    await ask('info', {})
    fs.renameSync(folder.root, `${folder.root}-kept`)
    fs.rmSync(`${folder.root}-kept`, { recursive: true })
    expect(await ask('read', { path: 'a' })).toMatchObject({ code: 'not-found', message: expect.stringContaining('was deleted') as string })
    expect(await ask('info', {})).toMatchObject({ code: 'not-found', retryAfterMs: 5_000 })
    fs.mkdirSync(folder.root)
  })
})
