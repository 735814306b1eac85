/**
 * The daemon: the kernel with every actor, and the two doors through which clients reach the gateway: a Unix socket, and a loopback port
 * for the page. It accepts connections and hands the live socket over; it never reads from one.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, existsSync, fstatSync, mkdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { type AddressInfo, createServer, type ListenOptions, type Server } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { asFault } from '../kernel/errors.ts'
import { createControl } from '../kernel/control.ts'
import { findJail } from '../kernel/jail.ts'
import { openJournal } from '../kernel/journal.ts'
import { createKernel } from '../kernel/kernel.ts'
import { messageLogName, openMessageLog } from '../kernel/message-log.ts'
import { startInline } from '../kernel/placement-inline.ts'
import { startProcess } from '../kernel/placement-process.ts'
import { startThread } from '../kernel/placement-thread.ts'
import { auditDir } from '../actors/telemetry/manifest.ts'
import { entries } from './actors.ts'
import { createAddons } from './addons/addons.ts'
import { version } from '../kernel/version.ts'
import { createHops, hopGrant } from './hops.ts'
import { createLog } from './log.ts'
import { fds, settings as settingsSchema } from './settings.ts'

// Inherited by every actor: a process that dies leaves no image of its memory, whatever the machine does with such images. Linux only.
try {
  writeFileSync('/proc/self/coredump_filter', '0')
} catch {
  // Elsewhere the system's own setting counts.
}

// Whether it works is known by the time the first actor starts.
void findJail()

const settings = settingsSchema.parse(JSON.parse(readFileSync(fds.settings, 'utf8')))
const { home, runtimeDir, imageDir, vm, baseUrl } = settings
const vmHome = join(home, 'vm')
const changes = join(home, 'changes')
const egressHome = join(home, 'egress')
const mcpFolders = ['mcp', 'extensions', 'incoming', 'plugins'].map((name) => join(home, name))
for (const dir of [home, vmHome, changes, egressHome, auditDir(home), imageDir, runtimeDir, ...mcpFolders])
  mkdirSync(dir, { recursive: true, mode: 0o700 })
const log = createLog(process.stderr)
// From the user database: `$HOME` and `$USER` are whatever the member says, and `~` in a policy is not theirs to move.
const { username: user, homedir: userHome } = userInfo()
const root = new URL('..', import.meta.url).pathname
const socketPath = join(runtimeDir, 'daemon.sock')

let connections = 0
let serving = false
/** Both doors, the page's only where a loopback port can be had. Who knocks before the gateway serves is turned away. */
const doors: Server[] = []
const pagePort = await openDoor('page', { host: '127.0.0.1', port: 0 }).then(
  (server) => (server.address() as AddressInfo).port,
  (error: Error) => {
    log('warn', 'daemon', `there is no page: ${error.message}`)
    return null
  },
)
const page = pagePort === null ? null : { port: pagePort, token: randomBytes(32).toString('base64url'), dir: join(root, 'dist', 'web') }

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
    inline: startInline,
    thread: startThread,
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
    gateway: { page },
    'vm-supervisor': {
      home: vmHome,
      imageDir,
      vm,
      guestDir: join(root, 'guest'),
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

let stopping = false

async function stop(status: number): Promise<void> {
  if (stopping) return
  stopping = true
  hops.close()
  addons.close()
  for (const door of doors) door.close()
  await kernel.stop()
  messageLog.close()
  journal.close()
  process.exit(status)
}

function openDoor(door: 'local' | 'page', at: ListenOptions): Promise<Server> {
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    if (!serving) {
      socket.destroy()
      return
    }
    const conn = ++connections
    socket.on('error', () => {})
    daemon.send('gateway', 'connection', { conn, door }, { conn, socket })
  })
  doors.push(server)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(at, () => resolve(server))
  })
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
  await kernel.start()
  hops.connect(daemon)
  addons.connect()
  serving = true
  await openDoor('local', { path: socketPath })
  // The runtime folder is 0700 already; the socket's own mode is the second lock.
  chmodSync(socketPath, 0o600)
  report({ ok: true, socket: socketPath, pid: process.pid })
  log('info', 'daemon', `serving on ${socketPath}`)
} catch (error) {
  report({ ok: false, error: asFault(error) })
  log('error', 'daemon', `could not start: ${String(error)}`)
  await stop(1)
}
