/** An outside holder of capabilities: the daemon itself, and tests. It goes through the router like any actor. */
import type { Socket } from 'node:net'
import type { ActorId, Capability, Holder } from './capabilities.ts'
import type { Delegation, Fault } from './types.ts'

export type EndpointOptions = {
  deadlineMs?: number | null
  onPart?: (body: unknown) => void
  signal?: AbortSignal
  caps?: readonly Delegation[]
  trace?: string
}

/** Called once with the answer of a request. */
export type Answer = (result: { body: unknown; caps: readonly Capability[] } | { error: Fault }) => void
export type SendOptions = {
  delegations?: readonly Delegation[]
  deadlineMs?: number | null
  handle?: { conn: number; socket: Socket }
  /** Present: a request. */
  answer?: Answer
  part?: (body: unknown) => void
  /** Trace context the message belongs to. */
  trace?: string | undefined
}

/** What endpoints need of the kernel. */
export type Wires = {
  /** The request's number; null when it was refused at once or is none. */
  send(from: Holder, slot: string, kind: string, body: unknown, more: SendOptions): number | null
  /** The same for one that is not a request and has nothing with it. */
  post(from: Holder, slot: string, kind: string, body: unknown): void
  install(holder: ActorId, cap: Capability, name: string): void
  cancel(request: number): void
  consumed(request: number): void
}

export class Endpoint {
  private readonly wires: Wires
  private readonly self: Holder
  private received = 0

  constructor(wires: Wires, self: Holder) {
    this.wires = wires
    this.self = self
  }

  request(
    slot: string,
    kind: string,
    body: unknown,
    { deadlineMs, onPart, signal, caps, trace }: EndpointOptions = {},
  ): Promise<{ body: unknown; slots: string[] }> {
    const { wires, self } = this
    return new Promise((resolve, reject) => {
      let request: number | null = null
      const answer: Answer = (result) => {
        if ('error' in result) {
          reject(result.error)
          return
        }
        const slots = result.caps.map((cap) => {
          const name = `received-${++this.received}`
          wires.install(self.id, cap, name)
          return name
        })
        resolve({ body: result.body, slots })
      }
      const part = (partBody: unknown) => {
        onPart?.(partBody)
        if (request !== null) wires.consumed(request)
      }
      request = wires.send(self, slot, kind, body, {
        answer,
        part,
        trace,
        ...(caps ? { delegations: caps } : {}),
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
      })
      signal?.addEventListener('abort', () => wires.cancel(request ?? -1))
    })
  }

  send(slot: string, kind: string, body: unknown, handle?: { conn: number; socket: Socket }): void {
    if (handle) this.wires.send(this.self, slot, kind, body, { handle })
    else this.wires.post(this.self, slot, kind, body)
  }
}
