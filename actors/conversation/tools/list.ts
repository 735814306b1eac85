import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { SEARCH_DEADLINE_MS } from '../limits.ts'
import { moreOf, resultOffset, searchScope } from './search-scope.ts'
import { tool } from './tool.ts'

type ListReply = ReplyOf<typeof fsGate, 'list'>

const maxDepth = 8

export const list = tool({
  name: 'List',
  description: 'Lists what is in a folder: names, folders ending in "/", sizes of files. Use depth to look into its folders as well.',
  input: z.strictObject({
    path: z.string().min(1).optional().describe('Folder to list; all connected folders when left out'),
    depth: z.int().min(1).max(maxDepth).optional().describe('How deep to look; 1 when left out'),
    offset: resultOffset,
  }),
  plan({ path, depth = 1, offset }, workspace) {
    const { places, label } = searchScope(path, workspace)
    const calls = places.map(({ folder, path: at }) => ({
      at: { folder },
      kind: 'list',
      body: { path: at, depth, ...(offset === undefined ? {} : { skip: offset }) },
      deadlineMs: SEARCH_DEADLINE_MS,
    }))
    return { access: 'read', title: `List${label}`, calls }
  },
  present({ path, offset }, answers, workspace) {
    const { places } = searchScope(path, workspace)
    const text = answers.map(({ body }, index) => {
      const { entries, ...rest } = body as ListReply
      const lines = entries.map(({ name, type, size }) =>
        type === 'folder'
          ? `${name}/`
          : type === 'file'
            ? `${name}  ${size} bytes`
            : `${name}  (${type === 'symlink' ? 'link' : 'special file'})`,
      )
      const shown =
        lines.length === 0 ? [offset ? '(nothing beyond that)' : '(empty)'] : [...lines, ...moreOf([rest], 'list a folder in it')]
      return (places.length > 1 ? [`${places[index]?.folder ?? ''}/`, ...shown] : shown).join('\n')
    })
    return { ok: true, text: text.join('\n\n') }
  },
})
