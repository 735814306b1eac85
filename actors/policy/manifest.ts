import { dirname } from 'node:path'
import type { Manifest } from '../../kernel/index.ts'
import { placesOf } from './places.ts'

export const manifest = {
  kind: 'policy',
  purpose: 'Reads managed policy and local settings, and says what is in force and who decided.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [],
  permissions: (params) => ({
    // A folder that is not there yet at start is named with everything below it, or Node would not see it appear.
    fsRead: placesOf(params).places.flatMap(({ kind, path }) => (kind === 'local' ? [path] : [path, dirname(path), `${dirname(path)}/*`])),
  }),
  permissionReasons: { fsRead: 'The managed settings with the folder they are in, and the settings file of this home.' },
  restart: { strategy: 'permanent' },
} satisfies Manifest
