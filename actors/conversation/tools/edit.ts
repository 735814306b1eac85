import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { locate, shortPath } from '../paths.ts'
import { requireWritable, tool } from './tool.ts'

type EditReply = ReplyOf<typeof fsGate, 'edit'>

export const edit = tool({
  name: 'Edit',
  description:
    'Replaces text in a file of a connected folder. old_string must occur exactly once, unless replace_all is set; copy it from Read without the line numbers. The member is shown the difference first.',
  input: z.strictObject({
    file_path: z.string().min(1).describe('Path of the file'),
    old_string: z.string().min(1).describe('Text to replace'),
    new_string: z.string().describe('Text to put in its place'),
    replace_all: z.boolean().optional().describe('Replace every occurrence'),
  }),
  plan({ file_path, old_string, new_string, replace_all }, workspace) {
    const file = locate(file_path, workspace)
    requireWritable(file, workspace)
    const body = {
      path: file.path,
      oldText: old_string,
      newText: new_string,
      ...(replace_all === undefined ? {} : { replaceAll: replace_all }),
    }
    return {
      access: 'change',
      title: `Edit ${shortPath(file)}`,
      file,
      target: { kind: 'write', ...file },
      detail: '',
      preview: { at: { folder: file.folder }, kind: 'preview', body },
      message: { kind: 'edit', body },
    }
  },
  present({ file_path }, [answer], workspace) {
    const { replacements, diff } = answer.body as EditReply
    const count = replacements === 1 ? '1 replacement' : `${replacements} replacements`
    return { ok: true, text: `Edited ${shortPath(locate(file_path, workspace))}: ${count}.\n${diff}` }
  },
})
