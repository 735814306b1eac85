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
import { type Capability, createTables, derive, install, mint, revoke } from '../kernel/capabilities.ts'
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
import { idleFigures } from './kernel-idle.ts'
import { figure, type Figure, median, type Target } from './report.ts'
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
const below = (limit: number, unit: string): Target => ({
  text: `below ${limit} ${unit}`,
  better: 'lower',
  keeps: (value) => value < limit,
})

export async function kernelBench(runs: number, told: (text: string) => void): Promise<Figure[]> {
  // As the daemon runs: freezing every context is for development.
  process.env['NODE_ENV'] = 'production'
  const dir = mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  const inline = await oneActor('inline')
  const logged = await oneActor('inline', openMessageLog(join(dir, 'messages.sqlite'), { version: 'bench' }))
  const remote = await oneActor('process')
  const ipc = await echoProcess()
  try {
    // Everything is warm before the first sample: compiled schemas, tables, code.
    for (let n = 0; n < 3; n++) {
      await sendRate(inline.kernel)
      floorRate()
    }
    const samples = await alternate(
      runs,
      {
        send: () => sendRate(inline.kernel),
        floor: async () => floorRate(),
        logged: () => sendRate(logged.kernel),
        pipelined: () => requestRate(remote.kernel, pipelined, window),
        ipcPipelined: () => ipc.rate(pipelined, window),
        single: () => requestP50(remote.kernel),
        ipcSingle: () => ipc.p50(single),
        table: async () => tableRate(),
        transition: async () => transitionRate(),
        actorSend: async () => actorSendRate(),
        revoke: async () => revokeMs(),
        journal: () => journalRate(join(dir, 'journal.sqlite')),
        insert: async () => insertRate(join(dir, 'raw.sqlite')),
        few: async () => routeNs(10, 4),
        many: async () => routeNs(10_000, 4),
        wide: async () => routeNs(10, 250),
      },
      told,
    )
    const rate = (name: string, target: Target, own: keyof typeof samples, peer: keyof typeof samples, peerName: string) =>
      figure({ name, unit: '/s', target, own: samples[own], peer: { name: peerName, samples: samples[peer] } })
    return [
      rate(
        'inline send, capability-checked and schema-validated, to handled',
        atLeastRatio(0.5, { value: 1_000_000, text: 'at least 1 M/s' }),
        'send',
        'floor',
        'function call into a bounded queue, same validation',
      ),
      rate('the same with every step in the message log', atLeastRatio(0.05), 'logged', 'send', 'without the log'),
      rate(
        `request/reply across a process, ${window} outstanding`,
        atLeastRatio(0.5),
        'pipelined',
        'ipcPipelined',
        'raw child_process IPC echo',
      ),
      figure({
        name: 'request/reply across a process, one outstanding, p50',
        unit: 'µs',
        target: atMostRatio(1.5),
        own: samples.single,
        peer: { name: 'raw child_process IPC echo', samples: samples.ipcSingle },
      }),
      rate('table stepper against machine.transition', atLeastRatio(10), 'table', 'transition', 'xstate machine.transition, reused scope'),
      rate('table stepper against actor.send', atLeastRatio(10), 'table', 'actorSend', 'xstate actor.send'),
      figure({ name: 'revoke with 1,000 descendants, none delivered after', unit: 'ms', target: below(1, 'ms'), own: samples.revoke }),
      rate(
        'journalled session events, durable, group commit',
        atLeastRatio(0.5),
        'journal',
        'insert',
        'raw SQLite insert, same group and sync',
      ),
      figure({
        name: 'routing one message among 10,000 actors',
        unit: 'ns',
        target: atMostRatio(2),
        own: samples.many,
        peer: { name: 'among 10', samples: samples.few },
      }),
      figure({
        name: 'routing one message from a table of 250 slots',
        unit: 'ns',
        target: atMostRatio(2),
        own: samples.wide,
        peer: { name: 'of 4', samples: samples.few },
      }),
      ...(await idleFigures(runs, told)),
    ]
  } finally {
    ipc.close()
    await inline.kernel.stop()
    await logged.kernel.stop()
    await remote.kernel.stop()
    rmSync(dir, { recursive: true })
  }
}

async function oneActor(placement: Manifest['placement'], messageLog?: ReturnType<typeof openMessageLog>): Promise<{ kernel: Kernel }> {
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
  return { kernel }
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

/** Nanoseconds a decision takes, among so many actors with so many slots each. */
function routeNs(actors: number, slots: number): number {
  const tables = createTables()
  const schema = z.strictObject({})
  for (let actor = 0; actor < actors; actor++)
    for (let slot = 0; slot < slots; slot++)
      install(tables, `a-${actor}`, mint(tables, `a-${(actor + slot) % actors}`, {}, 'bench'), `to-${slot}`)
  const senders = Array.from({ length: 16 }, (_, n) => `a-${Math.floor((n * actors) / 16)}`)
  const count = 100_000
  const begun = performance.now()
  for (let n = 0; n < count; n++) {
    if (!route(tables, senders[n % 16] as string, `to-${slots - 1}`, 'x', 0).ok || invalid(schema, {}) !== null) throw new Error('refused')
  }
  return ((performance.now() - begun) * 1e6) / count
}

function perSecond(count: number, begun: number): number {
  return (count / (performance.now() - begun)) * 1000
}
