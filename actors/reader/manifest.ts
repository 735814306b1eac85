import type { Manifest } from '../../kernel/index.ts'
import { limits } from './limits.ts'

export const manifest = {
  kind: 'reader',
  purpose: 'Makes text of web pages and PDF files, in a process that holds nothing and reaches nothing.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [],
  permissions: () => ({}),
  permissionReasons: {},
  // Large parsers, fed with what strangers wrote: there while somebody reads, in a jail, with nothing to take.
  idleMs: limits.idleMs,
  restart: { strategy: 'temporary' },
} satisfies Manifest
