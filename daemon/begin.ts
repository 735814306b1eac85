/** The gateway's process, and what it is started with: first, because clients wait for it. Nothing here is loaded that this does not need. */
import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { manifest } from '../actors/gateway/manifest.ts'
import type { StartActor } from '../kernel/placement.ts'
import { startProcess } from '../kernel/placement-process.ts'
import { createDoors, type Doors } from './doors.ts'
import { startEarly } from './head-start.ts'
import { createLog, type Log } from './log.ts'

/** `startProcess` gives the gateway's process to whoever starts that actor with the parameters `gateway`. */
export type Begun = { doors: Doors; log: Log; gateway: Record<string, unknown>; startProcess: StartActor }

export async function begin(): Promise<Begun> {
  const log = createLog(process.stderr)
  const doors = createDoors()
  // Only where a loopback port can be had.
  const port = await doors.open('page', { host: '127.0.0.1', port: 0 }).then(
    (server) => (server.address() as AddressInfo).port,
    (error: Error) => {
      log('warn', 'daemon', `there is no page: ${error.message}`)
      return null
    },
  )
  const dir = fileURLToPath(new URL('../dist/web', import.meta.url))
  const gateway = { page: port === null ? null : { port, token: randomBytes(32).toString('base64url'), dir } }
  const entry = { manifest, entry: new URL('../actors/gateway/index.ts', import.meta.url).href }
  const spec = { id: manifest.kind, entry, params: gateway, permissions: manifest.permissions(gateway), fds: {} }
  return { doors, log, gateway, startProcess: await startEarly(spec, startProcess) }
}
