/** As many tunnels at once as there may be: each carries its own bytes, ends by itself, and leaves nothing behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAuthority } from './authority.ts'
import { limits } from './limits.ts'
import { accessTo } from './testing/access.ts'
import { createTunnels } from './tunnels.ts'

/** The host is a process of its own, as in life: each connection costs each side a descriptor. */
const echo = `require('net').createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket)).listen(
  { host: '127.0.0.1', port: 0, backlog: 4096 }, function () { console.log(this.address().port) })`
/** Descriptors a process here may have; Node asks for all of them. */
const descriptors =
  process.platform === 'linux'
    ? Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
    : limits.tunnels
/** All of them, where the machine lets a process have so many. Vitest and Node need some. */
const count = Math.min(limits.tunnels, descriptors - 500)
/** As many at a time as wait at a server's door. */
const together = 500

let host: ReturnType<typeof spawn>
let port: number
beforeAll(async () => {
  host = spawn(process.execPath, ['-e', echo], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(host.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  port = Number(String(line))
})
afterAll(() => void host.kill())

test(`${count} at once: each carries its own, one more is refused, each half and each tunnel ends by itself, and all can be had again`, async () => {
  const web = { resolve: async () => [{ address: '127.0.0.1', family: 4 as const }], addressPolicy: () => () => 'public' as const }
  const tunnels = createTunnels(web, createAuthority())
  const access = accessTo(['a.example'])
  const sessionOf = (at: number): string => `vm s-${Math.floor(at / limits.sessionTunnels)}`

  const open = async (at: number) => {
    const id = `${sessionOf(at)} ${at}`
    const stands = Promise.withResolvers<void>()
    const heard = Promise.withResolvers<string>()
    const abort = new AbortController()
    let text = ''
    let over = false
    const ended = tunnels.open(id, { host: 'a.example', port }, access, abort.signal, async (part) => {
      if (part.type === 'open') stands.resolve()
      if (part.type === 'data') text += Buffer.from(part.bytes).toString()
      if (part.type === 'end') heard.resolve(text)
    })
    void ended.then((why) => {
      over = true
      for (const { reject } of [stands, heard]) reject(why)
    })
    heard.promise.catch(() => undefined)
    await stands.promise
    return { id, ended, abort, heard: heard.promise, over: () => over }
  }
  const openAll = async (from: number, to: number) => {
    const all: Awaited<ReturnType<typeof open>>[] = []
    for (let at = from; at < to; at += together)
      all.push(...(await Promise.all(Array.from({ length: Math.min(together, to - at) }, (_, more) => open(at + more)))))
    return all
  }

  const all = await openAll(0, count)
  expect(all.filter(({ over }) => over())).toEqual([])
  if (count === limits.tunnels)
    expect(
      await tunnels.open('vm other 1', { host: 'a.example', port }, access, new AbortController().signal, async () => {}),
    ).toMatchObject({
      code: 'overloaded',
    })

  // Every other one is aborted in the middle; the rest does not notice.
  const [aborted, kept] = [all.filter((_, at) => at % 2 === 1), all.filter((_, at) => at % 2 === 0)]
  await Promise.all(all.map(({ id }) => tunnels.feed(id, Buffer.from(`${id}, first`))))
  for (const { abort } of aborted) abort.abort()
  expect((await Promise.all(aborted.map(({ ended }) => ended))).filter((why) => why === null)).toEqual([])
  expect(kept.filter(({ over }) => over())).toEqual([])
  await Promise.all(kept.map(({ id }) => tunnels.feed(id, Buffer.from(' and last'))))
  await Promise.all(kept.map(({ id }) => tunnels.feed(id, null)))
  expect(await Promise.all(kept.map(({ heard }) => heard))).toEqual(kept.map(({ id }) => `${id}, first and last`))
  expect((await Promise.all(kept.map(({ ended }) => ended))).filter((why) => why !== null)).toEqual([])

  // Whoever had as many as a session may have has room again.
  const again = await openAll(0, limits.sessionTunnels)
  for (const { abort } of again) abort.abort()
  await Promise.all(again.map(({ ended }) => ended))
})
