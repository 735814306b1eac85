import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { MAX_EDITS } from '../limits.ts'
import { locate, shortPath } from '../paths.ts'
import { requireWritable, tool } from './tool.ts'

type EditReply = ReplyOf<typeof fsGate, 'multi-edit'>

export const multiEdit = tool({
  name: 'MultiEdit',
  description:
    'Makes several replacements in one file of a connected folder, one after the other, all or none. Each works on what those before it left, by the rules of Edit. The member is shown the whole difference first.',
  input: z.strictObject({
    file_path: z.string().min(1).describe('Path of the file'),
    edits: z
      .array(
        z.strictObject({
          old_string: z.string().min(1).describe('Text to replace'),
          new_string: z.string().describe('Text to put in its place'),
          replace_all: z.boolean().optional().describe('Replace every occurrence'),
        }),
      )
      .min(1)
      .max(MAX_EDITS),
  }),
  plan({ file_path, edits }, workspace) {
    const file = locate(file_path, workspace)
    requireWritable(file, workspace)
    const body = {
      path: file.path,
      edits: edits.map(({ old_string, new_string, replace_all }) => ({
        oldText: old_string,
        newText: new_string,
        ...(replace_all === undefined ? {} : { replaceAll: replace_all }),
      })),
    }
    return {
      access: 'change',
      title: `Edit ${shortPath(file)}`,
      file,
      target: { kind: 'write', ...file },
      detail: '',
      preview: { at: { folder: file.folder }, kind: 'preview', body },
      message: { kind: 'multi-edit', body },
    }
  },
  present({ file_path }, [answer], workspace) {
    const { replacements, diff } = answer.body as EditReply
    const count = replacements === 1 ? '1 replacement' : `${replacements} replacements`
    return { ok: true, text: `Edited ${shortPath(locate(file_path, workspace))}: ${count}.\n${diff}` }
  },
})
