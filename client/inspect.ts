/** `bulkhead inspect`: every actor, what it may do, what it holds and why. */
import type { InspectReport } from '../kernel/inspect.ts'
import type { Limits } from '../kernel/index.ts'
import { oneLine, printable } from './printable.ts'
import { duration } from './style.ts'

function memoryText({ heldMiB, maxMiB, watched, wallMiB, why }: NonNullable<InspectReport['actors'][number]['memory']>): string {
  const held = heldMiB === null ? '' : `${heldMiB} MiB held, `
  if (!watched) return `${held}without a bound: ${why}`
  return `${held}ended above ${maxMiB} MiB; ${wallMiB === null ? `no limit of the system besides: ${why}` : `the system's limit on private memory: ${wallMiB} MiB`}`
}

export function inspectText({ actors, kinds, messageLog, deadLetters }: InspectReport, now: number = Date.now()): string {
  const parts = actors.map((actor) => {
    const { id, purpose, placement, state, pid, startedAt, restarts, lastExit, mailbox, permissions, jail, memory, facts, capabilities } =
      actor
    const age = startedAt === null ? '' : `, up ${duration(now - startedAt)}`
    const lines = [
      `${id}  ${state}, ${placement}${pid === null ? '' : ` ${pid}`}${age}, ${restarts} restart${restarts === 1 ? '' : 's'}, mailbox ${mailbox.waiting}/${mailbox.limit}`,
      `  ${purpose}`,
      ...(lastExit ? [`  last ended: ${oneLine(lastExit, 200)}`] : []),
      `  may: ${permissionText(permissions)}`,
      ...deniedText(facts),
      ...(jail ? [`  jail: ${jail.ok ? 'bwrap, with namespaces of its own' : `none, ${jail.why}`}`] : []),
      ...(memory ? [`  memory: ${memoryText(memory)}`] : []),
      ...Object.entries(permissions.reasons).map(([name, reason]) => `    ${name}: ${reason}`),
      ...(capabilities.length > 0 ? ['  holds:'] : []),
      ...capabilities.map(({ slot, name, target, limits, usesLeft, budget, reason, by, revoked }) => {
        const uses = `${usesLeft === null ? '' : `, ${usesLeft} use${usesLeft === 1 ? '' : 's'} left`}${budget ? `, left ${pairs(budget)}` : ''}`
        return `    ${slot}${name ? ` ${name}` : ''} -> ${target}${limitText(limits)}${uses}${revoked ? ', REVOKED' : ''}: ${oneLine(reason, 200)} (by ${by})`
      }),
    ]
    return lines.join('\n')
  })
  const refused = Object.entries(deadLetters.counts).map(([code, count]) => `${code} ${count}`)
  return printable(
    [
      ...parts,
      `Started on demand: ${kinds.map(({ kind, running }) => `${kind} (${running} running)`).join(', ') || 'nothing'}`,
      ...(messageLog === 'off' || messageLog.failure === null ? [] : [`The message log broke off: ${oneLine(messageLog.failure, 200)}`]),
      `Refused or undeliverable: ${refused.join(', ') || 'none'}`,
      ...deadLetters.recent.map(
        ({ at, from, slot, kind, code, message }) =>
          `  ${new Date(at).toISOString()} ${from} -> ${slot} "${kind}": ${code}, ${oneLine(message, 200)}`,
      ),
      '',
    ].join('\n'),
  )
}

/** What the actor's own process was refused when it tried, after lock-down. */
function deniedText(facts: Readonly<Record<string, boolean>>): string[] {
  const denied = Object.entries(facts).flatMap(([name, allowed]) => (allowed ? [] : [name]))
  return denied.length === 0 ? [] : [`  its process is denied: ${denied.join(', ')}`]
}

function permissionText({ fsRead, fsWrite, net, childProcess }: InspectReport['actors'][number]['permissions']): string {
  const may = [
    ...(fsRead.length > 0 ? [`read ${fsRead.join(', ')}`] : []),
    ...(fsWrite.length > 0 ? [`write ${fsWrite.join(', ')}`] : []),
    ...(net ? ['network'] : []),
    ...(childProcess ? ['child processes'] : []),
  ]
  return may.join('; ') || 'nothing but messages'
}

function limitText(limits: Limits): string {
  const texts = Object.entries(limits).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [`${name} ${Array.isArray(value) ? value.join(' ') || 'none' : typeof value === 'object' ? pairs(value) : String(value)}`],
  )
  return texts.length === 0 ? '' : ` [${texts.join('; ')}]`
}

function pairs(record: object): string {
  return Object.entries(record)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(' ')
}
