/** The guest's agent: serves the host's control port and carries 9P over the files port. Runs as root, for as long as the machine. */
import { controlPort, filesPort } from '../wire.ts'
import { prepareCgroups } from './cgroups.ts'
import { Commands } from './commands.ts'
import { Control } from './control.ts'
import { prepareFifos } from './fifos.ts'
import { Machine } from './machine.ts'
import { NinepBridge } from './ninep-bridge.ts'
import { Port } from './port.ts'
import { Sessions } from './sessions.ts'

process.umask(0o022)
const control = new Port(`/dev/virtio-ports/${controlPort}`)
const files = new Port(`/dev/virtio-ports/${filesPort}`, { direct: true })
// A defect ends the agent; the first process starts it again, and the host, told by its `ready`, sets its sessions up anew.
process.on('uncaughtException', (error) => {
  console.error(`bulkhead: agent: ${error.stack}`)
  process.exit(1)
})

await Promise.all([prepareCgroups(), prepareFifos()])
const bridge = new NinepBridge(files)
const sessions = new Sessions(bridge)
const send = control.send.bind(control)
const link = new Control({ sessions, commands: new Commands(sessions, send), machine: new Machine(), send })

await files.listen({ frame: (header, payload) => bridge.fromHost(header, payload), lost: () => bridge.closeAll() })
await control.listen({ frame: (header, payload) => link.fromHost(header, payload), lost: () => link.announce() })
link.announce()
