import { dirname } from 'node:path'
import type { Manifest } from '../../kernel/index.ts'
import { placesOf } from './places.ts'

/**
 * The folders of managed settings and the local file. A folder that is not there yet at start is named with everything below it, or Node
 * would not see it appear; nothing below is named by itself, because then Node no longer lets the folder itself be looked at.
 */
function readable(params: Record<string, unknown>): string[] {
  const { places } = placesOf(params)
  const folders = [...new Set(places.filter(({ kind }) => kind !== 'local').map(({ path }) => dirname(path)))]
  const outer = folders.filter((folder) => !folders.some((other) => folder.startsWith(`${other}/`)))
  return [...outer.flatMap((folder) => [folder, `${folder}/*`]), ...places.filter(({ kind }) => kind === 'local').map(({ path }) => path)]
}

export const manifest = {
  kind: 'policy',
  purpose: 'Reads managed policy and local settings, and says what is in force and who decided.',
  placement: 'process',
  cardinality: 'singleton',
  grants: [
    { name: 'telemetry', target: 'telemetry', limits: { kinds: ['audit'] }, reason: 'puts on record which keys changed and who decided' },
  ],
  permissions: (params) => ({ fsRead: readable(params) }),
  permissionReasons: { fsRead: 'The managed settings with the folder they are in, and the settings file of this home.' },
  jail: { none: 'it knows the files of an admin by their owner, and a user namespace hides owners' },
  restart: { strategy: 'permanent' },
} satisfies Manifest
