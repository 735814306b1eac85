/** QEMU without a machine in it: its command line as far as the driver uses it, and QMP as docs/interop/qmp-spec.rst of QEMU has it. */
import { writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { FakeGuest } from './guest.ts'

const args = process.argv.slice(2)
if (args[0] === '--version') {
  console.log('QEMU emulator version 7.2.0 (fake)')
  process.exit(0)
}

const fds = new Map(args.flatMap((arg) => [...arg.matchAll(/^socket,id=(\w+),fd=(\d+)$/g)].map(([, id, fd]) => [id, Number(fd)] as const)))
const portOf = (id: string): Socket => {
  const fd = fds.get(id)
  if (fd === undefined) fail(`-chardev ${id}: no such character device`)
  return new Socket({ fd: fd as number, readable: true, writable: true })
}
function fail(why: string): never {
  process.stderr.write(`qemu-system-x86_64: ${why}\n`)
  process.exit(1)
}

for (const option of ['-nodefaults', '-no-user-config']) if (!args.includes(option)) fail(`${option} is missing`)
if (args.includes('/missing/vmlinuz')) fail(`could not load kernel '/missing/vmlinuz': No such file or directory`)

const qmp = portOf('qmp')
const ports = [portOf('control'), portOf('files'), portOf('output'), portOf('connections')]
const serial = portOf('console')
const guest = new FakeGuest()
const incoming = args.includes('-incoming')
let negotiated = false
let migrated = ''
const tell = (message: object): void => void qmp.write(`${JSON.stringify(message)}\r\n`)
const event = (name: string, data: object = {}): void => tell({ timestamp: { seconds: 0, microseconds: 0 }, event: name, data })

tell({ QMP: { version: { qemu: { micro: 0, minor: 2, major: 7 }, package: 'fake' }, capabilities: ['oob'] } })
guest.run((text) => serial.write(text), ports.map((port) => ({ from: port, to: port })), () =>
  event('VSERPORT_CHANGE', { open: false, id: 'control-port' })) // biome-ignore format: one call
if (!incoming) event('VSERPORT_CHANGE', { open: true, id: 'control-port' })

const commands: Readonly<Record<string, (given: Record<string, unknown>) => unknown>> = {
  qmp_capabilities: () => ({}),
  'query-blockstats': () => [{ device: 'root', stats: { rd_bytes: guest.read } }],
  stop: () => {
    guest.stop()
    event('STOP')
    return {}
  },
  cont: () => {
    guest.goOn()
    event('RESUME')
    return {}
  },
  'migrate-set-parameters': () => ({}),
  migrate: ({ uri }) => {
    const to = /^exec:exec cat > '(.+)'$/.exec(String(uri))?.[1]
    if (to === undefined) throw new Error('unknown migration protocol')
    guest.stop()
    writeFileSync(to, 'the memory of a machine')
    migrated = 'completed'
    return {}
  },
  'query-migrate': () => (migrated === '' ? {} : { status: migrated }),
  quit: () => {
    event('SHUTDOWN', { guest: false, reason: 'host-qmp-quit' })
    setImmediate(() => process.exit(0))
    return {}
  },
}

let text = ''
qmp.setEncoding('utf8').on('data', (part: string) => {
  text += part
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
    const { execute, arguments: given = {}, id } = JSON.parse(text.slice(0, end)) as { execute: string; arguments?: object; id?: string }
    text = text.slice(end + 1)
    answer(execute, given as Record<string, unknown>, id)
  }
})

function answer(execute: string, given: Record<string, unknown>, id: string | undefined): void {
  const refused = (desc: string, kind = 'GenericError'): void => tell({ error: { class: kind, desc }, id })
  // Before the capabilities are settled nothing else is understood, and that only once.
  if (negotiated === (execute === 'qmp_capabilities'))
    return refused(`Expecting capabilities negotiation with 'qmp_capabilities'`, 'CommandNotFound')
  negotiated = true
  const command = commands[execute]
  if (!command) return refused(`The command ${execute} has not been found`, 'CommandNotFound')
  try {
    tell({ return: command(given), id })
  } catch (error) {
    refused(error instanceof Error ? error.message : String(error))
  }
}
