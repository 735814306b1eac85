/** Every place policy may come from on this platform, read. */
import { fingerprint, readSettingsFile } from './read-file.ts'
import { parseJsonSettings } from './settings-json.ts'
import { parsePlistSettings } from './settings-native.ts'
import type { Places } from './places.ts'
import type { Source } from './sources.ts'

export function readSources({ places, owner }: Places): Source[] {
  return places.map(({ kind, path, form }): Source => {
    const file = readSettingsFile(path, kind === 'local' ? null : owner)
    if (file.state === 'absent') return { kind, place: path, state: 'absent' }
    if (file.state === 'unreadable') return { kind, place: path, state: 'unreadable', why: file.why }
    try {
      const values = form === 'json' ? parseJsonSettings(file.bytes.toString('utf8')) : parsePlistSettings(file.bytes)
      return { kind, place: path, state: 'present', values: plain(values) }
    } catch (error) {
      return { kind, place: path, state: 'unreadable', why: error instanceof Error ? error.message : String(error) }
    }
  })
}

/** What could be in a message: JSON's types only. Dates and data of property lists become texts, which no key accepts. */
function plain(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const copy = JSON.parse(JSON.stringify(values)) as Record<string, unknown>
  return Object.fromEntries(Object.entries(copy).filter(([name]) => name !== '__proto__'))
}

export function fingerprintOf({ places }: Places): string {
  return places.map(({ path }) => fingerprint(path)).join('\n')
}
