/** What carries folders in the guest, run here: between a client and the gate it answers for for a moment, and must not be told from. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type BodyOfRequest, encodeRequest, type RequestName } from '../../actors/fs-gate/ninep-codec.ts'
import { NinepConnections } from '../../actors/fs-gate/ninep-connections.ts'
import { rootFid, uid } from '../../actors/fs-gate/test-client.ts'
import { testFolder, type TestFolder } from '../../actors/fs-gate/test-folder.ts'
import { FilesLink } from '../../actors/vm-supervisor/link-files.ts'
import { tagOf } from '../../actors/vm-supervisor/ninep.ts'
import { maxFrame } from '../frames.ts'
import { channelName, ninepMessageSize, silentTag } from '../wire.ts'

const noFid = 0xffff_ffff
/** Message types, as they are told of here. */
const typeNames: Readonly<Record<number, string>> = { 12: 'lopen', 24: 'getattr', 110: 'walk', 116: 'read', 120: 'clunk' }

let folder: TestFolder
let dir: string
let link: FilesLink
let perl: ChildProcess
let client: Client
/** What reached the gate; in brackets what expects no answer. */
let heard: string[]

beforeEach(async () => {
  folder = testFolder()
  dir = fs.mkdtempSync(join(tmpdir(), 'files-pump-'))
  heard = []
  const script = new URL('files-pump.pl', import.meta.url).pathname
  const args = [script, '4', maxFrame, ninepMessageSize, 7, silentTag].map(String)
  perl = spawn('perl', args, { stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe'] })
  client = await connected(perl, new NinepConnections(folder.gate))
})

afterEach(async () => {
  client.socket.destroy()
  perl.stdin?.end()
  await once(perl, 'exit')
  folder.remove()
  fs.rmSync(dir, { recursive: true })
})

async function connected(pump: ChildProcess, connections: NinepConnections): Promise<Client> {
  const ask = async (conn: string, frame: Uint8Array, before: readonly Uint8Array[]): Promise<Uint8Array> => {
    for (const one of [...before, frame]) {
      const name = typeNames[one[4] ?? 0] ?? String(one[4])
      heard.push(tagOf(one) === silentTag ? `(${name})` : name)
    }
    const answer = connections.answer({ conn, uid, frame, before, ahead: tagOf(frame) !== silentTag }, {}, 'vm-supervisor')
    if ('code' in answer) throw answer
    return answer
  }
  link = new FilesLink(pump.stdio[4] as Duplex, 'e', () => ({ ask, close: (conn) => connections.close(conn, 'vm-supervisor') }))
  const hex = (op: 'msg' | 'close') => Buffer.from(JSON.stringify({ c: channelName('s', 'work', 1), op })).toString('hex')
  pump.stdin?.write(`open 1 ${join(dir, 'socket')} ${hex('msg')} ${hex('close')}\n`)
  await once(pump.stdout as NonNullable<ChildProcess['stdout']>, 'data')
  const socket = createConnection(join(dir, 'socket'))
  await once(socket, 'connect')
  const made = new Client(socket)
  await made.ask('version', { msize: 65_536, version: '9P2000.L' })
  await made.ask('attach', { fid: rootFid, afid: noFid, uname: '', aname: '', uid })
  return made
}

/** Asks one after the other. */
class Client {
  readonly socket: Socket
  #tag = 0
  #bytes = Buffer.alloc(0)
  #answered: (() => void) | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes])
      if (this.#bytes.length >= 4 && this.#bytes.length >= this.#bytes.readUInt32LE(0)) this.#answered?.()
    })
  }

  /** The answer's body, or the error number. */
  async ask<K extends RequestName>(name: K, body: BodyOfRequest<K>): Promise<Buffer | number> {
    this.#tag = (this.#tag + 1) % 100
    const answered = new Promise<void>((resolve) => (this.#answered = resolve))
    this.socket.write(encodeRequest(name, this.#tag, body))
    await answered
    const answer = this.#bytes
    this.#bytes = Buffer.alloc(0)
    if (answer.readUInt32LE(0) !== answer.length || answer.readUInt16LE(5) !== this.#tag)
      throw new Error(`no answer: ${answer.toString('hex')}`)
    return answer[4] === 7 ? answer.readUInt32LE(7) : answer.subarray(7)
  }

  walk = (newfid: number, ...path: string[]) => this.ask('walk', { fid: rootFid, newfid, names: path })
  read = async (fid: number, offset = 0) => text(await this.ask('read', { fid, offset: BigInt(offset), count: 1_000 }))
  size = async (fid: number) => sizeIn(await this.ask('getattr', { fid, mask: 0x7ffn }))
}

const text = (answer: Buffer | number) => (typeof answer === 'number' ? answer : answer.subarray(4).toString())
const sizeIn = (answer: Buffer | number) => (typeof answer === 'number' ? answer : Number(answer.readBigUInt64LE(8 + 13 + 28)))

test('who opens and reads a small file asks the gate twice; another fid for a place, and its end, are not waited for', async () => {
  fs.writeFileSync(join(folder.root, 'f'), 'small')
  heard = []
  await client.walk(1, 'f')
  await client.walk(2, 'f')
  expect(await client.size(2)).toBe(5)
  await client.ask('walk', { fid: 2, newfid: 3, names: [] })
  await client.ask('lopen', { fid: 3, flags: 0 })
  expect([await client.size(3), await client.read(3), await client.read(3, 2), await client.read(3, 5)]).toEqual([5, 'small', 'all', ''])
  for (const fid of [1, 2, 3]) await client.ask('clunk', { fid })
  // On a busy machine the moment may be over before all is asked: then it is asked again, in this order.
  const asked = heard.filter((name) => !name.startsWith('('))
  expect(asked.slice(0, 1)).toEqual(['walk'])
  expect(asked).toContain('lopen')
  expect(heard).not.toContain('clunk')
})

test('what has been changed through a connection is seen there at once', async () => {
  fs.writeFileSync(join(folder.root, 'f'), 'before')
  await client.walk(1, 'f')
  await client.walk(2, 'f')
  await client.ask('lopen', { fid: 1, flags: 0 })
  await client.ask('lopen', { fid: 2, flags: 2 })
  expect(await client.read(1)).toBe('before')
  await client.ask('write', { fid: 2, offset: 6n, data: Buffer.from(' and after') })
  expect([await client.read(1), await client.size(1)]).toEqual(['before and after', 16])
  await client.ask('unlinkat', { fid: rootFid, name: 'f', flags: 0 })
  expect(await client.walk(3, 'f')).toBe(2)
})

test('a fid for a name that went away meanwhile is answered with the reason, by the walk or by what needs it', async () => {
  fs.writeFileSync(join(folder.root, 'f'), 'text')
  await client.walk(1, 'f')
  fs.rmSync(join(folder.root, 'f'))
  const walked = await client.walk(2, 'f')
  expect(typeof walked === 'number' ? walked : await client.ask('lopen', { fid: 2, flags: 0 })).toBe(2)
  expect(await client.ask('clunk', { fid: 2 })).not.toBe(0)
})

test('a change on the device is seen soon', async () => {
  fs.writeFileSync(join(folder.root, 'f'), 'before')
  await client.walk(1, 'f')
  await client.ask('lopen', { fid: 1, flags: 0 })
  expect(await client.read(1)).toBe('before')
  fs.writeFileSync(join(folder.root, 'f'), 'afterwards')
  while ((await client.read(1)) === 'before') expect(await client.size(1)).toBeGreaterThan(0)
  expect(await client.read(1)).toBe('afterwards')
})

test('when the folders of its session change, all of it is asked anew', async () => {
  fs.writeFileSync(join(folder.root, 'f'), 'before')
  await client.walk(1, 'f')
  await client.ask('lopen', { fid: 1, flags: 0 })
  link.forget('s')
  // Comes after it, and says so.
  await client.ask('statfs', { fid: rootFid })
  heard = []
  await client.read(1)
  await client.size(1)
  expect(heard).toEqual(['read', 'getattr'])
})

test('files of a folder that is gone through one after the other are told of together, each with its own attributes', async () => {
  const list = Array.from({ length: 12 }, (_, index) => `f${index + 10}`)
  for (const [index, name] of list.entries()) fs.writeFileSync(join(folder.root, name), 'x'.repeat(index))
  heard = []
  for (const [index, name] of list.entries()) {
    expect(await client.walk(index + 1, name)).toHaveLength(2 + 13)
    expect(await client.size(index + 1)).toBe(index)
  }
  expect(heard.filter((name) => name === 'walk').length).toBeLessThan(list.length)
})

type Step = { name: RequestName; body: Record<string, unknown> }

test('whatever a client does, it gets the answers it would get from the gate itself', async () => {
  const fid = fc.integer({ min: 1, max: 4 })
  const from = fc.integer({ min: 0, max: 4 })
  const name = fc.constantFrom('a', 'b', 'd')
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 5,
      arbitrary: fc
        .record({ fid: from, newfid: fid, names: fc.array(name, { maxLength: 2 }) })
        .map((body): Step => ({ name: 'walk', body })),
    },
    { weight: 2, arbitrary: fc.record({ fid, flags: fc.constantFrom(0, 1, 2, 0o1002) }).map((body): Step => ({ name: 'lopen', body })) },
    {
      weight: 2,
      arbitrary: fc
        .record({ fid, name, flags: fc.constantFrom(2, 0o202), mode: fc.constant(0o644), gid: fc.constant(uid) })
        .map((body): Step => ({ name: 'lcreate', body })),
    },
    {
      weight: 3,
      arbitrary: fc
        .record({ fid, offset: fc.constantFrom(0n, 2n, 9n), count: fc.constant(100) })
        .map((body): Step => ({ name: 'read', body })),
    },
    {
      weight: 2,
      arbitrary: fc
        .record({ fid, offset: fc.constantFrom(0n, 3n), data: fc.constantFrom('xy', 'longer').map((data) => Buffer.from(data)) })
        .map((body): Step => ({ name: 'write', body })),
    },
    { weight: 4, arbitrary: fid.map((number): Step => ({ name: 'getattr', body: { fid: number, mask: 0x7ffn } })) },
    { weight: 3, arbitrary: fid.map((number): Step => ({ name: 'clunk', body: { fid: number } })) },
    {
      weight: 2,
      arbitrary: fc.record({ fid: from, name, flags: fc.constantFrom(0, 0x200) }).map((body): Step => ({ name: 'unlinkat', body })),
    },
    {
      weight: 1,
      arbitrary: fc
        .record({ fid: from, name, mode: fc.constant(0o755), gid: fc.constant(uid) })
        .map((body): Step => ({ name: 'mkdir', body })),
    },
    { weight: 1, arbitrary: fc.record({ dfid: from, fid, name }).map((body): Step => ({ name: 'link', body })) },
    {
      weight: 1,
      arbitrary: fc.record({ oldDir: from, oldName: name, newDir: from, newName: name }).map((body): Step => ({ name: 'renameat', body })),
    },
  )
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      run += 1
      const twin = testFolder()
      const here = join(folder.root, `run${run}`)
      for (const at of [here, twin.root]) {
        fs.mkdirSync(join(at, 'd'), { recursive: true })
        fs.writeFileSync(join(at, 'a'), 'content')
        fs.writeFileSync(join(at, 'd', 'b'), 'other content')
      }
      const plain = new NinepConnections(twin.gate)
      const direct = (frame: Buffer) => plain.answer({ conn: 'c', uid, frame }, {}, 'vm-supervisor') as Buffer
      direct(encodeRequest('version', 1, { msize: 65_536, version: '9P2000.L' }))
      direct(encodeRequest('attach', 1, { fid: 0, afid: noFid, uname: '', aname: '', uid }))
      const base = 10 * run
      await client.walk(base, `run${run}`)
      const moved = (body: Record<string, unknown>): Record<string, unknown> =>
        Object.fromEntries(
          Object.entries(body).map(([key, value]) => [
            key,
            ['fid', 'newfid', 'dfid', 'oldDir', 'newDir'].includes(key) ? base + (value as number) : value,
          ]),
        )
      try {
        for (const { name: asked, body } of steps) {
          const expected = direct(encodeRequest(asked, 1, body as never))
          const got = await client.ask(asked, moved(body) as never)
          expect(typeof got === 'number' ? got : tellable(asked, got), asked).toEqual(
            expected[4] === 7 ? expected.readUInt32LE(7) : tellable(asked, expected.subarray(7)),
          )
        }
        for (const number of [0, 1, 2, 3, 4]) await client.ask('clunk', { fid: base + number })
        expect(contentOf(here)).toEqual(contentOf(twin.root))
      } finally {
        plain.closeAll()
        twin.remove()
      }
    }),
    { numRuns: 60 },
  )
})

/** Of an answer, what is the same in two folders. */
function tellable(asked: RequestName, body: Buffer): unknown {
  if (asked === 'walk') return body.readUInt16LE(0)
  if (asked === 'lopen' || asked === 'lcreate' || asked === 'mkdir') return body[0]
  if (asked !== 'getattr') return body.toString('hex')
  const at = 8 + 13
  return { mode: body.readUInt32LE(at), links: body.readBigUInt64LE(at + 12), size: body[8] === 0 ? body.readBigUInt64LE(at + 28) : 0n }
}

function contentOf(at: string): unknown {
  return fs
    .readdirSync(at, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((entry) => [entry.name, entry.isDirectory() ? contentOf(join(at, entry.name)) : fs.readFileSync(join(at, entry.name), 'utf8')])
}
