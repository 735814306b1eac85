/** Where policy may come from on this platform. Pure: the manifest asks for exactly these paths. */
import type { SourceKind } from './sources.ts'

export type Place = { kind: SourceKind; path: string; form: 'json' | 'plist' }
export type Places = {
  places: readonly Place[]
  /** uid that must own managed places: root. Tests that are not root name their own. */
  owner: number
}

/** In order of strength. */
export function placesOf(params: Readonly<Record<string, unknown>>): Places {
  const text = (name: string) => textOf(params[name])
  const owner = typeof params['owner'] === 'number' ? params['owner'] : 0
  const local: Place = { kind: 'local', path: `${text('home')}/settings.json`, form: 'json' }
  if (params['platform'] === 'darwin') {
    const dir = text('managedDir') || '/Library/Managed Preferences'
    return {
      owner,
      places: [
        { kind: 'managed-preferences-user', path: `${dir}/${text('user')}/dev.bulkhead.plist`, form: 'plist' },
        { kind: 'managed-preferences', path: `${dir}/dev.bulkhead.plist`, form: 'plist' },
        local,
      ],
    }
  }
  return {
    owner,
    places: [{ kind: 'managed-file', path: `${text('managedDir') || '/etc/bulkhead'}/managed-settings.json`, form: 'json' }, local],
  }
}

export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
