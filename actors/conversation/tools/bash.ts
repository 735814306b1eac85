import { z } from 'zod'
import { fault, type ReplyOf } from '../../../kernel/index.ts'
import type { protocol as vmSupervisor } from '../../vm-supervisor/protocol.ts'
import { DEFAULT_COMMAND_MS, MAX_COMMAND_CHARS, MAX_COMMAND_MS } from '../limits.ts'
import { type Presented, tool } from './tool.ts'

type ExecReply = ReplyOf<typeof vmSupervisor, 'exec'>

export const bash = tool({
  name: 'Bash',
  description:
    'Runs a command with bash in the workspace, a Linux virtual machine that sees the connected folders under /sessions/…/mnt and has Python 3. Its programs reach allowed hosts only. Files that the device itself would run or obey, such as .git/hooks, .envrc or .vscode/tasks.json, cannot be written from there: use Write, which asks for exactly that. The member is asked first. Use the file tools for reading and editing files.',
  input: z.strictObject({
    command: z.string().min(1).max(MAX_COMMAND_CHARS).describe('The command'),
    description: z.string().optional().describe('What it does, in five to ten words'),
    timeout: z.int().min(1).max(MAX_COMMAND_MS).optional().describe(`Milliseconds it may run; ${DEFAULT_COMMAND_MS} when left out`),
  }),
  plan({ command, description, timeout = DEFAULT_COMMAND_MS }) {
    const firstLine = command.trim().split('\n', 1)[0] ?? ''
    const shown = firstLine.length > 80 ? `${firstLine.slice(0, 79)}…` : firstLine
    return {
      access: 'change',
      title: `Run ${shown}`,
      target: { kind: 'exec', command },
      detail: description ? `${command}\n\n(${description})` : command,
      // The command's own time limit starts when it runs; the boot before it may take longer than any deadline.
      message: { kind: 'exec', body: { command, timeoutMs: timeout }, deadlineMs: null },
    }
  },
  present({ timeout = DEFAULT_COMMAND_MS }, [answer]) {
    const reply = answer.body as ExecReply
    const output = answer.output ?? ''
    const result = (ending: string, rest: Omit<Presented, 'text'>): Presented => ({
      ...rest,
      text: `${output === '' ? '(no output)' : output.replace(/\n$/, '')}\n[${ending}, cwd ${reply.cwd}]`,
    })
    if (reply.timedOut)
      return result(`ended after ${timeout} ms: time is up`, {
        ok: false,
        error: fault('exec-timeout', `The command was ended after ${timeout} ms.`),
      })
    if (reply.oom)
      return result('killed: out of memory', { ok: false, error: fault('exec-failed', 'The command was killed: out of memory.') })
    if (reply.signal !== null) return result(`killed by ${reply.signal}`, { ok: false })
    return result(`exit code ${reply.exitCode}`, { ok: reply.exitCode === 0 })
  },
})
