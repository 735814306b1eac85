/** "Delete a.txt and b.txt", "rename a.txt to b.txt": what is asked, and how it is done. */
import { type Aside, filePattern, restore } from './clauses.ts'
import type { Intent } from './intents.ts'
import { callOne, devicePath, failed, reasonOf, shortPath, type Skill } from './skill.ts'
import type { World } from './transcript.ts'

/** A file, or a folder when the member says that it is one. */
const thing = `(?:the\\s+)?(?:(?:file|folder|directory)\\s+)?(${filePattern}|(?<=(?:folder|directory)\\s)[\\w.-]+)`
const only = new RegExp(`^${thing}$`, 'i')
const removal = /^(?:delete|remove|erase|trash)\s+(?:the\s+files?\s+|files?\s+)?(.+)$/i
const between = /\s*,\s*(?:and\s+)?|\s+and\s+/
const move = new RegExp(`^(?:move|rename)\\s+${thing}\\s+(?:to|into|as)\\s+(?:the\\s+)?(?:folder\\s+|directory\\s+)?(\\S+)$`, 'i')

/** Nothing but files may follow: "remove the duplicates from a.csv" deletes nothing. */
export function rearranging(clause: string, asides: readonly Aside[]): Intent | null {
  const files = removal
    .exec(clause)?.[1]
    ?.split(between)
    .map((part) => only.exec(part)?.[1])
  if (files?.every((name) => name !== undefined)) return { do: 'delete', files: files.map((name) => restore(name, asides)) }
  const [, from, to] = move.exec(clause) ?? []
  if (from === undefined || to === undefined) return null
  return { do: 'move', from: restore(from, asides), to: restore(to, asides) }
}

/** One after the other: each is a question of its own, and a "no" to one is no "no" to the next. */
export function* remove({ files }: { files: readonly string[] }, world: World): Skill {
  const done: string[] = []
  const not: string[] = []
  for (const file of files) {
    const path = devicePath(file, world.folders[0], world)
    const name = shortPath(path, world)
    const result = yield* callOne(`Deleting ${name}.`, 'Delete', { path })
    if (result.ok) done.push(name)
    else not.push(`${name} was not deleted: ${reasonOf(result)}`)
  }
  const told = [...(done.length > 0 ? [`Deleted ${done.join(', ')}. \`bulkhead undo\` brings it back.`] : []), ...not]
  return { ok: not.length === 0, title: files.join(', '), body: told.join('\n') }
}

export function* relocate({ from, to }: { from: string; to: string }, world: World): Skill {
  const path = devicePath(from, world.folders[0], world)
  const name = shortPath(path, world)
  const target = devicePath(to.endsWith('/') ? `${to}${from.split('/').at(-1) ?? ''}` : to, world.folders[0], world)
  const result = yield* callOne(`Moving ${name} to ${shortPath(target, world)}.`, 'Move', { path, new_path: target })
  if (!result.ok) return failed(name, `${name} was not moved: ${reasonOf(result)}`)
  return { ok: true, title: name, body: `Moved ${name} to ${shortPath(target, world)}.`, files: [target] }
}
