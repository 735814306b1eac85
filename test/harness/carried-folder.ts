/** What serves folders in the guest, run here: between a client that asks as the kernel does and the gate of a folder. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import type { Gate } from '../../actors/fs-gate/gate.ts'
import { NinepConnections } from '../../actors/fs-gate/ninep-connections.ts'
import { uid } from '../../actors/fs-gate/test-client.ts'
import { FilesLink } from '../../actors/vm-supervisor/link-files.ts'
import { tagOf } from '../../actors/vm-supervisor/ninep.ts'
import { headersOf } from '../../guest/agent/ninep-bridge.ts'
import { maxFrame } from '../../guest/frames.ts'
import { channelName, ninepMessageSize, silentTag } from '../../guest/wire.ts'
import { FuseClient } from './fuse-client.ts'

/** Message types, as they are told of here. */
const typeNames: Readonly<Record<number, string>> = {
  12: 'lopen',
  14: 'lcreate',
  24: 'getattr',
  40: 'readdir',
  100: 'version',
  104: 'attach',
  110: 'walk',
  116: 'read',
  118: 'write',
  120: 'clunk',
}
/** The session and folder whose frames they are. */
const channel = { session: 's', folder: 'work' }

export class CarriedFolder {
  readonly client: FuseClient
  readonly link: FilesLink
  /** What reached the gate; in brackets what expects no answer. */
  heard: string[] = []
  /** The gate is there; otherwise the folder was taken away. */
  served = true
  readonly #pump: ChildProcess
  readonly #closed = Promise.withResolvers<void>()

  private constructor(pump: ChildProcess, gate: Gate | null) {
    this.#pump = pump
    const connections = gate && new NinepConnections(gate)
    const ask = async (conn: string, frame: Uint8Array, before: readonly Uint8Array[]): Promise<Uint8Array> => {
      for (const one of [...before, frame]) this.heard.push(named(one))
      const answer = connections?.answer({ conn, uid, frame, before, ahead: tagOf(frame) !== silentTag }, {}, 'vm-supervisor')
      if (!answer || 'code' in answer) throw answer
      return answer
    }
    const close = (conn: string) => {
      connections?.close(conn, 'vm-supervisor')
      this.#closed.resolve()
    }
    const ends = pump.stdio as unknown as Record<number, Duplex>
    this.link = new FilesLink(ends[4] as Duplex, 'e', () => (this.served && connections ? { ask, close } : null))
    this.client = new FuseClient(ends[5] as Duplex)
  }

  /** `gate` null: the host refuses whatever is asked. `error`: why the folder is not connected; 0 when it is. */
  static async open(gate: Gate | null): Promise<{ carried: CarriedFolder; error: number }> {
    const script = new URL('../../guest/agent/files-pump.pl', import.meta.url).pathname
    const args = [script, '4', maxFrame, ninepMessageSize, silentTag].map(String)
    const pump = spawn('perl', args, { stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe', 'pipe'] })
    const carried = new CarriedFolder(pump, gate)
    pump.stdin?.write(`open 1 0 5 rw ${headersOf(channelName(channel.session, channel.folder, 1)).join(' ')}\n`)
    const [said] = (await once(pump.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer]
    const error = Number(/^made 1 (\d+)\n$/.exec(said.toString())?.[1])
    if (error === 0) await carried.client.init()
    return { carried, error }
  }

  /** Those that were waited for. */
  get asked(): string[] {
    return this.heard.filter((name) => !name.startsWith('('))
  }

  /** The session's folders change. */
  forget(): void {
    this.link.forget(channel.session)
  }

  /** The agent cuts off whoever still uses it; resolves once they are, and the host has heard of it. */
  async cutOff(): Promise<void> {
    const ended = once(this.client.stream, 'end')
    this.#pump.stdin?.write('drop 1\n')
    await Promise.all([ended, this.#closed.promise])
  }

  async close(): Promise<void> {
    this.#pump.stdin?.end()
    if (this.#pump.exitCode === null) await once(this.#pump, 'exit')
  }
}

function named(frame: Uint8Array): string {
  const name = typeNames[frame[4] ?? 0] ?? String(frame[4])
  return tagOf(frame) === silentTag ? `(${name})` : name
}
