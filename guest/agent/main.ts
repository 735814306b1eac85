/** The guest's agent: serves the host's control port, and has output, folders and connections carried over the others. Runs as root, for as long as the machine. */
import { writeFile } from 'node:fs/promises'
import { controlPort } from '../wire.ts'
import { prepareCgroups } from './cgroups.ts'
import { Commands, prepareFilters } from './commands.ts'
import { Control } from './control.ts'
import { prepareDisk } from './disk.ts'
import { Events } from './events.ts'
import { Fifos } from './fifos.ts'
import { Launcher } from './launcher.ts'
import { usualUmask } from './limits.ts'
import { Machine } from './machine.ts'
import { NetBridge } from './net-bridge.ts'
import { NetPump } from './net-pump.ts'
import { resolver } from './net-sockets.ts'
import { NinepBridge } from './ninep-bridge.ts'
import { OutputPump } from './output-pump.ts'
import { Port } from './port.ts'
import { Sessions } from './sessions.ts'
import { Slots } from './slots.ts'
import { warmUp } from './warm-up.ts'

process.umask(usualUmask)
const control = new Port(`/dev/virtio-ports/${controlPort}`)
// A defect ends the agent; the first process starts it again, and the host, told by its `ready`, sets its sessions up anew.
function fail(why: string | undefined): never {
  console.error(`bulkhead: agent: ${why}`)
  process.exit(1)
}
process.on('uncaughtException', (error) => fail(error.stack))

const complaints: string[] = []
// The agent's own group first: what it starts from here on belongs to it.
const [disk, filters] = await Promise.all([prepareDisk((message) => complaints.push(message)), prepareFilters(), prepareCgroups()])
const launcher = new Launcher(filters, fail)
const fifos = new Fifos((paths) => launcher.makePipes(paths))
await fifos.prepare()
const bridge = new NinepBridge(fail)
const events = new Events({ ofSlot: (id) => sessions.ofSlot(id), ofUser: (uid) => sessions.ofUser(uid) }, (message) =>
  control.send(message),
)
const nets = new NetBridge(new NetPump(fail), {
  name: (session, name) => events.tell(session, 'name_lookup', { name }),
  refused: (session, address, port) => events.tell(session, 'connection_refused', { address, port }),
})
// Where every session finds its own resolver.
await writeFile('/etc/resolv.conf', `nameserver ${resolver}\n`)
const slots = new Slots(disk, nets)
const sessions = new Sessions(bridge, slots)
const send = control.send.bind(control)
const commands = new Commands({ sessions, launcher, pump: new OutputPump(fail), fifos, events, send })
const warm = (): Promise<string> => warmUp(slots, sessions, commands)
const link = new Control({ sessions, commands, events, machine: new Machine(launcher), warm, send })

await control.listen({ frame: (header, payload) => link.fromHost(header, payload), lost: () => link.announce() })
link.announce()
events.watch((message) => send({ t: 'log', level: 'warn', message }))
for (const message of complaints) send({ t: 'log', level: 'warn', message })
