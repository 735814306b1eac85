/** `bulkhead check --conform SESSION`: whether what a session's actors did was a path of their models. Reads the message log; needs no daemon. */
import { conform, type Conformance, type RunLine } from '../checker/conform.ts'
import type { Event, Model } from '../checker/model.ts'
import type { MessageLog, Span } from '../kernel/message-log.ts'
import { decode } from '../kernel/transcript.ts'
import type { Actor } from '../kernel/types.ts'
import { exitCodes } from './exit-codes.ts'
import { printable } from './printable.ts'
import { actorOf, modelModuleOf, withRecordedSteps } from './recorded-steps.ts'

export function conformSession(options: { session: string; json: boolean; home: string; out(text: string): void }): Promise<number> {
  const { session, json, home, out } = options
  return withRecordedSteps(home, session, async (log, spans) => {
    const results = await conformSpans(log, spans)
    out(json ? `${JSON.stringify({ session, results })}\n` : conformText(session, results))
    return results.every(({ conforms }) => conforms !== false) ? exitCodes.done : exitCodes.failed
  })
}

export async function conformSpans(log: MessageLog, spans: readonly Span[]): Promise<Conformance[]> {
  const results: Conformance[] = []
  for (const { id, actor, kind, begins } of spans) {
    const found = await load(kind)
    if (!found) {
      results.push({ actor, span: id, steps: 0, conforms: null, why: `there is no model of ${kind}` })
      continue
    }
    const { input, snapshot } = decode(begins) as { input?: unknown; snapshot?: unknown }
    const run = { actor, kind, span: id, input, fromSnapshot: snapshot !== undefined, lines: linesOf(log, id) }
    results.push(conform(run, found.actor, found.model))
  }
  return results
}

function* linesOf(log: MessageLog, span: number): Generator<RunLine> {
  for (const { n, event, value, error } of log.linesOf(span)) yield { n, event: decode(event) as Event, value, error }
}

async function load(kind: string): Promise<{ actor: Actor; model: Model } | null> {
  const described = await modelModuleOf<{ model: Model }>(kind)
  const actor = described && (await actorOf(kind))
  return described && actor && { actor, model: described.model }
}

function conformText(session: string, results: readonly Conformance[]): string {
  const lines = results.map((result) => {
    const where = `${result.actor}, span ${result.span}`
    if (result.conforms === null) return `  not compared: ${where}: ${result.why}`
    if (result.conforms) return `  conforms: ${where}: ${result.steps} steps`
    return `  DOES NOT CONFORM: ${where}, line ${result.n}, ${result.event}: ${result.why}`
  })
  const compared = results.filter(({ conforms }) => conforms !== null).length
  return printable(`${[`${session}: ${compared} of ${results.length} spans have a model to be compared with`, ...lines].join('\n')}\n`)
}
