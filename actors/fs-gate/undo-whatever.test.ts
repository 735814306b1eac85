/** Whatever programs in the workspace do to a folder, in whatever order, over however many calls: all of it is undone as one, and redone. */
import * as fs from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { treeOf } from '../../test/harness/tree.ts'
import { listChanges, markCall, redoChanges, undoChanges } from './history-tools.ts'
import { NinepConnections } from './ninep-connections.ts'
import { TestClient, uid } from './test-client.ts'
import { never, noLimits, type TestFolder, testFolder } from './test-folder.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

/** Few names, so that they meet. */
const name = fc.constantFrom('a', 'b', 'c')
const place = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const text = fc.string({ maxLength: 12 })
const mode = fc.constantFrom(0o600, 0o644, 0o755, 0o444)
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('create' as const), at: place, text, mode, close: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('mkdir' as const), at: place }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('write' as const), at: place, text, truncate: fc.boolean(), close: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('rename' as const), at: place, to: place }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('link' as const), at: place, to: place }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('symlink' as const), at: place, text: fc.constantFrom('a', 'b/c', 'nowhere') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), at: place }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('dress' as const), at: place, mode, times: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('call' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
const noTimes = { size: 0n, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n }

class Program {
  readonly #client: TestClient
  readonly #open: number[] = []
  #calls = 0

  constructor() {
    this.#client = new TestClient(new NinepConnections(folder.gate)).attach()
  }

  /** What cannot be done is not done, as in a shell. */
  async take(one: Step): Promise<void> {
    try {
      await this.#take(one)
    } catch (error) {
      if (!/^(E[A-Z]+|errno \d+)/.test((error as Error).message)) throw error
    }
  }

  end(): void {
    for (const fid of this.#open.splice(0)) this.#client.ask('clunk', { fid })
  }

  async #take(one: Step): Promise<void> {
    const client = this.#client
    switch (one.do) {
      case 'call':
        this.#calls += 1
        await markCall(folder.gate, { turn: 't', call: `c${this.#calls}`, title: '' }, { session: 's' })
        return
      case 'close':
        this.end()
        return
      case 'create': {
        const fid = client.create(above(one.at), last(one.at), one.mode)
        if (one.text !== '') client.write(fid, one.text)
        this.#done(fid, one.close)
        return
      }
      case 'write': {
        const fid = client.open(one.at, one.truncate ? 0o1001 : 1)
        client.write(fid, one.text, one.truncate ? 0 : 3)
        this.#done(fid, one.close)
        return
      }
      case 'mkdir':
        client.ask('mkdir', { fid: client.walk(above(one.at)), name: last(one.at), mode: 0o755, gid: uid })
        return
      case 'symlink':
        client.ask('symlink', { fid: client.walk(above(one.at)), name: last(one.at), target: one.text, gid: uid })
        return
      case 'link':
        client.ask('link', { dfid: client.walk(above(one.to)), fid: client.walk(one.at), name: last(one.to) })
        return
      case 'rename': {
        const [oldDir, newDir] = [client.walk(above(one.at)), client.walk(above(one.to))]
        client.ask('renameat', { oldDir, oldName: last(one.at), newDir, newName: last(one.to) })
        return
      }
      case 'remove': {
        const isFolder = fs.lstatSync(`${folder.root}/${one.at}`, { throwIfNoEntry: false })?.isDirectory()
        client.ask('unlinkat', { fid: client.walk(above(one.at)), name: last(one.at), flags: isFolder ? 0x200 : 0 })
        return
      }
      case 'dress': {
        const valid = 1 | (one.times ? 0x20 | 0x100 : 0)
        client.ask('setattr', { fid: client.walk(one.at), valid, mode: one.mode, uid, gid: uid, ...noTimes, mtimeSec: 5_000n })
        return
      }
      default:
        one satisfies never
    }
  }

  #done(fid: number, close: boolean): void {
    if (close) this.#client.ask('clunk', { fid })
    else this.#open.push(fid)
  }
}

const above = (path: string) => path.split('/').slice(0, -1).join('/')
const last = (path: string) => path.split('/').at(-1) as string

test('any program is undone as one and redone', async () => {
  await fc.assert(
    fc
      .asyncProperty(fc.array(step, { maxLength: 12 }), fc.array(step, { maxLength: 40 }), async (found, steps) => {
        // What is there before is made by a program as well, whose changes nobody asks to undo.
        const first = new Program()
        for (const one of found) await first.take(one)
        first.end()
        const program = new Program()
        await program.take({ do: 'call' })
        const before = treeOf(folder.root)
        const known = (await listChanges(folder.gate, { limit: 10_000 })).changes.at(-1)?.id
        for (const one of steps) await program.take(one)
        program.end()
        const after = treeOf(folder.root)
        const wanted = known === undefined ? { to: 0 } : { to: known }
        if ((await listChanges(folder.gate, { limit: 10_000 })).changes.at(-1)?.id === known) return
        const { kept } = await undoChanges(folder.gate, wanted, noLimits, never)
        expect(kept).toEqual([])
        expect(treeOf(folder.root)).toEqual(before)
        await redoChanges(folder.gate, {}, noLimits, never)
        expect(treeOf(folder.root)).toEqual(after)
      })
      .beforeEach(() => {
        folder.remove()
        folder = testFolder()
      }),
    {
      numRuns: Number(process.env['RUNS'] ?? 200),
      examples: [
        [
          [{ do: 'create', at: 'a', text: '', mode: 0o600, close: false }],
          // Only its mode is changed, through a name that goes with the undo.
          [
            { do: 'link', at: 'a', to: 'b' },
            { do: 'dress', at: 'b', mode: 0o444, times: false },
          ],
        ],
      ],
    },
  )
})
