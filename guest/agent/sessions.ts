/**
 * Sessions: each a user and a slot, which gives it a home, a control group and a set of namespaces. Commands join them; connected folders
 * are mounted inside them only. Removing a session ends everything in it.
 */
import { join } from 'node:path'
import type { FolderMount } from '../wire.ts'
import { refusedDatagrams } from './datagrams.ts'
import { freeShare } from './disk.ts'
import { relieve } from './kept-files.ts'
import { maxSessions } from './limits.ts'
import type { Channel, NinepBridge } from './ninep-bridge.ts'
import type { Slot, Slots } from './slots.ts'

export type Session = {
  readonly name: string
  readonly uid: number
  /** Seen from inside. */
  readonly home: string
  readonly slot: Slot
  folders: Map<string, { mode: 'ro' | 'rw'; generation: number; channel: Channel }>
  /** Where the last command ended; null before the first. */
  cwd: string | null
  /** Datagrams to nobody that were told of. */
  datagrams: number
}

type Entry = { session: Session | null; uid: number; work: Promise<unknown> }

export class Sessions {
  readonly #bridge: NinepBridge
  readonly #slots: Slots
  readonly #entries = new Map<string, Entry>()

  constructor(bridge: NinepBridge, slots: Slots) {
    this.#bridge = bridge
    this.#slots = slots
  }

  /** Makes the session unless it is there, and gives it exactly these folders. Rejects with why not; then what was there stays. */
  async set(name: string, uid: number, folders: readonly FolderMount[]): Promise<void> {
    let entry = this.#entries.get(name)
    if (entry === undefined) {
      if (this.#entries.size >= maxSessions) throw new Error(`more than ${maxSessions} sessions`)
      if ([...this.#entries.values()].some((other) => other.uid === uid)) throw new Error(`user id ${uid} is another session's`)
      entry = { session: null, uid, work: Promise.resolve() }
      this.#entries.set(name, entry)
    }
    if (entry.uid !== uid) throw new Error(`the session's user id is ${entry.uid}`)
    const mine = entry
    await this.#inTurn(mine, async () => {
      // Removed while this waited its turn: it is made anew.
      if (this.#entries.get(name) !== mine) return this.set(name, uid, folders)
      mine.session ??= await this.#make(mine, name)
      await this.#mount(mine.session, folders)
    })
  }

  /** The session once all that was asked for it before is done; null if there is none. */
  async get(name: string): Promise<Session | null> {
    const entry = this.#entries.get(name)
    await entry?.work.catch(() => {})
    return this.#entries.get(name)?.session ?? null
  }

  /** Name of the session that has this slot, or this user. */
  ofSlot(id: string): string | null {
    return this.#find(({ session }) => session?.slot.id === id)
  }

  ofUser(uid: number): string | null {
    return this.#find((entry) => entry.uid === uid)
  }

  #find(fits: (entry: Entry) => boolean): string | null {
    for (const [name, entry] of this.#entries) if (fits(entry)) return name
    return null
  }

  /** Sessions whose programs sent datagrams to nobody since the last time, and how many. */
  async newDatagrams(): Promise<(readonly [string, number])[]> {
    const sessions = [...this.#entries.values()].flatMap(({ session }) => (session === null ? [] : [session]))
    return Promise.all(
      sessions.map(async (session) => {
        const before = session.datagrams
        session.datagrams = Math.max(before, await refusedDatagrams(session.slot.holder.pid))
        return [session.name, session.datagrams - before] as const
      }),
    )
  }

  /** Removes what can be spared while the disk is nearly full; resolves with how many files. */
  tidy(): Promise<number> {
    const kept = [...this.#entries.values()].flatMap(({ session }) => (session === null ? [] : [session.slot.kept]))
    return relieve(kept, freeShare)
  }

  /** Its programs find the certificate where programs look. */
  async trust(name: string, certificate: Uint8Array): Promise<void> {
    const session = await this.get(name)
    if (session !== null) await this.#slots.trust(session.slot, certificate)
  }

  /** Kills all its processes, unmounts its folders, removes its home. */
  async remove(name: string): Promise<void> {
    const entry = this.#entries.get(name)
    if (entry === undefined) return
    await this.#inTurn(entry, async () => {
      this.#entries.delete(name)
      for (const { channel } of entry.session?.folders.values() ?? []) channel.close()
      if (entry.session !== null) await this.#slots.remove(entry.session.slot)
    })
  }

  async removeAll(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((name) => this.remove(name)))
  }

  #inTurn<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    const done = entry.work.catch(() => {}).then(work)
    entry.work = done
    return done
  }

  async #make(entry: Entry, name: string): Promise<Session> {
    try {
      const slot = await this.#slots.take(name, entry.uid)
      const session: Session = { name, uid: entry.uid, home: join('/sessions', name), slot, folders: new Map(), cwd: null, datagrams: 0 }
      void slot.holder.gone.then(async () => {
        // Killed by the kernel; the next `session` message makes it anew.
        if (entry.session !== session) return
        entry.session = null
        for (const { channel } of session.folders.values()) channel.close()
        await this.#slots.remove(slot)
      })
      return session
    } catch (error) {
      this.#entries.delete(name)
      throw error
    }
  }

  async #mount(session: Session, wanted: readonly FolderMount[]): Promise<void> {
    for (const [name, { mode, generation }] of session.folders) {
      if (!wanted.some((folder) => folder.name === name && folder.mode === mode && folder.generation === generation))
        await unmountFolder(session, name)
    }
    for (const { name, mode, generation } of wanted) {
      if (session.folders.has(name)) continue
      const channel = await this.#mountFolder(session, name, mode)
      session.folders.set(name, { mode, generation, channel })
    }
  }

  async #mountFolder({ name: session, home, slot }: Session, name: string, mode: 'ro' | 'rw'): Promise<Channel> {
    const target = join(home, 'mnt', name)
    try {
      await slot.holder.run('mkdir', '-p', '--', target)
      return await this.#bridge.open(session, name, slot.holder.pid, target, mode)
    } catch (error) {
      await slot.holder.run('rmdir', '--', target).catch(() => {})
      throw new Error(`folder "${name}" cannot be mounted: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
}

/** Its channel ends with the last file that a program still has open on it: until then the host says, each time, that it may not be used. */
async function unmountFolder(session: Session, name: string): Promise<void> {
  const target = join(session.home, 'mnt', name)
  session.folders.delete(name)
  await session.slot.holder.run('umount', '-i', '-l', '--', target).catch(() => {})
  await session.slot.holder.run('rmdir', '--', target).catch(() => {})
}
