import { join } from 'node:path'
import type { Manifest } from '../../kernel/index.ts'

/** Folder of the audit log of a home. The daemon makes it before this actor starts. */
export const auditDir = (home: string): string => join(home, 'audit')

export const manifest = {
  kind: 'telemetry',
  purpose: 'Sends telemetry to the collector policy names, and keeps the audit log.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    {
      name: 'policy',
      target: 'policy',
      limits: { kinds: ['watch', 'secrets'] },
      reason: 'learns where telemetry goes and what may be in it; reads the headers for the collector',
    },
  ],
  permissions(params) {
    const dir = auditDir(String(params['home']))
    return { net: true, fsRead: [dir, `${dir}/*`], fsWrite: [dir, `${dir}/*`] }
  },
  permissionReasons: {
    net: 'Reaches the collector.',
    fsRead: 'The audit log, to go on where it ended.',
    fsWrite: 'The audit log.',
  },
  keepsCode: 'OpenTelemetry is loaded when a collector is named, which may be long after the start.',
  lingers: true,
  mailbox: 4096,
  restart: { strategy: 'permanent' },
} satisfies Manifest
