/** A guest in other hands: whatever it sends on any of its ports, however it is cut, ends the link at most; no other command notices. */
import { readFileSync } from 'node:fs'
import { duplexPair, type Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ControlLink } from '../../actors/vm-supervisor/link-control.ts'
import { FilesLink } from '../../actors/vm-supervisor/link-files.ts'
import { NetLink } from '../../actors/vm-supervisor/link-net.ts'
import { OutputLink } from '../../actors/vm-supervisor/link-output.ts'
import { FrameDecoder } from '../../guest/frames.ts'
import { inputWindow } from '../../guest/wire.ts'
import { type EffectContext, fault } from '../../kernel/index.ts'
import { count, framed, hostile, type Port } from './guest-frames.ts'

/** The host's end of all ports, and a guest that does what the test says; it answers pings and echoes. */
function host() {
  const [control, guestControl] = duplexPair()
  const [files, guestFiles] = duplexPair()
  const [output, guestOutput] = duplexPair()
  const [connections, guestConnections] = duplexPair()
  const ports: Record<Port, Duplex> = { control: guestControl, files: guestFiles, output: guestOutput, connections: guestConnections }
  const asked: { t: string; id: number; n: number; bytes: number }[] = []
  for (const port of Object.values(ports)) {
    const decoder = new FrameDecoder()
    port.on('error', () => {})
    port.on('data', (bytes: Uint8Array) => {
      for (const decoded of decoder.push(bytes)) {
        if (!decoded.ok) continue
        const header = decoded.frame.header as { t: string; id: number; n: number; op?: string; net?: string }
        asked.push({ ...header, bytes: decoded.frame.payload.length })
        if (header.t === 'ping') port.write(framed(`{"t":"pong","n":${header.n},"busy":false}`))
        if (header.op === 'echo' || header.t === 'echo' || header.net === 'echo')
          port.write(framed(JSON.stringify(header), decoded.frame.payload))
      }
    })
  }
  const end = (reason: string): void => link.end(fault('workspace-unavailable', 'The VM is ended.', { cause: reason }))
  const outputs = new OutputLink(output, () => {}, end)
  const link: ControlLink = new ControlLink(
    control,
    outputs,
    () => {},
    () => {},
  )
  const asks = (): never => {
    throw new Error('asked on behalf of nobody')
  }
  const context = { request: asks, send: asks } as unknown as EffectContext
  const nets = new NetLink(connections, () => null, context, { refused: () => {}, nonsense: end })
  const filesLink: FilesLink = new FilesLink(files, '1', () => null, end)
  let said = ''
  const order = { session: 's', command: 'victim', cwd: null, timeoutMs: 5, stdin: true }
  const victim = link.exec(order, { onText: async (_, text) => void (said += text) })
  return { ports, asked, link, outputs, filesLink, nets, victim, said: () => said }
}

async function victimId({ asked }: ReturnType<typeof host>): Promise<number> {
  await expect.poll(() => asked.some(({ t }) => t === 'exec')).toBe(true)
  return asked.find(({ t }) => t === 'exec')?.id ?? 0
}

/** All ports carry, and the command ends as its own guest says, with its own output and no other. */
async function goesOn(all: ReturnType<typeof host>, id: number): Promise<void> {
  await all.link.ping(1)
  await all.outputs.echo()
  await all.filesLink.echo(new Uint8Array(32))
  await all.nets.echo()
  all.ports.output.write(framed(`{"t":"out","id":${id},"stream":"stdout"}`, Buffer.from('mine')))
  const exit = { t: 'exit', id, code: 7, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/x', piped: 4 }
  all.ports.control.write(framed(JSON.stringify(exit)))
  expect(await all.victim.done).toMatchObject({ exitCode: 7, cwd: '/x', outputFile: null })
  expect(all.said()).toBe('mine')
}

describe.each(['whole', 'a byte at a time'] as const)('%s', (how) => {
  it.each(hostile.flatMap((one) => one.ports.map((port) => ({ ...one, port }))))(
    '$port: $what is $contained',
    async ({ port, bytes, contained }) => {
      const all = host()
      const id = await victimId(all)
      const sent = bytes(id)
      const step = how === 'whole' ? sent.length : 1
      // The first of a long one a byte at a time, where its sizes and its words are.
      for (let at = 0; at < Math.min(sent.length, 64); at += step) all.ports[port].write(sent.subarray(at, at + step))
      if (step === 1 && sent.length > 64) all.ports[port].write(sent.subarray(64))
      if (contained === 'ignored') return goesOn(all, id)
      expect(await all.link.closed).toMatchObject({ code: 'workspace-unavailable', cause: expect.stringMatching(/\w/) })
      await expect(all.victim.done).rejects.toMatchObject({ code: 'workspace-unavailable' })
    },
  )
})

it('a guest that takes no input: what a command is given stops at its window, and nothing else waits for it', async () => {
  const all = host()
  const id = await victimId(all)
  all.victim.input(new Uint8Array(4 * inputWindow), true).catch(() => {})
  const given = (): number => all.asked.reduce((sum, { t, bytes }) => sum + (t === 'stdin' ? bytes : 0), 0)
  await expect.poll(given).toBe(inputWindow)
  await all.link.ping(1)
  expect(given()).toBe(inputWindow)
  await goesOn(all, id)
})

it('a command that is over takes no more input and is not ended twice', async () => {
  const all = host()
  const id = await victimId(all)
  await goesOn(all, id)
  await expect(all.victim.input(new Uint8Array(1), false)).rejects.toMatchObject({ code: 'not-found' })
  const before = all.asked.length
  all.victim.kill()
  all.victim.signal('SIGTERM')
  await all.link.ping(1)
  expect(all.asked.slice(before).map(({ t }) => t)).toEqual(['ping'])
})

it('the specification says how many', () => {
  const specification = readFileSync(new URL('../../docs/SPECIFICATION.md', import.meta.url), 'utf8')
  expect(specification).toContain(`${count} of ${count} frames contained`)
})
