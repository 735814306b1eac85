/** Where policy comes from, as values. Reading them is `read-sources.ts`; what they come to is `evaluate.ts`. */
import { z } from 'zod'

export const sourceKind = z.enum([
  'managed-file',
  'managed-preferences-user',
  'managed-preferences',
  'machine-registry',
  'user-registry',
  'local',
])
export type SourceKind = z.infer<typeof sourceKind>

export const sourceState = z.enum(['absent', 'present', 'unreadable'])

export type Source = {
  kind: SourceKind
  /** Path, or registry key. */
  place: string
  state: z.infer<typeof sourceState>
  /** When unreadable: why, in words. */
  why?: string
  /** When present. */
  values?: Readonly<Record<string, unknown>>
}

export const isManaged = ({ kind }: Source): boolean => kind !== 'local'

const titles: Readonly<Record<SourceKind, string>> = {
  'managed-file': 'managed settings',
  'managed-preferences-user': 'managed preferences of this user',
  'managed-preferences': 'managed preferences',
  'machine-registry': 'machine policy',
  'user-registry': 'user policy',
  local: 'local settings',
}
export const sourceTitle = ({ kind, place }: Pick<Source, 'kind' | 'place'>): string => `${titles[kind]}, ${place}`
