/**
 * Process placement: one Node process per actor, started with Node's permission model and nothing but what its manifest names. Frames
 * travel over an inherited socket pair (descriptor 3); accepted sockets, for the actors that take them, over Node's own channel
 * (descriptor 4). The environment is empty. Around that is a jail of the operating system, where there is one (jail.ts).
 */
import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { hostFile } from './attempts.ts'
import { codeCacheFor } from './code-cache.ts'
import { frameOf } from './delivery.ts'
import { jailOf } from './jail.ts'
import { actorHeapMiB, actorYoungMiB } from './limits.ts'
import { memoryBoundOf, walled, watchMemory } from './memory.ts'
import type { Port, PortEvents, ProcessSpec } from './placement.ts'
import type { Permissions } from './types.ts'
import { createDecoder, createSender } from './wire.ts'
import { fileBoard } from './withdrawal.ts'

const kernelDir = dirname(fileURLToPath(import.meta.url))
const root = dirname(kernelDir)
const rootUrl = new URL('..', import.meta.url).href

/** Folders and files every actor process reads while it loads; dropped before its first message. */
export function codePaths(entry: string): string[] {
  return [`${kernelDir}/`, `${dirname(fileURLToPath(entry))}/`, `${root}/node_modules/`, `${root}/package.json`]
}

/** Node's arguments for a set of permissions. */
export function permissionArgs(permissions: Permissions, code: readonly string[]): string[] {
  const args = ['--permission', ...code.map((path) => `--allow-fs-read=${path}`)]
  for (const path of permissions.fsRead ?? []) args.push(`--allow-fs-read=${path}`)
  for (const path of permissions.fsWrite ?? []) args.push(`--allow-fs-write=${path}`)
  if (permissions.net) args.push('--allow-net')
  if (permissions.childProcess) args.push('--allow-child-process')
  if (permissions.wasi) args.push('--allow-wasi')
  return args
}

export async function startProcess(spec: ProcessSpec, events: PortEvents): Promise<Port> {
  const { manifest } = spec.entry
  const code = codePaths(spec.entry.entry)
  const inherited = Object.entries(spec.fds)
  const firstFd = manifest.handles ? 5 : 4
  const fds = Object.fromEntries(inherited.map(([name], index) => [name, firstFd + index]))
  const foreign = !spec.entry.entry.startsWith(rootUrl)
  const cache = foreign ? null : codeCacheFor(manifest.kind)
  const jail = await jailOf(manifest, spec.params, { permissions: spec.permissions, code, cache })
  const jailed = 'command' in jail
  const boardFd = firstFd + inherited.length
  const infoFd = boardFd + 1
  const memory = memoryBoundOf(manifest, spec.permissions)
  const [command, ...before] = [
    ...walled(memory),
    ...(jailed ? [jail.command, '--info-fd', String(infoFd), ...jail.args] : []),
    process.execPath,
  ]
  const board = fileBoard()
  const child = spawn(
    command,
    [
      ...before,
      ...permissionArgs(spec.permissions, [...code, hostFile]),
      ...(cache === null ? [] : [`--allow-fs-read=${cache}`, `--allow-fs-write=${cache}`]),
      '--disallow-code-generation-from-strings',
      '--disable-warning=SecurityWarning',
      '--disable-warning=ExperimentalWarning',
      `--max-old-space-size=${actorHeapMiB}`,
      `--max-semi-space-size=${actorYoungMiB}`,
      `--title=bulkhead ${spec.id}`,
      `${kernelDir}/process-start.js`,
      JSON.stringify({ entry: spec.entry.entry, drop: manifest.keepsCode ? [] : code, outside: foreign, cache, board: boardFd }),
    ],
    {
      env: {},
      cwd: '/',
      // The jail's own process would end by a Ctrl-C in the daemon's terminal.
      detached: jailed,
      // 'overlapped' is 'pipe' everywhere but Windows. Both make a socket pair on POSIX, open in both directions.
      stdio: [
        'ignore',
        'pipe',
        'pipe',
        'overlapped',
        ...(manifest.handles ? (['ipc'] as const) : []),
        ...inherited.map(([, fd]) => fd),
        board.reading,
        ...(jailed ? (['pipe'] as const) : []),
      ],
    },
  )
  let pid = child.pid ?? null
  board.shared()
  if (jailed) onChildPid(child.stdio[infoFd] as Readable, (inner) => (pid = inner))
  const pipe = child.stdio[3] as Socket
  let asked = false
  let broken: string | null = null
  const kill = (why: string | null) => {
    broken ??= why
    child.kill('SIGKILL')
  }
  const tooLarge = (heldMiB: number) => kill(`it held ${heldMiB} MiB of memory and may hold ${memory.maxMiB} MiB`)
  const { stir, stop: unwatch } = memory.watched
    ? watchMemory({ pid: () => pid, maxMiB: memory.maxMiB, walled: memory.wallMiB !== null, over: tooLarge })
    : { stir() {}, stop() {} }
  const decode = createDecoder(events.frame)
  const send = createSender((bytes) => {
    stir()
    if (!pipe.destroyed) pipe.write(bytes)
  })
  pipe.on('data', (chunk: Buffer) => {
    stir()
    try {
      decode(chunk)
    } catch (error) {
      kill(error instanceof Error ? error.message : String(error))
    }
  })
  // The exit event tells the story; a broken pipe before it is the same story.
  pipe.on('error', () => {})
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => events.log(text.trimEnd()))
  /** Sockets that have not arrived there. Node would close those that have, but of an actor that ended it forgets those that have not. */
  const leaving = new Map<number, Socket>()
  const arrived = (conn: number): void => {
    leaving.get(conn)?.destroy()
    leaving.delete(conn)
  }
  const over = (): void => {
    unwatch()
    board.close()
    for (const conn of leaving.keys()) arrived(conn)
  }
  const sendHandle = (conn: number, socket: Socket): void => {
    leaving.set(conn, socket)
    child.send({ conn }, socket, { keepOpen: true }, (error) => {
      if (!error) return
      arrived(conn)
      // Its message waits there for it, and all others behind.
      if (child.connected) child.send({ conn }, () => {})
    })
  }
  // From an actor, and so anything.
  child.on('message', (message: { conn?: unknown } | null) => {
    if (typeof message?.conn === 'number') arrived(message.conn)
  })
  child.on('error', (error) => {
    over()
    events.exit(`could not start: ${error.message}`, false)
  })
  child.on('exit', (status, signal) => {
    over()
    events.exit(broken ?? endOf(status, signal, jailed), asked && status === 0)
  })
  return {
    get pid() {
      return pid
    },
    jail: jailed ? null : jail.why,
    memory,
    fds,
    send(frame) {
      if (frame.t === 'stop') asked = true
      send(frame)
    },
    deliver(delivery) {
      send(frameOf(delivery))
      return false
    },
    withdraw: board.withdraw,
    sendHandle,
    kill: () => kill(null),
  }
}

/** The jail tells who it started: the process that is meant by the actor's, though ending either ends both. */
function onChildPid(info: Readable, tell: (pid: number) => void): void {
  let said = ''
  info.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  info.on('error', () => {})
  info.on('end', () => {
    const [, pid] = /"child-pid":\s*(\d+)/.exec(said) ?? []
    if (pid !== undefined) tell(Number(pid))
  })
}

/** As a shell would, the jail ends with 128 + n when its program ended by signal n. */
function endOf(status: number | null, signal: NodeJS.Signals | null, jailed: boolean): string {
  const inner = jailed && status !== null ? Object.entries(constants.signals).find(([, n]) => n === status - 128)?.[0] : undefined
  const by = signal ?? inner
  return by ? `ended by ${by}` : `exit status ${status}`
}
