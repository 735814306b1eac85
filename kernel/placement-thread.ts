/**
 * Thread placement: one worker per actor. It isolates memory and crashes, not authority: Node's permissions belong to the process, so
 * nothing that meets outside bytes runs here. For actors that compute a lot and touch nothing.
 */
import { MessageChannel, Worker } from 'node:worker_threads'
import { frameOf } from './delivery.ts'
import { actorHeapMiB } from './limits.ts'
import type { Port, PortEvents, StartSpec } from './placement.ts'
import type { ThreadStart } from './thread-entry.ts'
import { sharedBoard } from './withdrawal.ts'

export async function startThread(spec: StartSpec, events: PortEvents): Promise<Port> {
  if (spec.entry.manifest.handles || Object.keys(spec.fds).length > 0)
    throw new Error(`${spec.id} needs descriptors, which a thread does not isolate`)
  const { port1: port, port2 } = new MessageChannel()
  const board = sharedBoard()
  const workerData: ThreadStart = { entry: spec.entry.entry, port: port2, board: board.memory }
  const worker = new Worker(new URL('./thread-entry.ts', import.meta.url), {
    workerData,
    transferList: [port2],
    env: {},
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: actorHeapMiB },
  })
  let asked = false
  let failure: string | null = null
  port.on('message', events.frame)
  for (const stream of [worker.stdout, worker.stderr]) stream.setEncoding('utf8').on('data', (text: string) => events.log(text.trimEnd()))
  worker.on('error', (error) => {
    failure = String(error)
  })
  worker.on('exit', (status) => {
    port.close()
    events.exit(failure ?? `exit status ${status}`, asked && status === 0)
  })
  return {
    pid: null,
    fds: {},
    send(frame) {
      if (frame.t === 'stop') asked = true
      port.postMessage(frame)
    },
    deliver(delivery) {
      port.postMessage(frameOf(delivery))
      return false
    },
    withdraw: board.withdraw,
    sendHandle: () => events.log('a thread cannot take a socket'),
    kill: () => void worker.terminate(),
  }
}
