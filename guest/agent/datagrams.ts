/**
 * Datagrams of a session's programs to where nobody listens, which is everywhere but its own sockets and its resolver. The kernel refuses them by
 * itself and counts them for each network namespace; where each was meant to go, it does not say.
 */
import { readFile } from 'node:fs/promises'

/** So many since its namespace was made; of what holds it, `pid`. 0 when it is gone. */
export async function refusedDatagrams(pid: number): Promise<number> {
  const read = (name: string): Promise<string> => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')
  return unheard(await read('snmp'), await read('snmp6'))
}

/** Out of the kernel's tables: `Udp:` names and then numbers, and a name and a number a line. */
export function unheard(snmp: string, snmp6: string): number {
  const [names = [], numbers = []] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '))
  const before = Number(numbers[names.indexOf('NoPorts')] ?? 0)
  const newer = Number(/^Udp6NoPorts\s+(\d+)$/m.exec(snmp6)?.[1] ?? 0)
  return before + newer
}
