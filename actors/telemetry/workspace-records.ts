/** What sessions do in the workspace, as log records: named as OpenTelemetry names such things where it does. Pure. */
import type { WorkspaceEvents } from './protocol.ts'
import type { Attributes, LogRecord } from './records.ts'
import type { Rules } from './settings.ts'

/** Attribute by what the guest calls it. */
const names: Readonly<Record<string, string>> = {
  pid: 'process.pid',
  path: 'process.executable.path',
  command: 'process.command_line',
  code: 'process.exit.code',
  signal: 'process.exit.signal',
  program: 'process.executable.name',
  syscall: 'syscall.name',
  killed: 'syscall.killed',
  name: 'dns.question.name',
  address: 'server.address',
  port: 'server.port',
  count: 'datagrams.refused',
}

/** What members and models wrote can be in these: sent only if policy opts in to the details of tools. */
const content = new Set(['process.command_line', 'dns.question.name'])

export function workspaceRecords(told: WorkspaceEvents, at: number, { capture, resource }: Rules): LogRecord[] {
  const { session, events, missed } = told
  const record = (name: string, attributes: Attributes): LogRecord => ({
    name,
    at,
    trace: null,
    error: false,
    attributes: {
      ...resource,
      'event.name': name,
      'event.timestamp': new Date(at).toISOString(),
      'session.id': session,
      ...attributes,
    },
  })
  const records = events.map(({ name, attributes }) => {
    const entries = Object.entries(attributes).flatMap(([key, value]) => {
      const known = names[key]
      return known === undefined || (content.has(known) && !capture.includes('toolDetails')) ? [] : [[known, value] as const]
    })
    return record(`workspace_${name}`, Object.fromEntries(entries))
  })
  return missed > 0 ? [...records, record('workspace_events_missed', { 'events.missed': missed })] : records
}
