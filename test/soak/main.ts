/**
 * `npm run soak -- [--seconds N]`: process actors under load while one after the other is killed at random. Ends 0 when, after all that, every
 * request was answered exactly once, every acknowledged journal line is there, and the message log is taken again without a difference.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openJournal } from '../../kernel/journal.ts'
import { createKernel, type Endpoint, type Kernel } from '../../kernel/kernel.ts'
import { openMessageLog } from '../../kernel/message-log.ts'
import { startInline } from '../../kernel/placement-inline.ts'
import { startProcess } from '../../kernel/placement-process.ts'
import { startThread } from '../../kernel/placement-thread.ts'
import { replay } from '../../kernel/replay.ts'
import { actor as probe } from '../../kernel/testing/probe/index.ts'
import type { Fault } from '../../kernel/types.ts'

const kinds = ['probe-a', 'probe-b', 'probe-c']
const workersPerActor = 4
const killEveryMs = { least: 100, most: 1_500 }
/** What a request may end with when its actor is killed under it. Anything else is a failure of the kernel. */
const excused = new Set(['actor-down', 'overloaded'])

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '600' } } })
const seconds = Number(values.seconds)
if (!(seconds > 0)) throw new Error('--seconds takes a number above 0.')

const dir = mkdtempSync(join(tmpdir(), 'bulkhead-soak-'))
const journal = openJournal(join(dir, 'journal.sqlite'))
const log = openMessageLog(join(dir, 'messages.sqlite'), { version: 'soak' })
const kernel = createKernel({
  entries: kinds.map((kind) => ({
    manifest: { ...probe.manifest, kind, grants: [] },
    protocol: probe.protocol,
    entry: new URL('../../kernel/testing/probe/index.ts', import.meta.url).href,
    load: async () => probe,
  })),
  natives: [journal],
  placements: { inline: startInline, thread: startThread, process: startProcess },
  messageLog: log,
  log: () => {},
})
await kernel.start()
const me = kernel.endpoint(
  'soak',
  [...kinds, 'journal'].map((target) => ({ name: target, target, limits: { session: 's-1' }, reason: 'soak' })),
)
const counts = { requests: 0, answered: 0, excused: 0, kills: 0, journalled: 0, wrong: [] as string[] }
const until = Date.now() + seconds * 1000

await Promise.all([
  ...kinds.flatMap((kind) => Array.from({ length: workersPerActor }, () => work(me, kind))),
  journalling(me),
  killing(kernel),
])

const { body } = await me.request('journal', 'read', { limit: 10_000, after: Math.max(0, counts.journalled - 10_000) })
const last = (body as { entries: { seq: number }[] }).entries.at(-1)?.seq ?? 0
if (last !== counts.journalled) counts.wrong.push(`${counts.journalled} journal lines were acknowledged, the last one there is ${last}`)
await kernel.stop()
const report = await replay(log, log.allSpans(), async () => probe)
for (const { actor, n } of report.divergences) counts.wrong.push(`${actor} does not replay from line ${n}`)
if (counts.answered + counts.excused !== counts.requests) counts.wrong.push('some request was not answered exactly once')
log.close()
journal.close()
rmSync(dir, { recursive: true })
process.stdout.write(`${JSON.stringify({ seconds, ...counts, restarts: report.spans - kinds.length, replayedSteps: report.steps })}\n`)
process.exitCode = counts.wrong.length === 0 && counts.kills > 0 ? 0 : 1

async function work(endpoint: Endpoint, kind: string): Promise<void> {
  while (Date.now() < until) {
    const parts: unknown[] = []
    const streams = counts.requests++ % 5 === 0
    let answers = 0
    try {
      if (streams) await endpoint.request(kind, 'stream', { parts: 50 }, { onPart: (part) => void parts.push(part) })
      else await endpoint.request(kind, 'echo', { text: 'soak' })
      answers++
      if (streams && parts.length !== 50) counts.wrong.push(`a stream of 50 parts ended after ${parts.length}`)
    } catch (error) {
      const { code, retryAfterMs = 0 } = error as Fault
      if (!excused.has(code)) counts.wrong.push(`${kind} refused with ${code}`)
      counts.excused++
      // As a client would: not at once again.
      await new Promise((resolve) => setTimeout(resolve, Math.max(20, Math.min(retryAfterMs, 1_000))))
    }
    counts.answered += answers
  }
}

async function journalling(endpoint: Endpoint): Promise<void> {
  while (Date.now() < until) {
    const { body: reply } = await endpoint.request('journal', 'append', { type: 'soak', entry: { at: Date.now() } })
    if ((reply as { seq: number }).seq !== ++counts.journalled) counts.wrong.push('journal numbers have a gap')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function killing({ actors }: Kernel): Promise<void> {
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, killEveryMs.least + Math.random() * (killEveryMs.most - killEveryMs.least)))
    const pid = actors.get(kinds[Math.floor(Math.random() * kinds.length)] as string)?.port?.pid
    if (!pid) continue
    try {
      process.kill(pid, 'SIGKILL')
      counts.kills++
    } catch {
      // It had ended already.
    }
  }
}
