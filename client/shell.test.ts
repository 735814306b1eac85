import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { fault } from '../kernel/index.ts'
import type { Daemon, ShellShown } from './connection.ts'
import { shell, type ShellIo } from './shell.ts'

const ending = { exitCode: 0, signal: null }

/** A daemon that records its calls, and a terminal that records its modes. */
function stage(sessions: { session: string; open: boolean }[] = [{ session: 's-1', open: true }]) {
  const calls: { method: string; params: Record<string, unknown> }[] = []
  const modes: boolean[] = []
  let show: (shown: ShellShown) => void = () => {}
  let end: { resolve(result: unknown): void; reject(error: unknown): void } | null = null
  const daemon: Daemon = {
    async call<T>(method: string, params: object = {}, signal?: AbortSignal): Promise<T> {
      calls.push({ method, params: params as Record<string, unknown> })
      if (method === 'sessions') return { sessions } as T
      if (method === 'open') return { session: (params as { session?: string }).session ?? 's-new' } as T
      if (method !== 'shell/open') return {} as T
      return new Promise<unknown>((resolve, reject) => {
        end = { resolve, reject }
        signal?.addEventListener('abort', () => reject(fault('cancelled', 'given up')))
      }) as Promise<T>
    },
    closed: new Promise(() => {}),
    close() {},
  }
  const stdin = Object.assign(new PassThrough(), { isTTY: true as const, setRawMode: (on: boolean) => modes.push(on) })
  const stdout = Object.assign(new PassThrough(), { columns: 100, rows: 40 })
  const io = { stdin, stdout, term: 'xterm', progress() {}, settle() {}, shown: (to: (shown: ShellShown) => void) => (show = to) }
  const name = () => String(of('shell/open')[0]?.['shell'])
  const of = (method: string) => calls.filter((call) => call.method === method).map(({ params }) => params)
  return {
    daemon,
    io: io as unknown as ShellIo,
    stdin,
    stdout,
    modes,
    of,
    show: (shown: Omit<ShellShown, 'shell'>) => show({ shell: name(), ...shown }),
    opened: () => expect.poll(() => end).not.toBeNull(),
    end: (result: unknown = ending) => {
      show({ shell: name(), ended: true })
      end?.resolve(result)
    },
    fail: (error: unknown) => end?.reject(error),
  }
}

const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('which session', () => {
  test.each([
    { name: 'the newest that is open', listed: [{ session: 'a', open: false }, { session: 'b', open: true }], wanted: null, opens: [], used: 'b' },
    { name: 'a new one', listed: [{ session: 'a', open: false }], wanted: null, opens: [{}], used: 's-new' },
    { name: 'one that is asked for and open', listed: [{ session: 'a', open: true }], wanted: 'a', opens: [], used: 'a' },
    { name: 'one that is on record', listed: [{ session: 'a', open: false }], wanted: 'a', opens: [{ session: 'a' }], used: 'a' },
  ])('$name', async ({ listed, wanted, opens, used }) => {
    const it = stage(listed)
    const ended = shell(it.daemon, { session: wanted, command: null }, it.io)
    await it.opened()
    expect(it.of('open')).toEqual(opens)
    expect(it.of('shell/open')).toMatchObject([{ session: used, cols: 100, rows: 40, term: 'xterm' }])
    it.end()
    expect(await ended).toBe(0)
  }) // biome-ignore format: one case a line

  test('one that does not exist is refused before anything is opened', async () => {
    const it = stage([])
    await expect(shell(it.daemon, { session: 'gone', command: null }, it.io)).rejects.toMatchObject({ code: 'no-such-session' })
    expect(it.of('shell/open')).toEqual([])
    expect(it.modes).toEqual([])
  })
})

describe('the terminal', () => {
  test('is raw while it lasts; keys go there together, Ctrl-C as well; what it shows comes back as bytes', async () => {
    const it = stage()
    const ended = shell(it.daemon, { session: null, command: 'top' }, it.io)
    await it.opened()
    expect(it.modes).toEqual([true])
    expect(it.of('shell/open')).toMatchObject([{ command: 'top' }])
    it.stdin.write('typed early ')
    it.show({ started: true })
    await expect.poll(() => it.of('shell/input').length).toBe(1)
    it.stdin.write(Buffer.from([3]))
    await expect.poll(() => it.of('shell/input').map(({ data }) => data)).toEqual([base64('typed early '), base64('\u0003')])
    it.stdout.columns = 50
    it.stdout.emit('resize')
    expect(it.of('shell/resize').at(-1)).toMatchObject({ cols: 50, rows: 40 })
    it.show({ data: Buffer.from([27, 0xff]).toString('base64') })
    it.end({ exitCode: 7, signal: null })
    expect(await ended).toBe(7)
    expect([...it.stdout.read()]).toEqual([27, 0xff])
    expect(it.modes).toEqual([true, false])
  })

  test('Ctrl-C before it has begun gives up', async () => {
    const it = stage()
    const ended = shell(it.daemon, { session: null, command: null }, it.io)
    await it.opened()
    it.stdin.write(Buffer.from([3]))
    expect(await ended).toBe(130)
    expect(it.modes).toEqual([true, false])
  })

  test('a signal there is an exit code here; a workspace that is not there is an error, and the terminal is as it was', async () => {
    const killed = stage()
    const ended = shell(killed.daemon, { session: null, command: null }, killed.io)
    await killed.opened()
    killed.end({ exitCode: null, signal: 'SIGKILL' })
    expect(await ended).toBe(137)
    const off = stage()
    const refused = shell(off.daemon, { session: null, command: null }, off.io)
    await off.opened()
    off.fail(fault('workspace-unavailable', 'Workspace unavailable: it is switched off.'))
    await expect(refused).rejects.toMatchObject({ code: 'workspace-unavailable' })
    expect(off.modes).toEqual([true, false])
  })

  test('the end of what is piped in is its end there', async () => {
    const it = stage()
    const ended = shell(it.daemon, { session: null, command: null }, it.io)
    await it.opened()
    it.stdin.end('ls\n')
    it.show({ started: true })
    await expect.poll(() => it.of('shell/input').at(-1)).toMatchObject({ end: true })
    expect(
      it
        .of('shell/input')
        .map(({ data }) => Buffer.from(String(data), 'base64').toString())
        .join(''),
    ).toBe('ls\n')
    it.end()
    expect(await ended).toBe(0)
  })
})
