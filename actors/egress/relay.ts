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
import type { Authority } from './authority.ts'
import { connectBy, unreachable, type Way, wayTo, type Web } from './dial.ts'
import { createInspector, type StreamInspector } from './inspect-stream.ts'
import { intercept } from './intercept.ts'
import { joinedSignal } from './joined-signal.ts'
import { limits } from './limits.ts'
import { answer, createGreeter } from './proxy-greeting.ts'
import { giveBack } from './read-memory.ts'
import type { Asked } from './request-rules.ts'
import type { HostTarget } from './rule-set.ts'

export type RelayOptions = {
  web: Web
  access: Access
  signal: AbortSignal
  /** The client trusts it, so what it sends can be read. Absent: where reading is needed, nothing goes. */
  authority?: Authority
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

async function serve(client: Duplex, greeted: Greeted, { web, access, signal, authority, opened }: RelayOptions): Promise<Fault | null> {
  const { target } = greeted
  const until = joinedSignal(signal)
  const leave = (): void => until.end(fault('cancelled', 'The client left.'))
  client.once('close', leave)
  const secure = target.port !== 80
  let origin: Socket
  let way: Way
  let read = false
  let watch: ReturnType<Access['watch']> | null = null
  try {
    await access.permit(target, until.signal)
    read = access.reads(target) || access.secrets(target).length > 0
    if (read && secure && !authority) throw unread(target)
    access.admit(target, { seen: read, secure })
    watch = access.watch(target, read)
    until.join(watch.signal)
    way = await wayTo({ ...target, secure }, web, until.signal)
    origin = await connectBy(way, target, until.signal, !secure)
  } catch (error) {
    watch?.release()
    until.release()
    const why = unreachable(target.host, error)
    await tellRefusal(client, greeted, why)
    return why
  } finally {
    client.off('close', leave)
  }
  // Between one reader and the next it may break off: that is seen at its end.
  origin.on('error', () => undefined)
  const judge = (asked: Asked): { rule: string; reason: string } | null => {
    const moved = noLongerVetted(target, origin, way, web)
    if (moved) return moved
    const { verdict, rule, reason } = access.pass(target, asked)
    return verdict === 'deny' ? { rule, reason } : null
  }
  try {
    opened?.()
    if (greeted.opened && greeted.opened.length > 0) client.write(greeted.opened)
    const reader = way.via === 'proxy' && !secure ? way.proxy : null
    const inspector = createInspector(target, { reader, judge: read ? judge : null })
    if (!read || !secure || !authority) return await pump(client, origin, inspector, target, greeted.rest, until.signal)
    const first = await readFirst(client, origin, inspector, target, greeted.rest, until.signal)
    if (first === 'tls')
      return await intercept(client, origin, target, { authority, judge, secrets: () => access.secrets(target), signal: until.signal })
    access.admit(target, { seen: true, secure: false })
    return await pump(client, origin, inspector, target, null, until.signal, first)
  } finally {
    watch.release()
    until.release()
    origin.destroy()
  }
}

/** A connection that is kept may come to lead inside: this machine's own addresses change. Judged anew for each request that is read. */
function noLongerVetted({ host }: HostTarget, { remoteAddress }: Socket, { via }: Way, web: Web): { rule: string; reason: string } | null {
  if (via === 'proxy' || remoteAddress === undefined) return null
  const judged = web.addressPolicy()(remoteAddress)
  return judged === 'public' ? null : { rule: `address: ${judged}`, reason: `What ${host} leads to may no longer be reached.` }
}

function unread({ host }: HostTarget): Fault {
  return fault('egress-denied', `Requests to ${host} have to be read, and this program does not know how to have them read.`, {
    rule: 'secret-not-intercepted',
  })
}

/** What a client that has to be read says first, judged: `tls` when TLS begins (its bytes are back in the stream), else what may go on. */
function readFirst(
  client: Duplex,
  origin: Socket,
  inspector: StreamInspector,
  target: HostTarget,
  rest: Uint8Array | null,
  signal: AbortSignal,
): Promise<'tls' | readonly Uint8Array[]> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      client.pause()
      client.off('data', data)
      for (const stream of [client, origin]) stream.off('close', gone)
      client.off('end', gone)
      signal.removeEventListener('abort', cut)
    }
    const fail = (why: unknown): void => {
      settle()
      reject(why)
    }
    const cut = (): void => fail(signal.reason)
    const gone = (): void => fail(fault('fetch-failed', `The connection to ${target.host} broke off.`))
    const timer = setTimeout(
      () => fail(fault('fetch-failed', `Nothing that could be judged came for ${target.host} in time.`, { rule: 'first-bytes' })),
      limits.tunnelFirstMs,
    )
    const data = (bytes: Uint8Array): void => {
      const result = inspector.push(bytes)
      if ('refuse' in result) return fail(notForIt(result.refuse))
      if ('open' in result) {
        settle()
        client.unshift(result.open)
        return resolve('tls')
      }
      if (result.forward.length === 0) return
      settle()
      resolve(result.forward)
    }
    for (const stream of [client, origin]) stream.on('close', gone)
    client.on('end', gone)
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) return cut()
    client.on('data', data)
    // A greeting leaves it paused; what came with it was first.
    client.resume()
    if (rest && rest.length > 0) data(rest)
  })
}

function notForIt({ rule, reason }: { rule: string; reason: string }): Fault {
  return fault('egress-denied', reason, { rule, remedy: 'Connect to the host by its own name, in the protocol of the port.' })
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
  /** Judged already. */
  ready: readonly Uint8Array[] = [],
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
      if ('refuse' in result) return over(notForIt(result.refuse))
      if ('open' in result) return over(unread(target))
      let room = true
      for (const bytes of result.forward) room = origin.write(bytes)
      if (result.forward.length > 0) clearTimeout(firstTimer)
      if (!room) client.pause()
    }
    client.on('data', (bytes: Uint8Array) => judged(inspector.passing() ? { forward: [bytes] } : inspector.push(bytes)))
    origin.on('data', (bytes: Uint8Array) => {
      const room = client.write(bytes, () => giveBack(bytes))
      // Often it has left by now, and a pause costs more than the little that waits.
      if (!room && client.writableLength >= limits.tunnelWindow) origin.pause()
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
    if (ready.length > 0) judged({ forward: ready })
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
