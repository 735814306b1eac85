/** Commands in the background: what they wrote, and ending them. Only what `Bash` was allowed to start is there, so neither asks again. */
import { z } from 'zod'
import type { ReplyOf } from '../../../kernel/index.ts'
import type { protocol as vmSupervisor } from '../../vm-supervisor/protocol.ts'
import { MAX_COMMAND_MS } from '../limits.ts'
import { endedText } from './command-ending.ts'
import { tool } from './tool.ts'

type Jobs = ReplyOf<typeof vmSupervisor, 'jobs'>
type JobOutput = ReplyOf<typeof vmSupervisor, 'job-output'>
type View = Jobs['jobs'][number]

const id = z.string().regex(/^job-[0-9]{1,9}$/, 'an id that Bash gave, such as job-1')

export const bashOutput = tool({
  name: 'BashOutput',
  description:
    'Reads what a command in the background wrote since it was last read, and says whether it still runs and how it ended. Without bash_id it lists them.',
  input: z.strictObject({
    bash_id: id.optional().describe('The id Bash gave'),
    wait: z.int().min(0).max(MAX_COMMAND_MS).optional().describe('Milliseconds to wait for its end before reading'),
  }),
  plan({ bash_id: job, wait = 0 }) {
    if (job === undefined)
      return { access: 'read', title: 'List what runs in the background', calls: [{ at: { slot: 'workspace' }, kind: 'jobs', body: {} }] }
    return {
      access: 'read',
      title: `Read the output of ${job}`,
      calls: [{ at: { slot: 'workspace' }, kind: 'job-output', body: { job, waitMs: wait }, deadlineMs: null }],
    }
  },
  present({ bash_id: job }, [answer]) {
    if (job === undefined) {
      const { jobs } = answer.body as Jobs
      return {
        text: jobs.map((one) => `${one.job}: ${stateOf(one)}: ${firstLine(one.command)}`).join('\n') || 'Nothing runs in the background.',
        ok: true,
      }
    }
    const { output, missed, outputFile, ...view } = answer.body as JobOutput
    const parts = [
      ...(missed > 0 ? [`(${missed} characters before this were not kept)`] : []),
      output === '' ? '(nothing new)' : output.replace(/\n$/, ''),
      `[${stateOf(view)}${outputFile === null ? '' : `, all of the output in ${outputFile}`}]`,
    ]
    return { text: parts.join('\n'), ok: true }
  },
})

export const killShell = tool({
  name: 'KillShell',
  description: 'Ends a command in the background, with everything it started.',
  input: z.strictObject({ shell_id: id.describe('The id Bash gave') }),
  plan({ shell_id: job }) {
    return {
      access: 'read',
      title: `End ${job}`,
      calls: [{ at: { slot: 'workspace' }, kind: 'job-stop', body: { job }, deadlineMs: null }],
    }
  },
  present({ shell_id: job }) {
    return { text: `${job} is ended.`, ok: true }
  },
})

export function stateOf({ state, ending, error }: View): string {
  if (ending !== null) return endedText(ending, null)
  if (error !== null) return `ended: ${error.message}${error.cause === undefined ? '' : ` (${error.cause})`}`
  return state === 'running' ? 'running' : 'waiting for its turn'
}

const firstLine = (command: string): string => command.split('\n', 1)[0]?.slice(0, 200) ?? ''
