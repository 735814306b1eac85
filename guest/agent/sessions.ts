/**
 * Sessions: for each a user id, a home, a control group and a set of namespaces, held open by a sleeping process. Commands join
 * them; connected folders are mounted inside them only. Removing a session ends everything in it.
 *
 *   /sessions/<name>                 home, 0700, the session's own; no other session sees it
 *   /sessions/<name>/mnt/<folder>    a connected folder
 *   /sessions/<name>/tmp             also /tmp and /var/tmp in there
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmod, chown, mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ninepMessageSize, type FolderMount } from '../wire.ts'
import { inCgroup, removeCgroup, sessionCgroup } from './cgroups.ts'
import { maxSessions, toolMs } from './limits.ts'
import { insideDir, socketsDir, type Channel, type NinepBridge } from './ninep-bridge.ts'
import { runTool } from './tools.ts'

export type Session = {
  readonly name: string
  readonly uid: number
  readonly home: string
  readonly cgroup: string
  /** A process inside the session's namespaces, as the agent sees it. */
  holder: number
  folders: Map<string, { mode: 'ro' | 'rw'; generation: number; channel: Channel }>
  /** Where the last command ended; null before the first. */
  cwd: string | null
}

type Slot = { session: Session | null; uid: number; process: ChildProcess | null; work: Promise<unknown> }

const filesDir = '/run/bulkhead/sessions'
const bases = { passwd: '', group: '' }

export class Sessions {
  readonly #bridge: NinepBridge
  readonly #slots = new Map<string, Slot>()

  constructor(bridge: NinepBridge) {
    this.#bridge = bridge
  }

  /** Makes the session unless it is there, and gives it exactly these folders. Rejects with why not; then what was there stays. */
  async set(name: string, uid: number, folders: readonly FolderMount[]): Promise<void> {
    let slot = this.#slots.get(name)
    if (slot === undefined) {
      if (this.#slots.size >= maxSessions) throw new Error(`more than ${maxSessions} sessions`)
      if ([...this.#slots.values()].some((other) => other.uid === uid)) throw new Error(`user id ${uid} is another session's`)
      slot = { session: null, uid, process: null, work: Promise.resolve() }
      this.#slots.set(name, slot)
    }
    if (slot.uid !== uid) throw new Error(`the session's user id is ${slot.uid}`)
    const mine = slot
    await this.#inTurn(mine, async () => {
      mine.session ??= await this.#make(mine, name)
      await this.#mount(mine.session, folders)
    })
  }

  /** The session once all that was asked for it before is done; null if there is none. */
  async get(name: string): Promise<Session | null> {
    const slot = this.#slots.get(name)
    await slot?.work.catch(() => {})
    return this.#slots.get(name)?.session ?? null
  }

  /** Kills all its processes, unmounts its folders, removes its home. */
  async remove(name: string): Promise<void> {
    const slot = this.#slots.get(name)
    if (slot === undefined) return
    await this.#inTurn(slot, async () => {
      this.#slots.delete(name)
      for (const { channel } of slot.session?.folders.values() ?? []) channel.close()
      await this.#unmake(name)
    })
  }

  async removeAll(): Promise<void> {
    await Promise.all([...this.#slots.keys()].map((name) => this.remove(name)))
  }

  #inTurn<T>(slot: Slot, work: () => Promise<T>): Promise<T> {
    const done = slot.work.catch(() => {}).then(work)
    slot.work = done
    return done
  }

  async #make(slot: Slot, name: string): Promise<Session> {
    const home = join('/sessions', name)
    try {
      const cgroup = await sessionCgroup(name)
      await makeHome(home, slot.uid)
      await makeUserFiles(name, slot.uid, home)
      await mkdir(join(socketsDir, name), { recursive: true, mode: 0o700 })
      const { process, holder } = await hold(name, home, join(cgroup, 'base'))
      slot.process = process
      process.once('exit', () => {
        // Killed by the kernel or by its own session; the next `session` message makes it anew.
        if (slot.process === process) slot.session = null
      })
      return { name, uid: slot.uid, home, cgroup, holder, folders: new Map(), cwd: null }
    } catch (error) {
      this.#slots.delete(name)
      await this.#unmake(name)
      throw error
    }
  }

  async #unmake(name: string): Promise<void> {
    await removeCgroup(join('/sys/fs/cgroup/sessions', name))
    for (const dir of ['/sessions', filesDir, socketsDir]) await rm(join(dir, name), { recursive: true, force: true }).catch(() => {})
  }

  async #mount(session: Session, wanted: readonly FolderMount[]): Promise<void> {
    for (const [name, { mode, generation }] of session.folders) {
      if (!wanted.some((folder) => folder.name === name && folder.mode === mode && folder.generation === generation))
        await unmountFolder(session, name)
    }
    for (const { name, mode, generation } of wanted) {
      if (session.folders.has(name)) continue
      const channel = await this.#bridge.open(session.name, name)
      try {
        await mountFolder(session, name, mode, channel)
      } catch (error) {
        channel.close()
        throw error
      }
      session.folders.set(name, { mode, generation, channel })
    }
  }
}

/** Command line that runs `command` as root inside the session's namespaces. */
export function inSession(session: Session, command: readonly string[]): string[] {
  return ['nsenter', '--target', String(session.holder), '--mount', '--pid', '--ipc', '--uts', '--net', '--', ...command]
}

async function makeHome(home: string, uid: number): Promise<void> {
  await rm(home, { recursive: true, force: true })
  await mkdir(join(home, 'mnt'), { recursive: true })
  await mkdir(join(home, 'tmp'))
  await chown(join(home, 'tmp'), uid, uid)
  await chmod(join(home, 'tmp'), 0o700)
  await chown(home, uid, uid)
  await chmod(home, 0o700)
}

/** Each session has its own list of users: the system's and itself. */
async function makeUserFiles(name: string, uid: number, home: string): Promise<void> {
  if (bases.passwd === '') {
    bases.passwd = await readFile('/etc/passwd', 'utf8')
    bases.group = await readFile('/etc/group', 'utf8')
  }
  const user =
    /^[a-z][a-z0-9_-]{0,31}$/.test(name) && !bases.passwd.startsWith(`${name}:`) && !bases.passwd.includes(`\n${name}:`) ? name : `u${uid}`
  const dir = join(filesDir, name)
  await mkdir(dir, { recursive: true })
  await writeFile(join(dir, 'passwd'), `${bases.passwd}${user}:x:${uid}:${uid}::${home}:/bin/bash\n`)
  await writeFile(join(dir, 'group'), `${bases.group}${user}:x:${uid}:\n`)
}

/** Starts the process that holds the session's namespaces; resolves when they are ready to be joined. */
async function hold(name: string, home: string, cgroup: string): Promise<{ process: ChildProcess; holder: number }> {
  const files = join(filesDir, name)
  const tmp = join(home, 'tmp')
  const namespaces = ['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-net', '--hostname', 'workspace']
  const system = ['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/run', '--tmpfs', '/sessions']
  const own = ['--bind', home, home, '--bind', tmp, '/tmp', '--bind', tmp, '/var/tmp', '--bind', join(socketsDir, name), insideDir]
  const users = ['--ro-bind', join(files, 'passwd'), '/etc/passwd', '--ro-bind', join(files, 'group'), '/etc/group']
  const process = ['--die-with-parent', '--info-fd', '3', '--', '/bin/sh', '-c', 'echo ready; exec sleep infinity']
  const jail = ['bwrap', ...namespaces, ...system, ...own, ...users, ...process]
  const [command, args] = inCgroup(cgroup, jail)
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
    detached: true,
  })
  const info = textOf(child, 3)
  const said = textOf(child, 2)
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(late)
      child.kill('SIGKILL')
      reject(new Error(`namespaces could not be made: ${why} ${said().trim()}`))
    }
    const late = setTimeout(() => fail('not ready in time.'), toolMs)
    child.once('error', (error) => fail(error.message))
    child.once('exit', (code) => fail(`ended with ${code}.`))
    child.stdout?.once('data', () => {
      clearTimeout(late)
      child.removeAllListeners('exit')
      const pid = Number(/"child-pid": *(\d+)/.exec(info())?.[1])
      if (Number.isInteger(pid)) resolve({ process: child, holder: pid })
      else fail('no process id.')
    })
  })
}

function textOf(child: ChildProcess, fd: number): () => string {
  let text = ''
  const stream = child.stdio[fd]
  if (stream && 'on' in stream) (stream as NodeJS.ReadableStream).on('data', (chunk) => (text = (text + String(chunk)).slice(-4096)))
  return () => text
}

async function mountFolder(session: Session, name: string, mode: 'ro' | 'rw', channel: Channel): Promise<void> {
  const target = join(session.home, 'mnt', name)
  await mkdir(target, { recursive: true })
  const options = [
    'trans=unix',
    'version=9p2000.L',
    `msize=${ninepMessageSize}`,
    // Nothing is kept that the host could have changed meanwhile; mapped files work.
    'cache=mmap',
    // One attachment for everyone in there: the session is the only user.
    'access=any',
    `dfltuid=${session.uid}`,
    `dfltgid=${session.uid}`,
    'nosuid',
    'nodev',
    mode,
  ]
  const [command = '', ...args] = inSession(session, ['mount', '-i', '-t', '9p', '-o', options.join(','), channel.socket, target])
  try {
    await runTool(command, args)
  } catch (error) {
    await rmdir(target).catch(() => {})
    throw new Error(`folder "${name}" cannot be mounted: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

async function unmountFolder(session: Session, name: string): Promise<void> {
  const folder = session.folders.get(name)
  const target = join(session.home, 'mnt', name)
  session.folders.delete(name)
  const [command = '', ...args] = inSession(session, ['umount', '-i', '-l', target])
  await runTool(command, args).catch(() => {})
  // Files still open on it fail from here on.
  folder?.channel.close()
  await rmdir(target).catch(() => {})
}
