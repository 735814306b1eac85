import type { Manifest } from '../../kernel/index.ts'

const isPage = (page: unknown): page is { dir: string } =>
  typeof page === 'object' && page !== null && 'dir' in page && typeof page.dir === 'string'

export const manifest = {
  kind: 'gateway',
  purpose: 'The one door for clients: speaks ACP and _bulkhead/* over the sockets the daemon accepts, and serves the page.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    {
      name: 'consent',
      target: 'consent',
      limits: {
        kinds: [
          'open',
          'close',
          'grants',
          'revoke',
          'approve-mode',
          'changes',
          'undo',
          'redo',
          'recent',
          'allow-host',
          'drop-host',
          'explain-host',
        ],
      },
      reason: 'opens sessions, shows and takes back their grants and their changes, edits and explains the hosts they may reach',
    },
    {
      name: 'vm',
      target: 'vm-supervisor',
      limits: { kinds: ['status', 'start', 'stop', 'restart', 'watch', 'shell', 'input', 'resize'] },
      reason: 'shows and steers the workspace; carries the terminals members open there',
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
      name: 'mcp',
      target: 'mcp-host',
      limits: { kinds: ['servers', 'add', 'remove', 'restart', 'approve', 'tool-mode', 'install-extension', 'remove-extension'] },
      reason: 'shows and steers the tool servers when the member says so',
    },
    {
      name: 'actors',
      target: 'addons',
      limits: { kinds: ['list', 'examine', 'add', 'remove'] },
      reason: 'shows actors from outside and what they ask for; adds and removes them when the member says so',
    },
    {
      name: 'kernel',
      target: 'kernel',
      limits: { kinds: ['inspect', 'shutdown'] },
      reason: 'shows who holds what; ends the daemon when the member says so',
    },
    {
      name: 'egress',
      target: 'egress',
      // What a session without hosts of its own would be told.
      limits: { kinds: ['model-info', 'rules', 'change-rule', 'reload-secrets', 'log', 'explain'], hosts: ['@member', '?'] },
      reason: 'shows who answers; shows and changes the egress rules when the member says so',
    },
    {
      name: 'journal',
      target: 'journal',
      limits: { kinds: ['sessions', 'read'] },
      reason: 'lists sessions and shows what was said in them',
    },
  ],
  permissions: ({ page }) => (isPage(page) ? { fsRead: [page.dir] } : {}),
  permissionReasons: { fsRead: 'the built page, as files to serve' },
  handles: true,
  restart: { strategy: 'permanent' },
} satisfies Manifest
