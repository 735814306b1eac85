/** Edit and MultiEdit: one replacement, or several in one file, all or none. */
import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { MAX_EDITS } from '../limits.ts'
import { locate, shortPath } from '../paths.ts'
import type { Workspace } from '../paths.ts'
import { type Answer, type Plan, type Presented, requireWritable, tool } from './tool.ts'

type EditReply = ReplyOf<typeof fsGate, 'edit' | 'multi-edit'>

const replacement = z.strictObject({
  old_string: z.string().min(1).describe('Text to replace'),
  new_string: z.string().describe('Text to put in its place'),
  replace_all: z.boolean().optional().describe('Replace every occurrence'),
})
type Replacement = z.infer<typeof replacement>

export const edit = tool({
  name: 'Edit',
  description:
    'Replaces text in a file of a connected folder. old_string must occur exactly once, unless replace_all is set; copy it from Read without the line numbers. The member is shown the difference first.',
  input: z.strictObject({ file_path: z.string().min(1).describe('Path of the file'), ...replacement.shape }),
  plan: ({ file_path, ...change }, workspace) => plan('edit', file_path, fields(change), workspace),
  present: ({ file_path }, [answer], workspace) => present(file_path, answer, workspace),
})

export const multiEdit = tool({
  name: 'MultiEdit',
  description:
    'Makes several replacements in one file of a connected folder, one after the other, all or none. Each works on what those before it left, by the rules of Edit. The member is shown the whole difference first.',
  input: z.strictObject({
    file_path: z.string().min(1).describe('Path of the file'),
    edits: z.array(replacement).min(1).max(MAX_EDITS),
  }),
  plan: ({ file_path, edits }, workspace) => plan('multi-edit', file_path, { edits: edits.map(fields) }, workspace),
  present: ({ file_path }, [answer], workspace) => present(file_path, answer, workspace),
})

/** As the gate's protocol names them. */
function fields({ old_string, new_string, replace_all }: Replacement) {
  return { oldText: old_string, newText: new_string, ...(replace_all === undefined ? {} : { replaceAll: replace_all }) }
}

function plan(kind: 'edit' | 'multi-edit', given: string, change: Record<string, unknown>, workspace: Workspace): Plan {
  const file = locate(given, workspace)
  requireWritable(file, workspace)
  const body = { path: file.path, ...change }
  return {
    access: 'change',
    title: `Edit ${shortPath(file)}`,
    file,
    target: { kind: 'write', ...file },
    detail: '',
    preview: { at: { folder: file.folder }, kind: 'preview', body },
    message: { kind, body },
  }
}

function present(given: string, { body }: Answer, workspace: Workspace): Presented {
  const { replacements, diff } = body as EditReply
  const count = replacements === 1 ? '1 replacement' : `${replacements} replacements`
  return { ok: true, text: `Edited ${shortPath(locate(given, workspace))}: ${count}.\n${diff}` }
}
