/** How a command in the workspace ended, in words the model reads. Pure. */
import { fault, type ReplyOf } from '../../../kernel/index.ts'
import type { protocol as vmSupervisor } from '../../vm-supervisor/protocol.ts'
import type { Presented } from './tool.ts'

export type Ending = ReplyOf<typeof vmSupervisor, 'exec'>

/** `timeout`: what it was allowed, ms; null when nobody said. */
export function endedText({ exitCode, signal, timedOut, oom }: Ending, timeout: number | null): string {
  if (timedOut) return timeout === null ? 'ended: time is up' : `ended after ${timeout} ms: time is up`
  if (oom) return 'killed: out of memory'
  return signal === null ? `exit code ${exitCode}` : `killed by ${signal}`
}

export function outcomeOf(ending: Ending, timeout: number | null): Omit<Presented, 'text'> {
  const { exitCode, signal, timedOut, oom } = ending
  if (timedOut)
    return {
      ok: false,
      error: fault(
        'exec-timeout',
        timeout === null ? 'The command ran longer than allowed.' : `The command was ended after ${timeout} ms.`,
      ),
    }
  if (oom) return { ok: false, error: fault('exec-failed', 'The command was killed: out of memory.') }
  return { ok: signal === null && exitCode === 0 }
}
