import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { DEFAULT_SEARCH_RESULTS, MAX_LINE_CHARS, SEARCH_DEADLINE_MS } from '../limits.ts'
import { devicePath } from '../paths.ts'
import { moreOf, resultOffset, searchScope } from './search-scope.ts'
import { tool } from './tool.ts'

type GrepReply = ReplyOf<typeof fsGate, 'grep'>
type GrepMatch = GrepReply['matches'][number]

const modes = { content: 'content', files_with_matches: 'files', count: 'count' } as const

export const grep = tool({
  name: 'Grep',
  description: 'Searches the text of files with a regular expression (RE2 syntax) in one connected folder or in all of them.',
  input: z.strictObject({
    pattern: z.string().min(1).describe('Regular expression'),
    path: z.string().min(1).optional().describe('File or folder to search; all connected folders when left out'),
    glob: z.string().min(1).optional().describe('Only files whose name matches this pattern'),
    output_mode: z.enum(['content', 'files_with_matches', 'count']).optional().describe('Matching lines, paths (the default), or counts'),
    '-i': z.boolean().optional().describe('Ignore case'),
    '-C': z.int().min(0).max(50).optional().describe('Lines of context around each match, with output_mode content'),
    head_limit: z.int().min(1).max(5_000).optional().describe('At most this many results, of each folder searched'),
    offset: resultOffset,
  }),
  plan(input, workspace) {
    const { pattern, path, glob, output_mode = 'files_with_matches', head_limit = DEFAULT_SEARCH_RESULTS } = input
    const { places, label } = searchScope(path, workspace)
    const body = {
      pattern,
      mode: modes[output_mode],
      maxMatches: head_limit,
      ...(glob === undefined ? {} : { glob }),
      ...(input.offset === undefined ? {} : { skip: input.offset }),
      ...(input['-i'] === undefined ? {} : { ignoreCase: input['-i'] }),
      ...(input['-C'] === undefined ? {} : { context: input['-C'] }),
    }
    const calls = places.map((place) => ({
      at: { folder: place.folder },
      kind: 'grep',
      body: { ...body, ...(place.path === '' ? {} : { path: place.path }) },
      deadlineMs: SEARCH_DEADLINE_MS,
    }))
    return { access: 'read', title: `Search "${pattern}"${label}`, calls }
  },
  present({ path, output_mode = 'files_with_matches' }, answers, workspace) {
    const { places } = searchScope(path, workspace)
    const matches = answers.flatMap(({ body }, index) => {
      const folder = places[index]?.folder ?? ''
      return (body as GrepReply).matches.map((match) => ({ ...match, path: devicePath({ folder, path: match.path }, workspace) }))
    })
    const lines =
      output_mode === 'content'
        ? matches.flatMap(contentLines)
        : [...new Set(matches.map((match) => (output_mode === 'count' ? `${match.path}:${match.count ?? 0}` : match.path)))]
    const more = moreOf(
      answers.map(({ body }) => body as GrepReply),
      'narrow the search',
    )
    return { ok: true, text: [...(lines.length === 0 ? ['No match.'] : lines), ...more].join('\n') }
  },
})

/** As grep prints it: `path:12:match`, and `path-11-context` around it. */
function contentLines({ path, line = 0, text = '', before = [], after = [] }: GrepMatch): string[] {
  const around = (index: number, content: string): string => `${path}-${index}-${content.slice(0, MAX_LINE_CHARS)}`
  return [
    ...before.map((content, index) => around(line - before.length + index, content)),
    `${path}:${line}:${text.slice(0, MAX_LINE_CHARS)}`,
    ...after.map((content, index) => around(line + 1 + index, content)),
  ]
}
