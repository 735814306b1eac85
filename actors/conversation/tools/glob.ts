import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { DEFAULT_SEARCH_RESULTS, SEARCH_DEADLINE_MS } from '../limits.ts'
import { devicePath } from '../paths.ts'
import { moreOf, resultOffset, searchScope } from './search-scope.ts'
import { tool } from './tool.ts'

type GlobReply = ReplyOf<typeof fsGate, 'glob'>

export const glob = tool({
  name: 'Glob',
  description:
    'Finds files by name pattern, like `**/*.csv` or `src/**/*.ts`, in one connected folder or in all of them. Returns one path a line.',
  input: z.strictObject({
    pattern: z.string().min(1).describe('Pattern, relative to the folder searched'),
    path: z.string().min(1).optional().describe('Folder to search; all connected folders when left out'),
    offset: resultOffset,
  }),
  plan({ pattern, path, offset }, workspace) {
    const { places, label } = searchScope(path, workspace)
    const calls = places.map((place) => ({
      at: { folder: place.folder },
      kind: 'glob',
      body: {
        pattern,
        limit: DEFAULT_SEARCH_RESULTS,
        ...(place.path === '' ? {} : { path: place.path }),
        ...(offset === undefined ? {} : { skip: offset }),
      },
      deadlineMs: SEARCH_DEADLINE_MS,
    }))
    return { access: 'read', title: `Find ${pattern}${label}`, calls }
  },
  present({ path }, answers, workspace) {
    const { places } = searchScope(path, workspace)
    const found = answers.flatMap(({ body }, index) => {
      const folder = places[index]?.folder ?? ''
      return (body as GlobReply).paths.map((relative) => devicePath({ folder, path: relative }, workspace))
    })
    const more = moreOf(
      answers.map(({ body }) => body as GlobReply),
      'narrow the pattern',
    )
    return { ok: true, text: [...(found.length === 0 ? ['No file matches.'] : found), ...more].join('\n') }
  },
})
