/** Gathers what happens in sessions, from the kernel (`watcher.pl`) and from the agent's own parts, and tells the host; bounded for each session. */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { type GuestEvent, type GuestEventName, parseGuestEvent } from '../events.ts'
import type { GuestMessage } from '../wire.ts'
import { eventBurst, eventsEachSecond, watcherAgainMs } from './limits.ts'
import { denied, examined } from './syscalls.ts'

/** Whose they are. */
export type Owners = { ofSlot(id: string): string | null; ofUser(uid: number): string | null }

type Budget = { left: number; at: number; missed: number }

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))
const callNames = new Map(
  [...denied.flatMap(({ calls }) => Object.entries(calls)), ...Object.entries(examined)].flatMap(([name, numbers]) => {
    const number = numbers[process.arch === 'arm64' ? 1 : 0]
    return number === null ? [] : [[number, name] as const]
  }),
)
/** `AUDIT_ARCH_…` of this machine: other numbers mean other calls. */
const ownArchitecture = process.arch === 'arm64' ? 'c00000b7' : 'c000003e'

export class Events {
  readonly #send: (message: GuestMessage) => void
  readonly #owners: Owners
  readonly #budgets = new Map<string, Budget>()
  /** Sessions of the processes that were told of. */
  readonly #processes = new Map<number, string>()

  constructor(owners: Owners, send: (message: GuestMessage) => void) {
    this.#owners = owners
    this.#send = send
  }

  tell(session: string, name: GuestEventName, attributes: GuestEvent['attributes']): void {
    const event = parseGuestEvent({ name, attributes })
    const budget = this.#budgetOf(session)
    if (budget.left < 1 || event === null) {
      budget.missed++
      return
    }
    budget.left--
    const { missed } = budget
    budget.missed = 0
    this.#send({ t: 'event', session, event, missed })
  }

  forget(session: string): void {
    this.#budgets.delete(session)
  }

  /** Listens to the kernel for good; a watcher that ends is followed by another. */
  watch(complain: (message: string) => void): void {
    const child = spawn('perl', [new URL('watcher.pl', import.meta.url).pathname], { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
    let said = ''
    let heard = Buffer.alloc(0)
    child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-1000)))
    child.stdout.on('data', (bytes: Buffer) => {
      heard = Buffer.concat([heard, bytes])
      while (heard.length >= 4 && heard.length >= 4 + heard.readUInt32BE(0)) {
        const end = 4 + heard.readUInt32BE(0)
        this.#hear(heard.subarray(4, end).toString('utf8').split('\0'))
        heard = heard.subarray(end)
      }
    })
    child.on('error', () => {})
    child.on('close', () => {
      complain(`what watches sessions ended: ${said.trim() || 'without a word'}`)
      setTimeout(() => this.watch(complain), watcherAgainMs).unref()
    })
  }

  #hear([what, ...fields]: readonly string[]): void {
    const [first = '', second = '', third = '', fourth = '', fifth = '', sixth = ''] = fields
    const pid = Number(first)
    if (what === 'start') {
      const session = this.#owners.ofSlot(second.split('/')[0] ?? '')
      if (session === null) return
      this.#processes.set(pid, session)
      this.tell(session, 'process_start', { pid, path: third, command: fourth })
    } else if (what === 'end') {
      const session = this.#processes.get(pid)
      this.#processes.delete(pid)
      if (session === undefined) return
      const end = third === '' ? { code: Number(second) } : { signal: signalNames.get(Number(third)) ?? third }
      this.tell(session, 'process_exit', { pid, ...end })
    } else if (what === 'denied') {
      const session = this.#owners.ofUser(pid)
      if (session === null) return
      const syscall = (sixth === ownArchitecture ? callNames.get(Number(fourth)) : undefined) ?? `${fourth} (architecture ${sixth})`
      this.tell(session, 'syscall_denied', { pid: Number(second), program: third, syscall, killed: fifth !== '0' })
    } else if (what === 'missed') this.#missed(Number(first))
  }

  /** Nobody knows whose they were. */
  #missed(count: number): void {
    for (const budget of this.#budgets.values()) budget.missed += count
  }

  #budgetOf(session: string): Budget {
    const now = performance.now()
    const budget = this.#budgets.get(session) ?? { left: eventBurst, at: now, missed: 0 }
    budget.left = Math.min(eventBurst, budget.left + ((now - budget.at) / 1000) * eventsEachSecond)
    budget.at = now
    this.#budgets.set(session, budget)
    return budget
  }
}
