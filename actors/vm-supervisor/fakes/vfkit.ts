/** vfkit without a machine in it: command line and HTTP service as doc/usage.md of crc-org/vfkit has them. */
import { appendFileSync, existsSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { FakeGuest } from './guest.ts'

const args = process.argv.slice(2)
if (args[0] === '--version') {
  console.log('vfkit version: v0.6.1')
  process.exit(0)
}
function fail(why: string): never {
  process.stderr.write(`Error: ${why}\n`)
  process.exit(1)
}

const options = new Map<string, string[]>()
for (let at = 0; at < args.length; at += 2) {
  const name = args[at] ?? ''
  if (!['--cpus', '--memory', '--bootloader', '--device', '--restful-uri'].includes(name)) fail(`unknown flag: ${name}`)
  options.set(name, [...(options.get(name) ?? []), args[at + 1] ?? fail(`flag needs an argument: ${name}`)])
}

/** Cut at commas, but for those in double quotes, as vfkit cuts the boot loader's. */
function parse(text: string): { kind: string; of: Map<string, string> } {
  const [kind = '', ...rest] = text.match(/(?:[^,"]|"[^"]*")+/g) ?? []
  return { kind, of: new Map(rest.map((one) => [one.split('=')[0] ?? '', one.slice(one.indexOf('=') + 1)] as const)) }
}

const loader = parse(options.get('--bootloader')?.[0] ?? fail('missing bootloader'))
if (loader.kind !== 'linux') fail(`unknown bootloader: ${loader.kind}`)
for (const name of loader.of.keys())
  if (!['kernel', 'initrd', 'cmdline'].includes(name)) fail(`Unknown option for linux bootloaders: ${name}`)
if (!existsSync(loader.of.get('kernel') ?? '')) fail(`kernel ${loader.of.get('kernel')}: no such file or directory`)
if (!/^".*"$/.test(loader.of.get('cmdline') ?? '')) fail('the kernel command line must be enclosed in "')

const known: Readonly<Record<string, readonly string[]>> = {
  'virtio-blk': ['path', 'deviceId'],
  'virtio-rng': [],
  'virtio-vsock': ['port', 'socketURL', 'listen'],
  'virtio-serial': ['logFilePath'],
}
const devices = (options.get('--device') ?? []).map(parse)
for (const { kind, of } of devices) {
  const takes = known[kind] ?? fail(`unknown device type: ${kind}`)
  for (const name of of.keys()) if (!takes.includes(name)) fail(`Unknown option for ${kind} devices: ${name}`)
  if (kind === 'virtio-blk' && !existsSync(of.get('path') ?? '')) fail(`${of.get('path')}: no such file or directory`)
}
const log = devices.find(({ kind }) => kind === 'virtio-serial')?.of.get('logFilePath') ?? fail('no console')

const guest = new FakeGuest()
let state = 'VirtualMachineStateRunning'
// The guest's connection to a port comes out here as one to the socket of that port.
const sockets = devices.flatMap(({ kind, of }): Socket[] => (kind === 'virtio-vsock' ? [connect(of.get('socketURL') ?? '')] : []))
guest.run(
  (text) => appendFileSync(log, text),
  sockets.map((socket) => ({ from: socket, to: socket })),
  () => sockets[0]?.end(),
)

const changes: Readonly<Record<string, () => string>> = {
  Pause: () => {
    guest.stop()
    return 'VirtualMachineStatePaused'
  },
  Resume: () => {
    guest.goOn()
    return 'VirtualMachineStateRunning'
  },
  Stop: () => state,
  HardStop: () => {
    setImmediate(() => process.exit(0))
    return 'VirtualMachineStateStopped'
  },
}

async function serve(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
  const reply = (status: number, body?: object): void => void answer.writeHead(status).end(body === undefined ? '' : JSON.stringify(body))
  if (asked.url !== '/vm/state') return reply(404)
  if (asked.method === 'GET')
    return reply(200, { state, canStart: false, canPause: true, canResume: false, canStop: true, canHardStop: true })
  let text = ''
  for await (const part of asked) text += String(part)
  const change = changes[(JSON.parse(text) as { state: string }).state]
  if (asked.method !== 'POST' || !change) return reply(400, { error: 'invalid new VMState' })
  state = change()
  reply(202)
}
const uri = options.get('--restful-uri')?.[0] ?? fail('a service is expected')
createServer((asked, answer) => void serve(asked, answer)).listen(
  uri.startsWith('unix:///') ? decodeURI(uri.slice('unix://'.length)) : fail(uri),
)
