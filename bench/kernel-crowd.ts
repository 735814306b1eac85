/** What a message costs among many inline actors, from sending to handled: it must not depend on how many there are. */
import { createKernel, type Endpoint, type Kernel } from '../kernel/kernel.ts'
import { startInline } from '../kernel/placement-inline.ts'
import { startProcess } from '../kernel/placement-process.ts'
import { startThread } from '../kernel/placement-thread.ts'
import { actor as probe } from '../kernel/testing/probe/index.ts'
import { atMostTimesPeer, figure, type Figure, reported, type Samples } from './report.ts'
import { alternate } from './sampling.ts'
import { invalid } from '../kernel/validation.ts'

/** Messages of one sample, in batches that fit the mailboxes. */
const messages = 100_000
const batch = 10_000
/** Actors that get messages when not all do. */
const busy = 16

/** What a message costs without a kernel: as many bounded queues, each with its state, the same validation, the same batches. */
function queueNs(queues: readonly Queue[]): number {
  const { body } = probe.protocol.never
  const begun = performance.now()
  let waiting: Queue[] = []
  for (let n = 0; n < messages; n++) {
    const queue = queues[n % queues.length] as Queue
    const message = {}
    if (invalid(body, message) !== null || queue.items.length >= batch) throw new Error('refused')
    if (queue.items.push({ kind: 'never', body: message }) === 1) waiting.push(queue)
    if (n % batch !== batch - 1) continue
    for (const ready of waiting) {
      for (const _ of ready.items) ready.state = { ...ready.state, count: ready.state.count + 1 }
      ready.items = []
    }
    waiting = []
  }
  return ((performance.now() - begun) * 1e6) / messages
}

type Queue = { items: object[]; state: { count: number; asking: object } }
const queuesOf = (count: number): Queue[] => Array.from({ length: count }, () => ({ items: [], state: { count: 0, asking: {} } }))

type Crowd = {
  /** Nanoseconds a message takes to one of `busy` actors that lie evenly among all. */
  few(): Promise<number>
  /** The same with all of them in turn. */
  all(): Promise<number>
  kernel: Kernel
}

export async function crowdFigures(runs: number, told: (text: string) => void): Promise<Figure[]> {
  const [small, large] = [await crowdOf(10), await crowdOf(10_000)]
  const [queues, manyQueues] = [queuesOf(10), queuesOf(10_000)]
  const { few, fewOf, all, allOf, floor, floorOf } = await alternate(
    runs,
    {
      few: () => small.few(),
      fewOf: () => large.few(),
      all: () => small.all(),
      floor: async () => queueNs(queues),
      allOf: () => large.all(),
      floorOf: async () => queueNs(manyQueues),
    },
    told,
  )
  await small.kernel.stop()
  await large.kernel.stop()
  return [
    figure({
      name: `a message to handled, ${busy} actors busy among 10,000`,
      unit: 'ns',
      target: atMostTimesPeer(2),
      own: fewOf,
      peer: { name: 'among 10', samples: few },
    }),
    figure({
      name: 'a message to handled, each of 10 actors in turn',
      unit: 'ns',
      target: reported,
      own: all,
      peer: { name: 'function call into each of 10 bounded queues in turn, same validation', samples: floor },
    }),
    figure({
      name: 'a message to handled, each of 10,000 actors in turn',
      unit: 'ns',
      target: reported,
      own: allOf,
      peer: { name: 'function call into each of 10,000 bounded queues in turn, same validation', samples: floorOf },
    }),
    // What has waited for 9,999 others is in no cache of the processor any more, of a queue's memory as of an actor's, which is more.
    figure({
      name: 'each of 10,000 actors in turn, against each of 10',
      unit: '×',
      target: atMostTimesPeer(2),
      own: growth(all, allOf),
      peer: { name: 'the same of the queues', samples: growth(floor, floorOf) },
    }),
  ]
}

/** How many times as much it costs among many, round by round. */
function growth(few: Samples, many: Samples): Samples {
  const rounds = Math.min(few.values.length, many.values.length)
  return {
    values: many.values.slice(0, rounds).map((value, round) => value / (few.values[round] as number)),
    why: few.why ?? many.why,
  }
}

/** That many inline actors in one kernel, and for each a sender that holds a capability to it. */
async function crowdOf(count: number): Promise<Crowd> {
  const entries = Array.from({ length: count }, (_, n) => {
    const manifest = { ...probe.manifest, kind: `a-${n}`, grants: [], placement: 'inline' as const, mailbox: batch }
    return { manifest, protocol: probe.protocol, entry: '', load: async () => ({ ...probe, manifest }) }
  })
  const kernel = createKernel({ entries, placements: { inline: startInline, thread: startThread, process: startProcess }, log: () => {} })
  await kernel.start()
  const senders = entries.map(({ manifest: { kind } }) =>
    kernel.endpoint(`to-${kind}`, [{ name: 'to', target: kind, limits: { kinds: ['never', 'echo'] }, reason: 'bench' }]),
  )
  const spread = Array.from({ length: Math.min(busy, count) }, (_, n, of = Math.min(busy, count)) => senders[Math.floor((n * count) / of)])
  return { kernel, few: () => sendNs(spread as Endpoint[]), all: () => sendNs(senders) }
}

async function sendNs(senders: readonly Endpoint[]): Promise<number> {
  const begun = performance.now()
  for (let n = 0; n < messages; n++) {
    const sender = senders[n % senders.length] as Endpoint
    sender.send('to', 'never', {})
    // Asked last and handed over last: its answer says that all before were handled.
    if (n % batch === batch - 1) await sender.request('to', 'echo', { text: 'x' })
  }
  return ((performance.now() - begun) * 1e6) / messages
}
