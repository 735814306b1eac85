/** A kernel for tests: actors inline (or in processes when asked), peers as scripted natives, one endpoint `test` holding what the test names. */
import { createControl } from '../control.ts'
import { createKernel, type Endpoint, type Kernel, type KernelOptions, type Native, type NativeFrom } from '../kernel.ts'
import type { ActorEntry } from '../placement.ts'
import { startInline } from '../placement-inline.ts'
import { startProcess } from '../placement-process.ts'
import { startThread } from '../placement-thread.ts'
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
  const kernel = createKernel({
    entries,
    natives: peers,
    params: options.params ?? {},
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
  return { kernel, test, logs, stop: () => kernel.stop() }
}
