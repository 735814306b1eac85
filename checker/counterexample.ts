/** A counterexample in the forms people and tools read: text, a Mermaid sequence diagram, ITF, a test that replays it. */
import type { Trace, TraceStep, Violation } from './trace.ts'

const listed = (value: unknown): string => JSON.stringify(value)

export function traceText({ steps, cycle }: Trace): string {
  const lines: string[] = []
  for (const [index, step] of steps.entries()) {
    if (index === cycle) lines.push('  from here on, for ever:')
    lines.push(`    ${index + 1}. ${stepText(step)}`)
  }
  if (cycle !== undefined && cycle === steps.length) lines.push('  where it may stay for ever')
  return lines.join('\n')
}

function stepText({ actor, label, value, sent = [] }: TraceStep): string {
  const out = sent.map(({ what, kind, to }) => `${what} ${kind} to ${to}`).join(', ')
  return `${actor}: ${label}${value === undefined ? '' : ` -> ${listed(value)}`}${out === '' ? '' : `   [${out}]`}`
}

/** @see https://mermaid.js.org/syntax/sequenceDiagram.html */
export function traceMermaid({ steps, cycle }: Trace): string {
  const names = [...new Set(steps.flatMap(({ actor, sent = [] }) => [actor, ...sent.map(({ to }) => to)]))]
  const id = (name: string): string => `p${names.indexOf(name)}`
  const text = (value: string): string => value.replaceAll(/[;#\n]/g, ' ')
  const lines = ['sequenceDiagram', ...names.map((name) => `  participant ${id(name)} as ${text(name)}`)]
  for (const [index, { actor, label, value, sent = [] }] of steps.entries()) {
    if (index === cycle) lines.push('  loop for ever')
    lines.push(`  Note over ${id(actor)}: ${index + 1}. ${text(label)}${value === undefined ? '' : ` → ${text(listed(value))}`}`)
    for (const { to, kind, what } of sent)
      lines.push(`  ${id(actor)}${what === 'send' ? '->>' : '-->>'}${id(to)}: ${text(`${what} ${kind}`)}`)
  }
  if (cycle !== undefined && cycle < steps.length) lines.push('  end')
  return `${lines.join('\n')}\n`
}

/**
 * Informal Trace Format, as Apalache and Quint write it: states in a list, integers beyond 2^53 not needed here, `loop` for a cycle.
 * @see https://apalache-mc.org/docs/adr/015adr-trace.html
 */
export function traceItf(name: string, { property, kind, trace }: Violation): object {
  const states = [trace.initial, ...trace.steps.map(({ state }) => state)]
  return {
    '#meta': { format: 'ITF', source: name, description: `${kind}: ${property}` },
    vars: [...Object.keys(trace.initial), 'step'],
    states: states.map((state, index) => ({
      '#meta': { index },
      ...plain(state),
      step: index === 0 ? 'init' : `${trace.steps[index - 1]?.actor}: ${trace.steps[index - 1]?.label}`,
    })),
    ...(trace.cycle === undefined ? {} : { loop: trace.cycle }),
  }
}

/** Without what only the engine needs, and with what JSON has no word for written out. */
function plain(state: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(
    JSON.stringify(state, (key, value: unknown) => (key === 'snapshot' ? undefined : value === undefined ? null : value)),
  ) as Record<string, unknown>
}

/** `event` null: the actor crashed, and its machine started anew. */
export type EventOnTrace = { actor: string; event: { type: string; [key: string]: unknown } | null; value: unknown }

/** The events each machine saw, in order: all that a replay needs. What is revoked shows in what they see after it. */
export function eventsOf({ steps }: Trace): EventOnTrace[] {
  return steps.flatMap(({ actor, event, value, fault }): EventOnTrace[] =>
    fault?.do === 'crash' ? [{ actor: fault.actor, event: null, value }] : event ? [{ actor, event, value }] : [],
  )
}

/** A step as a replay on the running kernel needs it. */
export type StepOnTrace = Pick<TraceStep, 'actor' | 'label' | 'event' | 'value' | 'fault'>

export const stepsOf = ({ steps }: Trace): StepOnTrace[] =>
  steps.map(({ actor, label, event, value, fault }) => ({
    actor,
    label,
    ...(event ? { event } : {}),
    ...(value === undefined ? {} : { value }),
    ...(fault ? { fault } : {}),
  }))

/** Where a model is: an import specifier, relative to where the file will stand, and what to call with what if it is made by a function. */
export type ModelImport = { from: string; name: string; args?: readonly unknown[] }

/**
 * A vitest file that leads the running kernel along the counterexample. It fails while that leads to what must not be, and passes once it is
 * mended.
 * @param model where it will be found two folders below the root; null: it has no machines that could run
 */
export function traceTest(title: string, violation: Violation, model: ModelImport | null): string {
  const { kind, property, trace } = violation
  if (!model)
    return `// ${title} is a model without machines: nothing of it runs in the kernel.\n${traceText(trace).replaceAll(/^/gm, '// ')}\n`
  const { from, name, args } = model
  const subject = args ? `${name}(${args.map(listed).join(', ')})` : name
  return `/** Generated from a counterexample of ${title}. It fails while the running kernel goes this way to what must not be, and passes once that is mended. */
import { expect, test } from 'vitest'
import { replayInKernel } from '../../checker/replay-verdict.ts'
import { ${name} } from '${from}'

const property = ${listed({ kind, property })} as const
const steps = ${JSON.stringify(stepsOf(trace), null, 2)}

test(${listed(`${kind}: ${property}`)}, async () => {
  const went = await replayInKernel(${subject}, property, steps${trace.cycle === undefined ? '' : `, ${trace.cycle}`})
  expect(went.broken, went.text).toBe(false)
})
`
}
