import type { Manifest } from '../../kernel/index.ts'

export const manifest = {
  kind: 'egress',
  purpose: 'The only way out: the model API, and web pages of allowed hosts. Holds the model key.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    {
      name: 'telemetry',
      target: 'telemetry',
      limits: { kinds: ['audit'] },
      reason: 'puts on record what was allowed out and what was not',
    },
  ],
  permissions: () => ({ net: true }),
  permissionReasons: {
    net: 'Reaches the model API and allowed hosts; serves the practice model on loopback.',
    secrets: 'Reads the model key from an inherited descriptor; no other process has it.',
  },
  fds: ['secrets'],
  restart: { strategy: 'permanent' },
} satisfies Manifest
