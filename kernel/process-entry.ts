/**
 * What every actor process runs: loads the actor, gives up the permission to read its code, tries what it may still do, and only
 * then takes messages. Argument: `{ entry, drop, outside, cache, board }` as JSON.
 */
import module from 'node:module'
import { Socket } from 'node:net'
import { attemptAll, hostFile } from './attempts.ts'
import type { FromActor, ToActor } from './frames.ts'
import { createHost } from './host.ts'
import { shortened } from './oversize.ts'
import type { Actor } from './types.ts'
import { createDecoder, createSender, unsendable } from './wire.ts'
import { fileReader } from './withdrawal.ts'

const { entry, drop, outside, cache, board } = JSON.parse(process.argv[2] ?? '{}') as {
  entry: string
  drop: string[]
  outside: boolean
  cache: string | null
  board: number
}
const pipe = new Socket({ fd: 3, readable: true, writable: true })
const write: (frame: FromActor) => void = createSender((bytes) => void pipe.write(bytes))

function send(frame: FromActor): void {
  const error = unsendable(() => write(frame))
  if (!error || frame.t !== 'step') return
  const { frame: instead, refs } = shortened(frame, error)
  write(instead)
  // After the step that is being sent.
  for (const ref of refs) queueMicrotask(() => host.receive({ t: 'refuse', ref, error }))
}

if (outside) await import('./outside-imports.ts')
const { actor } = (await import(entry)) as { actor: Actor }
const host = createHost(
  actor,
  { send, stopped: () => process.nextTick(() => pipe.end(() => process.exit(0))) },
  { freeze: false, withdrawn: fileReader(board) },
)

for (const path of drop) process.permission.drop('fs.read', path)
if (cache !== null) {
  module.flushCompileCache()
  process.permission.drop('fs.write', cache)
  process.permission.drop('fs.read', cache)
}

pipe.on(
  'data',
  createDecoder((frame) => host.receive(frame as ToActor), { trusted: true }),
)
// The kernel is the parent and the only peer: without it there is nothing left to do.
pipe.on('close', () => process.exit(0))
process.on('message', ({ conn }: { conn: number }, socket: unknown) => {
  // Until the actor has it nobody listens, and whoever is at its other end may reset it.
  if (socket instanceof Socket) socket.on('error', () => {})
  process.send?.({ conn })
  host.handle(conn, socket instanceof Socket ? socket : null)
})
// Ctrl-C in a terminal reaches the whole process group; stopping is the daemon's decision.
process.on('SIGINT', () => {})

const facts = await attemptAll()
process.permission.drop('fs.read', hostFile)
send({ t: 'ready', facts })
