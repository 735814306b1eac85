/**
 * One tunnel (I/O): a client's stream, through policy, guard and inspection, to a host.
 *
 *   greeting (if it speaks to a proxy) -> permit -> resolve, vet, dial -> opened -> pump both ways
 *
 * The pump is ours: each direction waits for the other's buffer, each half closes by itself, and a policy that no longer allows the host
 * ends both at once, before another byte. Never rejects: how it ended is what it resolves with.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import type { Access } from './access.ts'
import { connectBy, unreachable, type Way, wayTo, type Web } from './dial.ts'
import { createInspector, type StreamInspector } from './inspect-stream.ts'
import { limits } from './limits.ts'
import { answer, createGreeter } from './proxy-greeting.ts'
import type { HostTarget } from './rule-set.ts'

export type RelayOptions = {
  web: Web
  access: Access
  signal: AbortSignal
  /** The host is connected: from here on what it sends reaches the client. */
  opened?: () => void
}

/** `to` null: the client says where, as to a proxy. Resolves with why it was refused or broke, or null when both sides were done. */
export async function relay(client: Duplex, to: HostTarget | null, options: RelayOptions): Promise<Fault | null> {
  // A client that breaks off is no news before there is anything to break.
  const ignore = (): void => {}
  client.on('error', ignore)
  try {
    const greeting = to === null ? await greet(client, options.signal) : { target: to, rest: null, opened: null, refused: null }
    return await serve(client, greeting, options)
  } catch (error) {
    return isFault(error) ? error : fault('fetch-failed', 'The connection broke off.')
  } finally {
    client.destroy()
  }
}

type Greeted = {
  target: HostTarget
  rest: Uint8Array | null
  opened: Uint8Array | null
  refused: ((rule: string, reason: string) => Uint8Array) | null
}

async function serve(client: Duplex, greeted: Greeted, { web, access, signal, opened }: RelayOptions): Promise<Fault | null> {
  const { target } = greeted
  const left = new AbortController()
  const leave = (): void => left.abort(fault('cancelled', 'The client left.'))
  client.once('close', leave)
  const both = AbortSignal.any([signal, left.signal])
  let origin: Socket
  let way: Way
  let watch: ReturnType<Access['watch']> | null = null
  try {
    await access.permit(target, both)
    watch = access.watch(target)
    const dialling = AbortSignal.any([both, watch.signal])
    way = await wayTo({ ...target, secure: target.port !== 80 }, web, dialling)
    origin = await connectBy(way, target, dialling, target.port === 80)
  } catch (error) {
    watch?.release()
    const why = unreachable(target.host, error)
    await tellRefusal(client, greeted, why)
    return why
  } finally {
    client.off('close', leave)
  }
  try {
    opened?.()
    if (greeted.opened && greeted.opened.length > 0) client.write(greeted.opened)
    const reader = way.via === 'proxy' && target.port === 80 ? way.proxy : null
    return await pump(client, origin, createInspector(target, reader), target, greeted.rest, AbortSignal.any([signal, watch.signal]))
  } finally {
    watch.release()
    origin.destroy()
  }
}

/** Where the protocol has a way to say no in words, it is used: a program shows it, and a model reads it. */
async function tellRefusal(client: Duplex, { refused, target }: Greeted, { rule, message, cause }: Fault): Promise<void> {
  const reason = cause === undefined ? message : `${message} ${cause}`
  const words = refused
    ? refused(rule ?? '', reason)
    : target.port === 80
      ? answer(rule === undefined ? 502 : 403, rule ?? '', reason)
      : null
  if (words === null || client.destroyed) return
  await new Promise<void>((resolve) => {
    client.once('close', resolve)
    client.end(words, () => resolve())
  })
}

function pump(
  client: Duplex,
  origin: Socket,
  inspector: StreamInspector,
  target: HostTarget,
  rest: Uint8Array | null,
  signal: AbortSignal,
): Promise<Fault | null> {
  return new Promise((resolve) => {
    let clientEnded = false
    let originEnded = false
    const over = (why: Fault | null): void => {
      clearTimeout(firstTimer)
      signal.removeEventListener('abort', cut)
      for (const stream of [client, origin]) stream.destroy()
      resolve(why)
    }
    const cut = (): void => {
      // At once: what waits in the socket's buffer does not go either.
      origin.resetAndDestroy()
      over(isFault(signal.reason) ? signal.reason : fault('cancelled', 'The tunnel was ended.'))
    }
    const firstTimer = setTimeout(
      () => over(fault('fetch-failed', `Nothing that could be judged came for ${target.host} in time.`, { rule: 'first-bytes' })),
      limits.tunnelFirstMs,
    )
    // Elsewhere the host may be the first to speak, and the client may stay silent.
    if (target.port !== 80 && target.port !== 443) clearTimeout(firstTimer)
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) return cut()

    const judged = (result: ReturnType<typeof inspector.push>): void => {
      if ('refuse' in result) {
        const { rule, reason } = result.refuse
        return over(fault('egress-denied', reason, { rule, remedy: 'Connect to the host by its own name, in the protocol of the port.' }))
      }
      let room = true
      for (const bytes of result.forward) room = origin.write(bytes)
      if (result.forward.length > 0) clearTimeout(firstTimer)
      if (!room) client.pause()
    }
    client.on('data', (bytes: Uint8Array) => judged(inspector.passing() ? { forward: [bytes] } : inspector.push(bytes)))
    origin.on('data', (bytes: Uint8Array) => {
      if (!client.write(bytes)) origin.pause()
    })
    origin.on('drain', () => client.resume())
    client.on('drain', () => origin.resume())
    const ended = (): void => {
      clientEnded = true
      judged(inspector.end())
      if (!origin.destroyed) origin.end()
    }
    client.on('end', ended)
    origin.on('end', () => {
      originEnded = true
      if (!client.destroyed) client.end()
    })
    // Both ended and all that was written has left.
    const finished = (): void => {
      if (clientEnded && originEnded && client.writableFinished && origin.writableFinished) over(null)
    }
    for (const stream of [client, origin]) stream.on('end', finished).on('finish', finished)
    const broke = (): void => over(clientEnded && originEnded ? null : fault('fetch-failed', `The connection to ${target.host} broke off.`))
    for (const stream of [client, origin]) {
      stream.on('error', broke)
      stream.on('close', broke)
    }
    origin.setTimeout(limits.tunnelIdleMs, () => over(fault('fetch-failed', `The connection to ${target.host} was silent for too long.`)))
    if (rest && rest.length > 0) judged(inspector.push(rest))
    // It may have ended while it was being greeted.
    if (client.readableEnded) ended()
    if (!origin.writableNeedDrain) client.resume()
  })
}

/** What the client wants, as it says to a proxy. Rejects with a fault, after telling the client. */
function greet(client: Duplex, signal: AbortSignal): Promise<Greeted> {
  const greeter = createGreeter()
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      client.off('data', read)
      client.off('end', left)
      client.off('close', left)
      signal.removeEventListener('abort', left)
      client.pause()
    }
    const left = (): void => {
      settle()
      reject(fault('cancelled', 'The client left.'))
    }
    const timer = setTimeout(left, limits.tunnelFirstMs)
    const read = (bytes: Uint8Array): void => {
      const greeting = greeter.push(bytes)
      if (greeting.state === 'more') {
        if (greeting.answer) client.write(greeting.answer)
        return
      }
      settle()
      if (greeting.state === 'target') return resolve(greeting)
      client.end(greeting.answer, () =>
        reject(fault('bad-url', `The proxy request cannot be used: ${greeting.why}.`, { rule: 'proxy-form' })),
      )
    }
    client.on('data', read)
    client.on('end', left)
    client.on('close', left)
    signal.addEventListener('abort', left, { once: true })
    if (signal.aborted) left()
  })
}
