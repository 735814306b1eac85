import { z } from 'zod'
import { fault } from '../../../kernel/index.ts'
import { locate, shortPath } from '../paths.ts'
import { requireWritable, tool } from './tool.ts'

export const move = tool({
  name: 'Move',
  description:
    'Moves or renames a file or folder inside one connected folder. It replaces nothing: the new path must be free. The member is asked first.',
  input: z.strictObject({
    path: z.string().min(1).describe('What to move'),
    new_path: z.string().min(1).describe('Its new path, the name included'),
  }),
  plan({ path, new_path }, workspace) {
    const from = locate(path, workspace)
    const to = locate(new_path, workspace)
    requireWritable(from, workspace)
    if (from.folder !== to.folder)
      throw fault('outside-folder', 'A move stays inside one connected folder.', {
        remedy: 'Read it and write it there, then delete it here.',
      })
    const body = { path: from.path, to: to.path }
    return {
      access: 'change',
      title: `Move ${shortPath(from)} to ${shortPath(to)}`,
      target: { kind: 'write', ...from, act: 'move', to: to.path },
      detail: '',
      preview: { at: { folder: from.folder }, kind: 'preview', body },
      message: { kind: 'move', body },
    }
  },
  present({ path, new_path }, _answers, workspace) {
    return { ok: true, text: `Moved ${shortPath(locate(path, workspace))} to ${shortPath(locate(new_path, workspace))}.` }
  },
})
