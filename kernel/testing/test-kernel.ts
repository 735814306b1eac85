/** A kernel for tests: actors inline (or in processes when asked), peers as scripted natives, one endpoint `test` holding what the test names. */
import { createControl } from '../control.ts'
import { createKernel, type Endpoint, type Kernel, type KernelOptions, type Native, type NativeFrom } from '../kernel.ts'
import { type MessageLog, openMessageLog } from '../message-log.ts'
import type { ActorEntry } from '../placement.ts'
import { startInline } from '../placement-inline.ts'
import { startProcess } from '../placement-process.ts'
import { startThread } from '../placement-thread.ts'
import { replay } from '../replay.ts'
import type { Actor, Grant, Placement, Protocol } from '../types.ts'

export type TestKernel = { kernel: Kernel; test: Endpoint; logs: string[]; stop(): Promise<void> }

export type Script = (kind: string, body: never, from: NativeFrom) => unknown

/**
 * @param options.actors singletons and instance kinds under test
 * @param options.peers scripted targets by id: the function's value is the reply's body; a thrown fault is the refusal
 * @param options.placement where actors run; default `inline`. `manifest`: where each manifest says.
 * @param options.grants what the endpoint `test` may do; default: everything, on a slot named like each singleton and peer
 */
export async function startTestKernel(options: {
  actors: readonly (Actor | ActorEntry)[]
  peers?: Readonly<Record<string, { protocol: Protocol; script: Script }>>
  placement?: Placement | 'manifest'
  grants?: readonly Grant[]
  params?: KernelOptions['params']
  supervision?: KernelOptions['supervision']
  /** Keep every step, and take all of them again on `stop`, which throws if anything differs. Default true. */
  replay?: boolean
  onHop?: KernelOptions['onHop']
}): Promise<TestKernel> {
  const logs: string[] = []
  const chosen = options.placement ?? 'inline'
  const entries = options.actors.map((actor): ActorEntry => {
    const entry = 'load' in actor ? actor : { manifest: actor.manifest, protocol: actor.protocol, entry: '', load: async () => actor }
    return { ...entry, manifest: { ...entry.manifest, placement: chosen === 'manifest' ? entry.manifest.placement : chosen } }
  })
  const peers = Object.entries(options.peers ?? {}).map(
    ([id, { protocol, script }]): Native => ({
      id,
      protocol,
      handle: async (kind, body, from) => ({ body: await script(kind, body, from) }),
    }),
  )
  const messageLog = options.replay === false ? null : openMessageLog(':memory:', { version: 'test' })
  const kernel = createKernel({
    entries,
    ...(messageLog ? { messageLog } : {}),
    natives: peers,
    params: options.params ?? {},
    ...(options.supervision ? { supervision: options.supervision } : {}),
    ...(options.onHop ? { onHop: options.onHop } : {}),
    placements: { inline: startInline, thread: startThread, process: startProcess },
    log: (level, source, message) => void logs.push(`${level} ${source}: ${message}`),
  })
  kernel.addNative(createControl(kernel, () => {}))
  await kernel.start()
  const everything = [
    'kernel',
    ...entries.filter(({ manifest }) => manifest.cardinality === 'singleton').map(({ manifest }) => manifest.kind),
    ...peers.map(({ id }) => id),
  ]
  const test = kernel.endpoint('test', options.grants ?? everything.map((target) => ({ name: target, target, limits: {}, reason: 'test' })))
  async function stop(): Promise<void> {
    await kernel.stop()
    if (!messageLog) return
    await replayed(messageLog, entries)
  }
  return { kernel, test, logs, stop }
}

async function replayed(log: MessageLog, entries: readonly ActorEntry[]): Promise<void> {
  await new Promise<void>((resolve) => log.whenDurable(resolve))
  const report = await replay(
    log,
    log.allSpans(),
    async (kind) => (await entries.find(({ manifest }) => manifest.kind === kind)?.load()) ?? null,
  )
  const wrong = [...report.divergences, ...report.skipped]
  if (wrong.length > 0) throw new Error(`The run does not replay: ${JSON.stringify(wrong.slice(0, 3), null, 2)}`)
}
