import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as vmSupervisor } from '../../vm-supervisor/protocol.ts'
import { DEFAULT_COMMAND_MS, MAX_COMMAND_CHARS, MAX_COMMAND_MS } from '../limits.ts'
import { endedText, outcomeOf } from './command-ending.ts'
import { tool } from './tool.ts'

type ExecReply = ReplyOf<typeof vmSupervisor, 'exec'>
type JobReply = ReplyOf<typeof vmSupervisor, 'job'>

export const bash = tool({
  name: 'Bash',
  description:
    'Runs a command with bash in the workspace, a Linux virtual machine that sees the connected folders under /sessions/…/mnt and has Python 3. Its programs reach allowed hosts only. Files that the device itself would run or obey, such as .git/hooks, .envrc or .vscode/tasks.json, cannot be written from there: use Write, which asks for exactly that. The member is asked first. Use the file tools for reading and editing files. A long output is shown in part; the result names a file in the workspace that has all of it. With run_in_background it goes on after the call: BashOutput reads what it writes and waits for its end, KillShell ends it.',
  input: z.strictObject({
    command: z.string().min(1).max(MAX_COMMAND_CHARS).describe('The command'),
    description: z.string().optional().describe('What it does, in five to ten words'),
    timeout: z.int().min(1).max(MAX_COMMAND_MS).optional().describe(`Milliseconds it may run; ${DEFAULT_COMMAND_MS} when left out`),
    run_in_background: z.boolean().optional().describe('Start it and go on; the result is its id'),
  }),
  plan({ command, description, timeout, run_in_background: background = false }) {
    const firstLine = command.trim().split('\n', 1)[0] ?? ''
    const shown = firstLine.length > 80 ? `${firstLine.slice(0, 79)}…` : firstLine
    const title = `Run ${shown}${background ? ' in the background' : ''}`
    return {
      access: 'change',
      title,
      target: { kind: 'exec', command },
      // A description that only says the command again is no help to who decides.
      detail: description && description !== title ? `${command}\n\n(${description})` : command,
      // The command's own time limit starts when it runs; the boot before it may take longer than any deadline.
      message: background
        ? { kind: 'job', body: { command, ...(timeout === undefined ? {} : { timeoutMs: timeout }) } }
        : { kind: 'exec', body: { command, timeoutMs: timeout ?? DEFAULT_COMMAND_MS }, deadlineMs: null },
    }
  },
  present({ timeout = DEFAULT_COMMAND_MS, run_in_background: background }, [answer]) {
    if (background) {
      const { job } = answer.body as JobReply
      return { text: `Runs in the background as ${job}.`, ok: true }
    }
    const reply = answer.body as ExecReply
    const output = answer.output ?? ''
    const shown = output === '' ? '(no output)' : output.replace(/\n$/, '')
    return {
      ...outcomeOf(reply, timeout),
      text: `${shown}\n[${endedText(reply, timeout)}, cwd ${reply.cwd}${reply.outputFile === null ? '' : `, all of the output in ${reply.outputFile}`}]`,
    }
  },
})
