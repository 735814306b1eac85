/** The host's part of the message log: turns steps into notes, and ends a span with a snapshot now and then. */
import type { Note } from './frames.ts'
import { linesPerSpan, spanChars } from './limits.ts'
import type { Command, Snapshot, Stepper } from './stepper.ts'
import { describe, digest, encode } from './transcript.ts'

export function createRecorder(stepper: Stepper) {
  let salt: string | null = null
  let lines = 0
  let chars = 0

  return {
    start(input: unknown, snapshot: Snapshot, commands: readonly Command[], given: string): Note {
      salt = given
      const { value } = snapshot
      const event = encode({ type: 'xstate.init' }, salt)
      return {
        event,
        value: encode(value, salt),
        did: describe(commands),
        digest: digest(value, commands),
        error: null,
        begins: encode({ input }, salt),
      }
    },
    /** @param event null when the kernel has it: a message it delivered */
    step(event: object | null, snapshot: Snapshot | null, commands: readonly Command[], error: string | null): Note | null {
      if (salt === null || !snapshot) return null
      const { value } = snapshot
      const note: Note = { value: encode(value, salt), did: describe(commands), digest: digest(value, commands), error }
      if (event) note.event = encode(event, salt)
      lines++
      chars += note.event?.length ?? 0
      if (lines >= linesPerSpan || chars >= spanChars) {
        lines = 0
        chars = 0
        const persisted = stepper.persist(snapshot)
        if (persisted) note.begins = encode({ snapshot: persisted }, salt)
      }
      return note
    },
  }
}
