/**
 * What the kernel costs, each figure against its floor in the same run: the same work without a kernel, or the peer that does the same.
 * Every sampler runs for a fixed number of operations; rates are per second.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { assign, createActor, setup } from 'xstate'
import { z } from 'zod'
import { type Capability, createTables, derive, install, mint, revoke, type Tables } from '../kernel/capabilities.ts'
import { openJournal } from '../kernel/journal.ts'
import { createKernel, type Kernel } from '../kernel/kernel.ts'
import { openMessageLog } from '../kernel/message-log.ts'
import { startInline } from '../kernel/placement-inline.ts'
import { startProcess } from '../kernel/placement-process.ts'
import { startThread } from '../kernel/placement-thread.ts'
import { route } from '../kernel/router.ts'
import { createStepper } from '../kernel/stepper.ts'
import { actor as probe } from '../kernel/testing/probe/index.ts'
import type { Actor, Manifest } from '../kernel/types.ts'
import { invalid } from '../kernel/validation.ts'
import { crowdFigures } from './kernel-crowd.ts'
import { idleFigures } from './kernel-idle.ts'
import { figure, type Figure, median, type Samples, type Target } from './report.ts'
import { alternate } from './sampling.ts'

const sends = 100_000
const steps = 300_000
const pipelined = 20_000
const window = 256
const single = 300
const events = 2_000

const atLeastRatio = (factor: number, and?: { value: number; text: string }): Target => ({
  text: `at least ${factor} × the floor${and ? `, ${and.text}` : ''}`,
  better: 'higher',
  keeps: (value, ratio) => ratio !== null && ratio >= factor && (!and || value >= and.value),
})
const atMostRatio = (factor: number): Target => ({
  text: `at most ${factor} × the floor`,
  better: 'lower',
  keeps: (_, ratio) => ratio !== null && ratio <= factor,
})
const atLeast = (limit: number, unit: string): Target => ({
  text: `at least ${limit} ${unit}`,
  better: 'higher',
  keeps: (value) => value >= limit,
})
const below = (limit: number, unit: string): Target => ({
  text: `below ${limit} ${unit}`,
  better: 'lower',
  keeps: (value) => value < limit,
})

export async function kernelBench(runs: number, told: (text: string) => void): Promise<Figure[]> {
  // As the daemon runs: freezing every context is for development.
  process.env['NODE_ENV'] = 'production'
  const dir = mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  const ipc = await echoProcess()
  try {
    // One after the other, each with what it is compared with: what one leaves in the heap and in the engine's caches is not in those before it.
    return [
      ...(await inlineFigures(runs, told, dir)),
      ...(await processFigures(runs, told, ipc)),
      ...(await partFigures(runs, told, dir)),
      ...(await routeFigures(runs, told)),
      ...(await crowdFigures(runs, told)),
      ...(await idleFigures(runs, told)),
    ]
  } finally {
    ipc.close()
    rmSync(dir, { recursive: true })
  }
}

type Told = (text: string) => void

const againstFloor = (name: string, target: Target, own: Samples, peer: Samples, peerName: string): Figure =>
  figure({ name, unit: '/s', target, own, peer: { name: peerName, samples: peer } })

async function inlineFigures(runs: number, told: Told, dir: string): Promise<Figure[]> {
  const inline = await oneActor('inline')
  // Everything is warm before the first sample: compiled schemas, tables, code.
  for (let n = 0; n < 10; n++) {
    await sendRate(inline)
    floorRate()
  }
  const { send, floor } = await alternate(runs, { send: () => sendRate(inline), floor: async () => floorRate() }, told)
  await inline.stop()
  const log = await oneActor('inline', openMessageLog(join(dir, 'messages.sqlite'), { version: 'bench' }))
  const { logged } = await alternate(runs, { logged: () => sendRate(log) }, told)
  await log.stop()
  return [
    againstFloor(
      'inline send, capability-checked and schema-validated, to handled',
      atLeastRatio(0.5, { value: 1_000_000, text: 'at least 1 M/s' }),
      send,
      floor,
      'function call into a bounded queue, same validation',
    ),
    figure({
      name: 'the same with every step in the message log',
      unit: '/s',
      target: atLeast(100_000, '/s'),
      own: logged,
      peer: { name: 'without the log', samples: send },
    }),
  ]
}

async function processFigures(runs: number, told: Told, ipc: Ipc): Promise<Figure[]> {
  const kernel = await oneActor('process')
  await requestRate(kernel, pipelined, window)
  await ipc.rate(pipelined, window)
  const samples = await alternate(
    runs,
    {
      pipelined: () => requestRate(kernel, pipelined, window),
      ipcPipelined: () => ipc.rate(pipelined, window),
      single: () => requestP50(kernel),
      ipcSingle: () => ipc.p50(single),
    },
    told,
  )
  await kernel.stop()
  return [
    againstFloor(
      `request/reply across a process, ${window} outstanding`,
      atLeastRatio(0.5),
      samples.pipelined,
      samples.ipcPipelined,
      'raw child_process IPC echo',
    ),
    figure({
      name: 'request/reply across a process, one outstanding, p50',
      unit: 'µs',
      target: atMostRatio(1.5),
      own: samples.single,
      peer: { name: 'raw child_process IPC echo', samples: samples.ipcSingle },
    }),
  ]
}

async function partFigures(runs: number, told: Told, dir: string): Promise<Figure[]> {
  const { table, transition, actorSend, revoked, journal, insert } = await alternate(
    runs,
    {
      table: async () => tableRate(),
      transition: async () => transitionRate(),
      actorSend: async () => actorSendRate(),
      revoked: async () => revokeMs(),
      journal: () => journalRate(join(dir, 'journal.sqlite')),
      insert: async () => insertRate(join(dir, 'raw.sqlite')),
    },
    told,
  )
  return [
    againstFloor(
      'table stepper against machine.transition',
      atLeastRatio(10),
      table,
      transition,
      'xstate machine.transition, reused scope',
    ),
    againstFloor('table stepper against actor.send', atLeastRatio(10), table, actorSend, 'xstate actor.send'),
    figure({ name: 'revoke with 1,000 descendants, none delivered after', unit: 'ms', target: below(1, 'ms'), own: revoked }),
    againstFloor(
      'journalled session events, durable, group commit',
      atLeastRatio(0.5),
      journal,
      insert,
      'raw SQLite insert, same group and sync',
    ),
  ]
}

async function routeFigures(runs: number, told: Told): Promise<Figure[]> {
  const [few, many, wide] = [tablesOf(10, 4), tablesOf(10_000, 4), tablesOf(10, 250)]
  const samples = await alternate(
    runs,
    { few: async () => routeNs(few, 10, 4), many: async () => routeNs(many, 10_000, 4), wide: async () => routeNs(wide, 10, 250) },
    told,
  )
  const flat = (name: string, own: Samples, peer: string): Figure =>
    figure({ name, unit: 'ns', target: atMostRatio(2), own, peer: { name: peer, samples: samples.few } })
  return [
    flat('routing one message among 10,000 actors', samples.many, 'among 10'),
    flat('routing one message from a table of 250 slots', samples.wide, 'of 4'),
  ]
}

async function oneActor(placement: Manifest['placement'], messageLog?: ReturnType<typeof openMessageLog>): Promise<Kernel> {
  const actor: Actor = { ...probe, manifest: { ...probe.manifest, grants: [], placement, mailbox: 100_000 } }
  const kernel = createKernel({
    entries: [
      {
        manifest: actor.manifest,
        protocol: actor.protocol,
        entry: new URL('../kernel/testing/probe/index.ts', import.meta.url).href,
        load: async () => actor,
      },
    ],
    placements: { inline: startInline, thread: startThread, process: startProcess },
    ...(messageLog ? { messageLog } : {}),
    log: () => {},
  })
  await kernel.start()
  return kernel
}

/** One-way messages; the last one is a request, whose answer says that all before it were handled. */
async function sendRate(kernel: Kernel): Promise<number> {
  const me = kernel.endpoint('bench', [{ name: 'probe', target: 'probe', limits: { kinds: ['never', 'echo'] }, reason: 'bench' }])
  const begun = performance.now()
  for (let n = 0; n < sends; n++) {
    me.send('probe', 'never', {})
    if (n % 1_000 === 999) await me.request('probe', 'echo', { text: 'x' })
  }
  return perSecond(sends, begun)
}

/** The same without a kernel: a bounded queue, the same validation, the same state change by a plain function. */
function floorRate(): number {
  const { body } = probe.protocol.never
  let state = { count: 0, asking: {} }
  let queue: object[] = []
  const handle = (): void => {
    state = { ...state, count: state.count + 1 }
  }
  const begun = performance.now()
  for (let n = 0; n < sends; n++) {
    const message = {}
    if (invalid(body, message) !== null || queue.length >= 100_000) throw new Error('refused')
    queue.push({ kind: 'never', body: message })
    if (n % 1_000 === 999) {
      for (const _ of queue) handle()
      queue = []
    }
  }
  return perSecond(sends, begun)
}

async function requestRate(kernel: Kernel, count: number, outstanding: number): Promise<number> {
  const me = kernel.endpoint('bench', [{ name: 'probe', target: 'probe', limits: {}, reason: 'bench' }])
  const begun = performance.now()
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await me.request('probe', 'echo', { text: 'hello' })
  }
  await Promise.all(Array.from({ length: outstanding }, worker))
  return perSecond(count, begun)
}

async function requestP50(kernel: Kernel): Promise<number> {
  const me = kernel.endpoint('bench', [{ name: 'probe', target: 'probe', limits: {}, reason: 'bench' }])
  const taken: number[] = []
  for (let n = 0; n < single; n++) {
    const begun = performance.now()
    await me.request('probe', 'echo', { text: 'hello' })
    taken.push((performance.now() - begun) * 1000)
  }
  return median(taken)
}

type Ipc = { rate(count: number, outstanding: number): Promise<number>; p50(count: number): Promise<number>; close(): void }

/** A child that sends back what it gets, over Node's own channel. */
async function echoProcess(): Promise<Ipc> {
  const child = fork(fileURLToPath(new URL('./ipc-echo.js', import.meta.url)), { serialization: 'json' })
  let onReply: () => void = () => {}
  child.on('message', () => onReply())
  const message = (n: number) => ({
    request: n,
    kind: 'echo',
    body: { text: 'hello' },
    badge: { from: 'bench', session: null, limits: {} },
  })
  const ask = (n: number): Promise<void> => new Promise((resolve) => ((onReply = resolve), child.send(message(n))))
  await ask(0)
  return {
    rate: (count, outstanding) =>
      new Promise((resolve) => {
        const begun = performance.now()
        let sent = 0
        let answered = 0
        onReply = () => {
          if (++answered === count) resolve(perSecond(count, begun))
          else if (sent < count) child.send(message(sent++))
        }
        while (sent < outstanding) child.send(message(sent++))
      }),
    async p50(count) {
      const taken: number[] = []
      for (let n = 0; n < count; n++) {
        const begun = performance.now()
        await ask(n)
        taken.push((performance.now() - begun) * 1000)
      }
      return median(taken)
    },
    close: () => void child.kill(),
  }
}

const machine = setup({
  types: {} as { context: { n: number; name: string }; events: { type: 'go' | 'note' | 'back'; by: number } },
  guards: { even: ({ context }) => context.n % 2 === 0 },
  actions: { add: assign(({ context, event }) => ({ n: context.n + event.by })) },
}).createMachine({
  context: { n: 0, name: 'bench' },
  initial: 's0',
  states: Object.fromEntries(
    Array.from({ length: 10 }, (_, at) => [
      `s${at}`,
      {
        on: {
          go: [
            { guard: 'even' as const, target: `s${(at + 1) % 10}`, actions: 'add' as const },
            { target: `s${(at + 3) % 10}`, actions: 'add' as const },
          ],
          note: { actions: 'add' as const },
          back: { target: `s${(at + 9) % 10}` },
        },
      },
    ]),
  ),
})
const script = [
  { type: 'go', by: 1 },
  { type: 'note', by: 3 },
  { type: 'back', by: 0 },
] as const
const scripted = (n: number): (typeof script)[number] => script[n % script.length] as (typeof script)[number]

function tableRate(): number {
  const stepper = createStepper(machine)
  if (stepper.engine !== 'table') throw new Error('the machine does not run on the table')
  let { snapshot } = stepper.initial(undefined)
  const begun = performance.now()
  for (let n = 0; n < steps; n++) ({ snapshot } = stepper.step(snapshot, scripted(n)))
  return perSecond(steps, begun)
}

function transitionRate(): number {
  const self = createActor(machine)
  let snapshot = self.getSnapshot()
  const scope = {
    self,
    defer() {},
    id: '',
    logger() {},
    sessionId: '',
    stopChild() {},
    system: self.system,
    emit() {},
    actionExecutor() {},
  }
  const count = steps / 10
  const begun = performance.now()
  for (let n = 0; n < count; n++) snapshot = machine.transition(snapshot, scripted(n), scope as never)
  return perSecond(count, begun)
}

function actorSendRate(): number {
  const live = createActor(machine)
  live.start()
  const count = steps / 10
  const begun = performance.now()
  for (let n = 0; n < count; n++) live.send(scripted(n))
  const rate = perSecond(count, begun)
  live.stop()
  return rate
}

function revokeMs(): number {
  const tables = createTables()
  const root = mint(tables, 'target', {}, 'bench')
  const all: Capability[] = [root]
  while (all.length <= 1_000) {
    const child = derive(tables, all[Math.floor(all.length / 3)] as Capability, {}, 'bench', 'bench') as Capability
    install(tables, `holder-${all.length % 20}`, child, null)
    all.push(child)
  }
  const begun = performance.now()
  revoke(tables, root)
  const taken = performance.now() - begun
  for (const [holder, slots] of tables.clists)
    for (const slot of slots.keys())
      if (route(tables, holder, slot, 'x', 0).ok) throw new Error('a message would travel after it was revoked')
  return taken
}

async function journalRate(file: string): Promise<number> {
  const journal = openJournal(file)
  const from = {
    id: 'bench',
    badge: { from: 'bench', session: 's', limits: {} },
    caps: [],
    part: () => {},
    signal: new AbortController().signal,
  }
  const begun = performance.now()
  for (let n = 0; n < events; n += 50)
    await Promise.all(
      Array.from({ length: 50 }, () => journal.handle('append', { type: 'bench', entry: { text: 'x'.repeat(300) } } as never, from)),
    )
  const rate = perSecond(events, begun)
  journal.close()
  return rate
}

function insertRate(file: string): number {
  const db = new DatabaseSync(file)
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS events (session TEXT, seq INTEGER, ts REAL, type TEXT, entry TEXT)',
  )
  const insert = db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?)')
  const begun = performance.now()
  for (let n = 0; n < events; n += 50) {
    db.exec('BEGIN')
    for (let at = 0; at < 50; at++) insert.run('s', n + at, Date.now(), 'bench', JSON.stringify({ text: 'x'.repeat(300) }))
    db.exec('COMMIT')
  }
  const rate = perSecond(events, begun)
  db.close()
  return rate
}

function tablesOf(actors: number, slots: number): Tables {
  const tables = createTables()
  for (let actor = 0; actor < actors; actor++)
    for (let slot = 0; slot < slots; slot++)
      install(tables, `a-${actor}`, mint(tables, `a-${(actor + slot) % actors}`, {}, 'bench'), `to-${slot}`)
  return tables
}

const empty = z.strictObject({})

/** Nanoseconds a decision takes, among so many actors with so many slots each. */
function routeNs(tables: Tables, actors: number, slots: number): number {
  const senders = Array.from({ length: 16 }, (_, n) => `a-${Math.floor((n * actors) / 16)}`)
  const count = 100_000
  const begun = performance.now()
  for (let n = 0; n < count; n++) {
    if (!route(tables, senders[n % 16] as string, `to-${slots - 1}`, 'x', 0).ok || invalid(empty, {}) !== null) throw new Error('refused')
  }
  return ((performance.now() - begun) * 1e6) / count
}

function perSecond(count: number, begun: number): number {
  return (count / (performance.now() - begun)) * 1000
}
