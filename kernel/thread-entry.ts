/** First code of every thread actor; the counterpart of process-entry.ts. */
import { type MessagePort, workerData } from 'node:worker_threads'
import type { FromActor, ToActor } from './frames.ts'
import { createHost } from './host.ts'
import type { Actor } from './types.ts'
import { sharedBoard } from './withdrawal.ts'

export type ThreadStart = { entry: string; port: MessagePort; board: SharedArrayBuffer }

const { entry, port, board } = workerData as ThreadStart
const { actor } = (await import(entry)) as { actor: Actor }
const host = createHost(
  actor,
  { send: (frame: FromActor) => port.postMessage(frame), stopped: () => process.exit(0) },
  { freeze: false, withdrawn: sharedBoard(board).withdrawn },
)
port.on('message', (frame: ToActor) => host.receive(frame))
port.postMessage({ t: 'ready', facts: {} } satisfies FromActor)
