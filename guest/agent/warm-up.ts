/**
 * What is done once before the machine's memory is saved, so that no start from it has to: slots are made, and a session runs a command and
 * ends again, which loads every program on the way. Nothing of it stays but memory of the system's own files.
 */
import { lastUid } from '../wire.ts'
import type { Commands } from './commands.ts'
import type { Sessions } from './sessions.ts'
import type { Slots } from './slots.ts'

const name = 'warm-up'

/** What went wrong, or ''. */
export async function warmUp(slots: Slots, sessions: Sessions, commands: Commands): Promise<string> {
  try {
    await slots.fill()
    await sessions.set(name, lastUid, [])
    try {
      // Its output has nowhere to go; an id the host never gave is nobody's.
      const ended = await commands.exec({ t: 'exec', id: 0, session: name, timeoutMs: 60_000 }, Buffer.from('true'))
      if (ended.t !== 'exit' || ended.code !== 0) return `a command did not run: ${JSON.stringify(ended)}`
    } finally {
      await sessions.remove(name)
    }
    await slots.fill()
    return await slots.incomplete()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
