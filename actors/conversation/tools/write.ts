import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { locate, shortPath } from '../paths.ts'
import { requireWritable, tool } from './tool.ts'

type WriteReply = ReplyOf<typeof fsGate, 'write'>

export const write = tool({
  name: 'Write',
  description:
    'Writes a whole text file in a connected folder, creating it or replacing what was there. The member is shown the difference first. Prefer Edit for small changes.',
  input: z.strictObject({
    file_path: z.string().min(1).describe('Path of the file'),
    content: z.string().describe('The whole new content'),
  }),
  plan({ file_path, content }, workspace) {
    const file = locate(file_path, workspace)
    requireWritable(file, workspace)
    const body = { path: file.path, content }
    return {
      access: 'change',
      title: `Write ${shortPath(file)}`,
      file,
      target: { kind: 'write', ...file },
      detail: '',
      preview: { at: { folder: file.folder }, kind: 'preview', body },
      message: { kind: 'write', body },
    }
  },
  present({ file_path }, [answer], workspace) {
    const { bytes, created } = answer.body as WriteReply
    return { ok: true, text: `${created ? 'Created' : 'Replaced'} ${shortPath(locate(file_path, workspace))} (${bytes} bytes).` }
  },
})
