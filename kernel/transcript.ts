/**
 * What a step looked like, written so that it can be taken again: the event the machine saw, and a digest of everything it wanted in return.
 * The host writes it, the message log keeps it, `replay.ts` compares it with what the machine does now.
 *
 * Two things are left out, in the log and in the digest alike, so that a replay runs on the same stand-ins: bytes, also in base64 under
 * `data` beside a `media_type` (their number stays; no machine decides by them, effects do), and values under names that hold secrets (their shape stays).
 */
import { hash } from 'node:crypto'
import type { Command } from './stepper.ts'

/** One step. `event` is JSON text; `did` says in words what left the machine; `error` is set when the step threw and nothing left. */
export type Line = { event: string; value: string; did: string[]; digest: string; error: string | null }

/** Names whose values are never written: tokens, keys, passwords; and the values in environments and headers, which tool servers are given. */
const secretNames = /^(authorization|cookie|.*(token|secret|password|passphrase|api-?key|private-?key))$/i
const secretRecords = /^(env|.*headers)$/i

const standIn = '(not kept) '

/**
 * JSON without bytes and secrets. Throws on what JSON cannot hold (cycles, bigints).
 * @param salt of this run of the daemon, kept in memory only: equal secrets get equal stand-ins, which machines may compare, and nobody
 *   can try values against them later. A stand-in stands for itself. Null: all get the same one.
 */
export function encode(value: unknown, salt: string | null): string {
  function replace(this: unknown, key: string, item: unknown): unknown {
    // Not `item`: Buffer's toJSON has made an array of it by now.
    const original = (this as Record<string, unknown>)[key]
    if (original instanceof Uint8Array) return { $bytes: original.byteLength }
    if (key === 'data' && typeof original === 'string' && isMedia(this)) return { $base64: original.length }
    const secret = secretNames.test(key) || (secretRecords.test(key) && typeof item === 'object')
    return secret ? withoutLeaves(item, salt) : item
  }
  return JSON.stringify(value, replace) ?? 'null'
}

/** What `encode` wrote, with as many zeros where there were bytes. */
export function decode(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    const size = typeof value === 'object' && value !== null && '$bytes' in value ? value.$bytes : null
    if (typeof size === 'number') return new Uint8Array(size)
    const length = typeof value === 'object' && value !== null && '$base64' in value ? value.$base64 : null
    return typeof length === 'number' ? 'A'.repeat(length) : value
  })
}

function isMedia(of: unknown): boolean {
  return typeof (of as { media_type?: unknown }).media_type === 'string'
}

function withoutLeaves(value: unknown, salt: string | null): unknown {
  if (typeof value === 'string' && salt === null) return standIn
  if (typeof value === 'string') return value.startsWith(standIn) ? value : standIn + hash('sha256', salt + value, 'base64url').slice(0, 16)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => withoutLeaves(item, salt))
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutLeaves(item, salt)]))
}

export function describe(commands: readonly Command[]): string[] {
  return commands.map((command) => {
    switch (command.do) {
      case 'effect':
        return `effect ${command.name}`
      case 'timer':
        return `timer ${command.id} ${command.delayMs} ms`
      case 'dropTimer':
        return `drop timer ${command.id}`
      case 'emit': {
        const { message } = command
        if (message.type === 'send') return `send ${message.kind} to ${message.to}`
        return 'request' in message ? `${message.type} ${message.request}` : `${message.type} ${message.ref}`
      }
      default:
        return command satisfies never
    }
  })
}

/** Of the state a step led to and all it wanted. */
export function digest(value: unknown, commands: readonly Command[]): string {
  return hash('sha256', encode([value, commands], null), 'base64url').slice(0, 22)
}
