/** Where an actor runs, behind one interface. The kernel knows nothing else about inline functions, threads or processes. */
import type { Socket } from 'node:net'
import type { Delivery } from './delivery.ts'
import type { ToActor } from './frames.ts'
import type { MemoryBound } from './memory.ts'
import type { Actor, Manifest, Permissions, Protocol } from './types.ts'

/** What the kernel knows of an actor kind before it runs: data only, so that the kernel process loads none of its code. */
export type ActorEntry = {
  manifest: Manifest
  protocol: Protocol
  /** File URL of the folder's `index.ts`, for process placement. */
  entry: string
  /** For inline placement. */
  load(): Promise<Actor>
}

export type StartSpec = {
  id: string
  entry: ActorEntry
  permissions: Permissions
  params: Record<string, unknown>
  /** Descriptors of this process the actor inherits, by name. */
  fds: Readonly<Record<string, number>>
}

/** All that starting a process needs: none of the actor's code, and not its messages. */
export type ProcessSpec = Omit<StartSpec, 'entry'> & { entry: Pick<ActorEntry, 'manifest' | 'entry'> }

export type PortEvents = {
  /** A frame as the actor sent it; the kernel validates it. */
  frame(frame: unknown): void
  /** Gone, for whatever reason. Called once. `clean`: it was asked to stop and did. */
  exit(reason: string, clean: boolean): void
  log(line: string): void
}

export type Port = {
  readonly pid: number | null
  /** Why there is no jail around its process; null: there is; absent: it has no process. */
  readonly jail?: string | null
  /** What bounds the memory of its process; absent: it has no process. */
  readonly memory?: MemoryBound
  /** Where inherited descriptors ended up in the actor. */
  readonly fds: Readonly<Record<string, number>>
  send(frame: ToActor): void
  /** True: it is handled already, and no acknowledgement follows. */
  deliver(delivery: Delivery): boolean
  /** Takes a delivery back that it has in its hands, unless it has begun it. It then says so. */
  withdraw(n: number): void
  sendHandle(conn: number, socket: Socket): void
  /** Ends it now. `exit` follows. */
  kill(): void
}

export type StartActor = (spec: StartSpec, events: PortEvents) => Promise<Port>
