import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as fsGate } from '../../fs-gate/protocol.ts'
import { MAX_PRESENTED } from '../limits.ts'
import { devicePath, locate, shortPath } from '../paths.ts'
import { tool } from './tool.ts'

type StatReply = ReplyOf<typeof fsGate, 'stat'>

export const present = tool({
  name: 'Present',
  description: 'Shows the member files you made for them, by name. Use it once at the end, for results and not for every file you touched.',
  input: z.strictObject({ paths: z.array(z.string().min(1)).min(1).max(MAX_PRESENTED).describe('The files') }),
  plan({ paths }, workspace) {
    const places = paths.map((path) => locate(path, workspace))
    return {
      access: 'read',
      title: `Present ${places.map(shortPath).join(', ')}`,
      calls: places.map(({ folder, path }) => ({ at: { folder }, kind: 'stat', body: { path } })),
    }
  },
  present({ paths }, answers, workspace) {
    const lines = answers.map(({ body }, index) => {
      const { type, size } = body as StatReply
      return `${devicePath(locate(paths[index] ?? '', workspace), workspace)}${type === 'folder' ? '/' : `  ${size} bytes`}`
    })
    return { ok: true, text: lines.join('\n') }
  },
})
