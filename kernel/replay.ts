/**
 * Taking a run again: the machines that run today are given every event of a session's message log, and everything they want in return is
 * compared with what was wanted then. The first difference of each span is reported; a clean replay means that what happened is what the
 * machines say, and that nothing outside the log decided anything.
 */
import type { MessageLog, Span, StoredLine } from './message-log.ts'
import { createStepper, type Persisted, type Snapshot, type Step, type Stepper } from './stepper.ts'
import { decode, describe, digest, encode } from './transcript.ts'
import type { Actor } from './types.ts'

export type Divergence = {
  actor: string
  incarnation: number
  /** Which line of which span. */
  span: number
  n: number
  event: string
  expected: { value: string; did: readonly string[]; error: string | null }
  found: { value: string; did: readonly string[]; error: string | null }
}
export type ReplayReport = {
  actors: readonly string[]
  spans: number
  steps: number
  /** Written by another version: a difference may be a change of the machine, not of the run. */
  versions: readonly string[]
  /** Spans that could not be taken again, and why. */
  skipped: readonly { actor: string; span: number; why: string }[]
  divergences: readonly Divergence[]
}

/**
 * @param spans which to take again, in order: `log.spansOf(session)`, or all
 * @param load an actor by kind; null when there is none of that kind any more
 */
export async function replay(
  log: MessageLog,
  spans: readonly Span[],
  load: (kind: string) => Promise<Actor | null>,
): Promise<ReplayReport> {
  const steppers = new Map<string, Stepper | null>()
  const skipped: { actor: string; span: number; why: string }[] = []
  const divergences: Divergence[] = []
  let steps = 0
  for (const span of spans) {
    if (!steppers.has(span.kind)) {
      const actor = await load(span.kind)
      steppers.set(span.kind, actor ? createStepper(actor.machine) : null)
    }
    const stepper = steppers.get(span.kind) ?? null
    const skip = (why: string): void => void skipped.push({ actor: span.actor, span: span.id, why })
    if (!stepper) {
      skip(`there is no actor of kind ${span.kind}`)
      continue
    }
    try {
      const divergence = take(log, span, stepper, skip, () => steps++)
      if (divergence) divergences.push(divergence)
    } catch (error) {
      // An actor writes its own lines: what is no line of ours ends its span, not the replay.
      skip(`it cannot be read: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return {
    actors: [...new Set(spans.map(({ actor }) => actor))],
    spans: spans.length,
    steps,
    versions: [...new Set(spans.map(({ version }) => version))],
    skipped,
    divergences,
  }
}

function take(log: MessageLog, span: Span, stepper: Stepper, skip: (why: string) => void, count: () => void): Divergence | null {
  const taken = retake(span.begins, log.linesOf(span.id), stepper, count)
  if (taken === null) {
    skip('its beginning is not in the log')
    return null
  }
  const { actor, incarnation, id } = span
  return taken.difference && { actor, incarnation, span: id, ...taken.difference }
}

export type Retaken = { snapshot: Snapshot | null; difference: Omit<Divergence, 'actor' | 'incarnation' | 'span'> | null }

/**
 * Takes the steps of one span again, up to the first difference.
 * @param begins of the span
 * @returns where it leads; null when the log does not have how it began
 */
export function retake(
  begins: string,
  lines: Iterable<Pick<StoredLine, 'n' | 'event' | 'value' | 'did' | 'digest' | 'error'>>,
  stepper: Stepper,
  count: () => void = () => {},
): Retaken | null {
  const began = decode(begins) as { input?: unknown; snapshot?: Persisted }
  let snapshot: Snapshot | null = null
  if (began.snapshot) snapshot = stepper.restore(began.snapshot)
  else if (began.input === undefined) return null
  for (const line of lines) {
    count()
    const event = decode(line.event) as { type: string }
    const found = attempt(() => (snapshot ? stepper.step(snapshot, event) : stepper.initial(began.input)))
    const same = found.step ? digest(found.step.snapshot.value, found.step.commands) === line.digest : found.error === line.error
    if (!same || (found.error === null) !== (line.error === null))
      return {
        snapshot,
        difference: {
          n: line.n,
          event: line.event,
          expected: { value: line.value, did: line.did, error: line.error },
          found: {
            value: found.step ? encode(found.step.snapshot.value, null) : line.value,
            did: found.step ? describe(found.step.commands) : [],
            error: found.error,
          },
        },
      }
    if (found.step) snapshot = found.step.snapshot
  }
  return { snapshot, difference: null }
}

function attempt(run: () => Step): { step: Step | null; error: string | null } {
  try {
    return { step: run(), error: null }
  } catch (error) {
    return { step: null, error: error instanceof Error ? error.message : String(error) }
  }
}
