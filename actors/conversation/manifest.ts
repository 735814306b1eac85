import type { Manifest } from '../../kernel/index.ts'

/** What a session's conversation may be given when it is spawned. The power to change something comes later, one approval at a time. */
export const manifest = {
  kind: 'conversation',
  purpose: 'The agent loop of one session: asks the model, and asks the gates for what the model wants.',
  placement: 'process',
  cardinality: 'instance',
  grants: [
    {
      name: 'egress',
      target: 'egress',
      limits: { kinds: ['model', 'model-info', 'fetch', 'search'] },
      reason: "asks the model; fetches pages of the session's hosts",
    },
    { name: 'consent', target: 'consent', limits: { kinds: ['ask'] }, reason: 'asks before it changes or runs anything' },
    { name: 'mcp', target: 'mcp-host', limits: { kinds: ['tools'] }, reason: 'knows which tools of tool servers the model may be offered' },
    { name: 'journal', target: 'journal', limits: { kinds: ['append', 'read'] }, reason: 'keeps the history, and continues from it' },
    {
      name: 'telemetry',
      target: 'telemetry',
      limits: { kinds: ['event', 'audit'] },
      reason: 'reports what a prompt led to; records tool calls before they happen',
    },
    {
      name: 'workspace',
      target: 'vm-supervisor',
      limits: { kinds: ['jobs', 'job-news', 'job-output', 'job-stop'] },
      reason: 'reads what its commands in the background write, and ends them; starts none',
    },
    { name: 'reader', target: 'reader', limits: { kinds: ['pdf'] }, reason: 'has single pages of a PDF file read' },
    {
      name: 'folder:*',
      target: 'fs-gate',
      limits: { kinds: ['read', 'list', 'stat', 'glob', 'grep', 'preview', 'mark', 'others'] },
      reason: 'reads the connected folder and what others change in it; previews changes, and says which call they belong to',
    },
  ],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'transient' },
} satisfies Manifest
