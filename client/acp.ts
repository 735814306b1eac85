/**
 * `bulkhead acp`: an editor's stdin and stdout, tied to the running daemon's socket. The bytes pass as they are; what they mean is between
 * the editor and the gateway. Ends when either side does.
 */
import { connect } from 'node:net'
import { pipeline } from 'node:stream'
import { fault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import type { Places } from './places.ts'

/**
 * @param daemon proves that one serves; closed once the editor's own line stands
 * @returns the exit code
 */
export function acp(places: Places, daemon: Daemon, io: NodeJS.Process = process): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: places.socket, allowHalfOpen: true })
    socket.once('error', (error) => reject(fault('daemon-down', 'The line to the daemon broke off.', { cause: error.message })))
    socket.once('connect', () => {
      daemon.close()
      // The editor is gone when its end closes; answers that are under way still reach it if it reads on.
      pipeline(io.stdin, socket, () => {})
      socket.pipe(io.stdout, { end: false })
      socket.once('end', () => socket.destroy())
      socket.once('close', () => resolve(exitCodes.done))
    })
    io.once('SIGINT', () => socket.destroy())
    io.once('SIGTERM', () => socket.destroy())
  })
}
