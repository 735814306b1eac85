/** The kernel with every actor, and clients at the doors, once the gateway's process has begun to load (main.ts). */
import { chmodSync, closeSync, existsSync, fstatSync, mkdirSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { asFault } from '../kernel/errors.ts'
import { createControl } from '../kernel/control.ts'
import { openJournal } from '../kernel/journal.ts'
import { createKernel } from '../kernel/kernel.ts'
import { messageLogName, openMessageLog } from '../kernel/message-log.ts'
import { auditDir } from '../actors/telemetry/manifest.ts'
import { entries } from './actors.ts'
import { createAddons } from './addons/addons.ts'
import { version } from '../kernel/version.ts'
import type { Begun } from './begin.ts'
import { createHops, hopGrant } from './hops.ts'
import { fds, settings as settingsSchema } from './settings.ts'

/** Resolves once clients are served, or why not is reported. */
export async function serve({ doors, log, gateway, startProcess }: Begun): Promise<void> {
  const settings = settingsSchema.parse(JSON.parse(readFileSync(fds.settings, 'utf8')))
  const { home, runtimeDir, imageDir, vm, baseUrl } = settings
  const vmHome = join(home, 'vm')
  const changes = join(home, 'changes')
  const egressHome = join(home, 'egress')
  const mcpFolders = ['mcp', 'extensions', 'incoming', 'plugins'].map((name) => join(home, name))
  for (const dir of [home, vmHome, changes, egressHome, auditDir(home), imageDir, runtimeDir, ...mcpFolders])
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  // From the user database: `$HOME` and `$USER` are whatever the member says, and `~` in a policy is not theirs to move.
  const { username: user, homedir: userHome } = userInfo()
  const socketPath = join(runtimeDir, 'daemon.sock')

  const journal = openJournal(join(home, 'journal.sqlite'))
  const messageLog = openMessageLog(join(home, messageLogName), {
    version,
    onFailure: (error) => log('error', 'message log', `broken off, replay ends here: ${String(error)}`),
  })
  const hops = createHops()
  const kernel = createKernel({
    entries,
    natives: [journal],
    messageLog,
    placements: {
      // What inline actors need is loaded while the first processes load.
      inline: async (spec, events) => (await import('../kernel/placement-inline.ts')).startInline(spec, events),
      thread: async (spec, events) => (await import('../kernel/placement-thread.ts')).startThread(spec, events),
      process: startProcess,
    },
    fds: isOpen(fds.secrets) ? { secrets: fds.secrets } : {},
    params: {
      // Where the managed settings are is not for any setting to say.
      policy: { platform: process.platform, home, user, userHome },
      egress: { baseUrl, state: egressHome, userHome },
      consent: { changes },
      telemetry: { home },
      'mcp-host': { home, nodeBinary: process.execPath },
      gateway,
      'vm-supervisor': {
        home: vmHome,
        imageDir,
        vm,
        guestDir: new URL('../guest', import.meta.url).pathname,
        nodeBinary: process.execPath,
        imageProfile: process.env['BULKHEAD_IMAGE_PROFILE'] ?? '',
      },
    },
    log,
    onHop: hops.add,
  })
  kernel.addNative(createControl(kernel, () => void stop(0)))
  const addons = createAddons({ kernel, home, log })
  kernel.addNative(addons.native)
  const daemon = kernel.endpoint('daemon', [
    { name: 'gateway', target: 'gateway', limits: { kinds: ['connection'] }, reason: 'hands accepted client connections over' },
    hopGrant,
  ])
  let connections = 0
  let stopping = false

  async function stop(status: number): Promise<void> {
    if (stopping) return
    stopping = true
    hops.close()
    addons.close()
    doors.close()
    await kernel.stop()
    messageLog.close()
    journal.close()
    process.exit(status)
  }

  process.on('SIGTERM', () => void stop(0))
  process.on('SIGINT', () => void stop(0))
  process.on('SIGHUP', () => {})
  process.on('uncaughtException', (error) => {
    log('error', 'daemon', `uncaught: ${error.stack ?? error.message}`)
    void stop(1)
  })

  try {
    // The client that starts a daemon holds the start lock, so a socket that is still there belongs to nobody.
    if (existsSync(socketPath)) rmSync(socketPath)
    // Clients are served by the gateway; mail to the others waits until they are up, and `inspect` says so.
    const startOthers = await kernel.start(['gateway'])
    hops.connect(daemon)
    addons.connect()
    doors.serve((socket, door) => {
      const conn = ++connections
      socket.on('error', () => {})
      daemon.send('gateway', 'connection', { conn, door }, { conn, socket })
    })
    await doors.open('local', { path: socketPath })
    // The runtime folder is 0700 already; the socket's own mode is the second lock.
    chmodSync(socketPath, 0o600)
    report({ ok: true, socket: socketPath, pid: process.pid })
    log('info', 'daemon', `serving on ${socketPath}`)
    await startOthers()
  } catch (error) {
    report({ ok: false, error: asFault(error) })
    log('error', 'daemon', `could not start: ${String(error)}`)
    await stop(1)
  }
}

function isOpen(fd: number): boolean {
  try {
    return fstatSync(fd).isFile()
  } catch {
    return false
  }
}

function report(line: object): void {
  try {
    writeSync(fds.ready, `${JSON.stringify(line)}\n`)
    closeSync(fds.ready)
  } catch {
    // Whoever started the daemon is gone; it serves all the same.
  }
}
