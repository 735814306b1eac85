import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { DELETE_DEADLINE_MS } from '../limits.ts'
import { locate, shortPath } from '../paths.ts'
import { requireWritable, tool } from './tool.ts'

type DeleteReply = ReplyOf<typeof fsGate, 'delete'>

export const deleteTool = tool({
  name: 'Delete',
  description:
    'Deletes a file, or a folder with everything in it, from a connected folder. The member is shown exactly what goes and asked each time; they can undo it.',
  input: z.strictObject({ path: z.string().min(1).describe('What to delete') }),
  plan({ path }, workspace) {
    const place = locate(path, workspace)
    requireWritable(place, workspace)
    return {
      access: 'change',
      title: `Delete ${shortPath(place)}`,
      target: { kind: 'write', ...place, act: 'delete' },
      detail: '',
      preview: { at: { folder: place.folder }, kind: 'preview', body: { path: place.path, remove: true } },
      message: { kind: 'delete', body: { path: place.path, recursive: true }, deadlineMs: DELETE_DEADLINE_MS },
    }
  },
  present({ path }, [answer], workspace) {
    const { files, folders, bytes } = answer.body as DeleteReply
    const count = `${files} ${files === 1 ? 'file' : 'files'}${folders > 0 ? `, ${folders} ${folders === 1 ? 'folder' : 'folders'}` : ''}`
    return { ok: true, text: `Deleted ${shortPath(locate(path, workspace))}: ${count}, ${bytes} bytes.` }
  },
})
