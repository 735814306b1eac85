import type { Manifest } from '../../kernel/index.ts'

export const manifest = {
  kind: 'gateway',
  purpose: 'The one door for clients: speaks ACP and _bulkhead/* over the sockets the daemon accepts.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    {
      name: 'consent',
      target: 'consent',
      limits: { kinds: ['open', 'close', 'grants', 'revoke', 'approve-mode'] },
      reason: 'opens sessions, shows and takes back their grants',
    },
    {
      name: 'vm',
      target: 'vm-supervisor',
      limits: { kinds: ['status', 'start', 'stop', 'restart', 'watch'] },
      reason: 'shows and steers the workspace',
    },
    {
      name: 'policy',
      target: 'policy',
      limits: { kinds: ['effective', 'check', 'explain'] },
      reason: 'shows what policy is in force and who decided',
    },
    {
      name: 'telemetry',
      target: 'telemetry',
      limits: { kinds: ['status', 'test'] },
      reason: 'shows how telemetry is going; sends a self test when asked',
    },
    {
      name: 'kernel',
      target: 'kernel',
      limits: { kinds: ['inspect', 'shutdown'] },
      reason: 'shows who holds what; ends the daemon when the member says so',
    },
    { name: 'journal', target: 'journal', limits: { kinds: ['sessions', 'read'] }, reason: 'lists sessions' },
  ],
  permissions: () => ({}),
  permissionReasons: {},
  handles: true,
  restart: { strategy: 'permanent' },
} satisfies Manifest
