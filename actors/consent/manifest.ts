import type { Manifest } from '../../kernel/index.ts'

export const manifest = {
  kind: 'consent',
  purpose: 'Opens sessions, asks the member, and mints the capabilities an approval stands for.',
  placement: 'inline',
  cardinality: 'singleton',
  grants: [
    {
      name: 'kernel',
      target: 'kernel',
      limits: { kinds: ['spawn', 'endow', 'stop', 'derive', 'revoke', 'watch-restarts'] },
      reason: "starts a session's actors, takes grants back, gives a restarted actor what it had",
    },
    { name: 'self', target: 'consent', limits: { kinds: ['ask'] }, reason: 'handed to each conversation, so that it can ask' },
    {
      name: 'policy',
      target: 'policy',
      limits: { kinds: ['watch'] },
      reason: 'opens nothing that policy forbids, and takes back what it forbids later',
    },
    { name: 'gateway', target: 'gateway', limits: { kinds: ['ask-member'] }, reason: 'shows a question to the member' },
    {
      name: 'egress',
      target: 'egress',
      limits: { kinds: ['model', 'model-info', 'fetch', 'search', 'explain', 'connect', 'tunnel-data', 'authority', 'change-rule'] },
      reason:
        'handed to each conversation, and to the workspace for its programs, with the session and its hosts; keeps a host the member always allows',
    },
    {
      name: 'workspace',
      target: 'vm-supervisor',
      limits: { kinds: ['attach', 'network', 'detach', 'exec', 'job', 'jobs', 'job-news', 'job-output', 'job-stop'] },
      reason: 'connects folders to the workspace; running commands is handed out per approval, what became of them to each conversation',
    },
    {
      name: 'telemetry',
      target: 'telemetry',
      limits: { kinds: ['audit', 'event'] },
      reason: 'puts every decision on record before it takes effect; handed to each conversation with its session',
    },
    {
      name: 'mcp',
      target: 'mcp-host',
      limits: { kinds: ['tools', 'call', 'tool-rule'] },
      reason: 'knows what is decided about a tool; its list goes to conversations, a call is handed out per approval',
    },
    { name: 'reader', target: 'reader', limits: { kinds: ['pdf'] }, reason: 'handed to each conversation' },
    {
      name: 'journal',
      target: 'journal',
      limits: { kinds: ['append', 'read', 'sessions'] },
      reason: 'handed to each conversation for its session; knows which sessions existed',
    },
  ],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'permanent' },
} satisfies Manifest
