/** The doors through which clients reach the gateway. They accept and hand over; nobody here reads from a connection. */
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net'

type Door = 'local' | 'page'
type Admit = (socket: Socket, door: Door) => void

export function createDoors() {
  const open: Server[] = []
  /** Who knocks before somebody serves is turned away. */
  let admit: Admit = (socket) => void socket.destroy()
  return {
    open(door: Door, at: ListenOptions): Promise<Server> {
      const server = createServer({ pauseOnConnect: true }, (socket) => admit(socket, door))
      open.push(server)
      return new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(at, () => resolve(server))
      })
    },
    /** From now on `to` takes them. */
    serve(to: Admit): void {
      admit = to
    },
    close(): void {
      for (const server of open) server.close()
    },
  }
}

export type Doors = ReturnType<typeof createDoors>
