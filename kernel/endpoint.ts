/** An outside holder of capabilities: the daemon itself, and tests. It goes through the router like any actor. */
import type { Socket } from 'node:net'
import type { Capability } from './capabilities.ts'
import type { Delegation, Fault } from './types.ts'

export type Endpoint = {
  request(slot: string, kind: string, body: unknown, options?: EndpointOptions): Promise<{ body: unknown; slots: string[] }>
  send(slot: string, kind: string, body: unknown, handle?: { conn: number; socket: Socket }): void
}
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

/** What an endpoint needs of the kernel, in its own name. */
type Wires = {
  /** The request's number; null when it was refused at once or is none. */
  send(slot: string, kind: string, body: unknown, more: SendOptions): number | null
  /** The same for one that is not a request and has nothing with it. */
  post(slot: string, kind: string, body: unknown): void
  install(cap: Capability, name: string): void
  cancel(request: number): void
  consumed(request: number): void
}

export function createEndpoint({ send, post, install, cancel, consumed }: Wires): Endpoint {
  let received = 0
  return {
    request: (slot, kind, body, { deadlineMs, onPart, signal, caps, trace } = {}) =>
      new Promise((resolve, reject) => {
        let request: number | null = null
        const answer: Answer = (result) => {
          if ('error' in result) {
            reject(result.error)
            return
          }
          const slots = result.caps.map((cap) => {
            const name = `received-${++received}`
            install(cap, name)
            return name
          })
          resolve({ body: result.body, slots })
        }
        const part = (partBody: unknown) => {
          onPart?.(partBody)
          if (request !== null) consumed(request)
        }
        request = send(slot, kind, body, {
          answer,
          part,
          trace,
          ...(caps ? { delegations: caps } : {}),
          ...(deadlineMs === undefined ? {} : { deadlineMs }),
        })
        signal?.addEventListener('abort', () => cancel(request ?? -1))
      }),
    send(slot, kind, body, handle) {
      if (handle) send(slot, kind, body, { handle })
      else post(slot, kind, body)
    },
  }
}
