import type { Manifest } from '../../index.ts'

export const manifest = {
  kind: 'sample',
  purpose: 'Says hello.',
  placement: 'process',
  cardinality: 'singleton',
  // What it needs of others, one by one, each with a reason the member can read: { name, target, limits: { kinds, … }, reason }.
  grants: [],
  // What its process may do by itself: fsRead, fsWrite. `data` is its own folder: ({ data }) => ({ fsRead: [`${String(data)}/*`] }).
  permissions: () => ({}),
  permissionReasons: {},
  restart: { strategy: 'permanent' },
  // Kinds the model is offered as tools.
  tools: [{ kind: 'hello', title: 'Say hello', description: 'Greets somebody by name.', readOnly: true }],
} satisfies Manifest
