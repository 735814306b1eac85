import type { Manifest } from '../../kernel/index.ts'

/**
 * No grants of its own: a conversation is given what its session may use when it is spawned (`egress`, `consent`, `journal`, and a
 * read capability `folder:<name>` for each connected folder), and capabilities to change something one approval at a time.
 */
export const manifest = {
  kind: 'conversation',
  purpose: 'The agent loop of one session: asks the model, and asks the gates for what the model wants.',
  placement: 'process',
  cardinality: 'instance',
  grants: [],
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'transient' },
} satisfies Manifest
