import type { Manifest } from '../../kernel/index.ts'

export const manifest = {
  kind: 'mcp-server',
  purpose: 'Runs one tool server in its jail, speaks MCP with it, and starts it again when it ends.',
  placement: 'process',
  cardinality: 'instance',
  grants: [],
  permissions: () => ({ fsRead: ['/proc/'], childProcess: true }),
  permissionReasons: {
    fsRead: 'Finds every process a server left behind where there is no jail to end them together.',
    childProcess: 'Starts the server, in a bwrap jail where that works.',
  },
  jail: { none: 'it puts the server in a jail, and some systems let no jail be made inside another' },
  restart: { strategy: 'transient' },
} satisfies Manifest
