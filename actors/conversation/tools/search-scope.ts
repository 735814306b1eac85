import { fault } from '../../../kernel/index.ts'
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
