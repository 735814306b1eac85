/**
 * Memory for what hosts send (I/O). Node takes 64 KiB anew for each read, which costs more than the read. Here all connections read into one
 * piece, and what came is copied at once: a little into memory of its size, much into pieces that are used again when their bytes have been
 * written on. A connection without traffic has no memory, and when many let their bytes lie none gets more than 64 KiB at a time.
 */
import type { OnReadOpts, Socket } from 'node:net'
import { limits } from './limits.ts'

const landing = Buffer.allocUnsafeSlow(limits.readBytes)
/** What a connection reads into until it proves to be quick. */
const smallLanding = landing.subarray(0, limits.smallReadBytes)

type Reader = { lent: number; closed: boolean }
/** Pieces whose bytes are on their way, by their memory. */
const lent = new WeakMap<ArrayBufferLike, { piece: Buffer; reader: Reader }>()
const free: Buffer[] = []
/** Bytes in pieces of all connections. */
let held = 0

function lend(bytes: Uint8Array, reader: Reader): Buffer {
  const piece = free.pop() ?? Buffer.allocUnsafeSlow(limits.readBytes)
  lent.set(piece.buffer, { piece, reader })
  reader.lent += piece.length
  held += piece.length
  piece.set(bytes)
  return piece.subarray(0, bytes.length)
}

/** Bytes that a socket read have been written on, and nobody looks at them any more. Not called, it costs memory and no bytes. */
export function giveBack({ buffer }: Uint8Array): void {
  const loan = lent.get(buffer)
  if (!loan) return
  lent.delete(buffer)
  const { piece, reader } = loan
  if (!reader.closed) {
    reader.lent -= piece.length
    held -= piece.length
  }
  if (free.length * piece.length < limits.readMemoryBytes) free.push(piece)
}

/** A socket that reads this way, and is otherwise like any. `make` connects it, with these options besides its own. */
export function quickReader(make: (options: { onread: OnReadOpts }) => Socket): Socket {
  const reader: Reader = { lent: 0, closed: false }
  let quick = false
  const onread: OnReadOpts = {
    buffer: () => (quick && held < limits.readMemoryBytes ? landing : smallLanding),
    callback(count) {
      // It filled what it had: there is more.
      quick = count >= smallLanding.length
      const bytes = landing.subarray(0, count)
      return socket.push(count > smallLanding.length ? lend(bytes, reader) : Buffer.from(bytes))
    },
  }
  const socket = make({ onread })
  socket.once('close', () => {
    reader.closed = true
    held -= reader.lent
  })
  return socket
}
