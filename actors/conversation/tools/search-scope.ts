import { z } from 'zod'
import { fault } from '../../../kernel/index.ts'
import { MAX_RESULT_OFFSET } from '../limits.ts'
import { type Location, locate, shortPath, type Workspace } from '../paths.ts'

/** Where a search looks: the path given, or every connected folder. `label` is for titles, '' when it goes without saying. */
export function searchScope(path: string | undefined, workspace: Workspace): { places: Location[]; label: string } {
  if (path !== undefined) {
    const place = locate(path, workspace)
    return { places: [place], label: ` in ${shortPath(place)}` }
  }
  const places = workspace.folders.map(({ name }) => ({ folder: name, path: '' }))
  const [only, ...others] = places
  if (!only) throw fault('outside-folder', 'No folder is connected.', { rule: 'connected folders only' })
  return { places, label: others.length === 0 ? ` in ${only.folder}` : '' }
}

/** Of tools whose results may be more than one answer holds. */
export const resultOffset = z
  .int()
  .min(0)
  .max(MAX_RESULT_OFFSET)
  .optional()
  .describe('Results to leave out at the start, of each folder searched: to go on where an earlier answer was cut')

/** The line that says how to go on. Where several folders were cut at different places some results come again, and none is missed. */
export function moreOf(answers: readonly { truncated: boolean; next?: number | undefined }[], otherwise: string): string[] {
  const cut = answers.filter(({ truncated }) => truncated)
  if (cut.length === 0) return []
  const next = cut.flatMap((answer) => answer.next ?? [])
  return next.length > 0
    ? [`(there are more; go on with offset ${Math.min(...next)}, or ${otherwise})`]
    : [`(there are more than can be looked at; ${otherwise})`]
}
