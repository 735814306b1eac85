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

export type EventOnTrace = { actor: string; event: { type: string; [key: string]: unknown }; value: unknown }

/** The events each machine saw, in order: all that a replay needs. */
export function eventsOf({ steps }: Trace): EventOnTrace[] {
  return steps.flatMap(({ actor, event, value }) => (event ? [{ actor, event, value }] : []))
}

/**
 * A vitest file that replays the events, without the checker: those of one actor against the running kernel, those of several against their
 * machines alone.
 * @param machines import specifier of each actor's machine, relative to where the file will stand, two folders below the root
 */
export function traceTest(name: string, violation: Violation, actors: Readonly<Record<string, { from: string; input: unknown }>>): string {
  const events = eventsOf(violation.trace)
  const seen = [...new Set(events.map(({ actor }) => actor))].filter((actor) => actors[actor])
  const [only] = seen
  const head = `/** Generated from a counterexample of ${name}: ${violation.kind} "${violation.property}". It shows the way there; say at the end what must not be. */
import { expect, test } from 'vitest'
`
  const title = listed(`${violation.kind}: ${violation.property}`)
  if (seen.length === 1 && only !== undefined)
    return `${head}import { createKernelReplay } from '../../checker/kernel-replay.ts'
import { machine } from '${actors[only]?.from}'

const input = ${listed(actors[only]?.input ?? null)}
const events = ${JSON.stringify(events, null, 2)}

test(${title}, async () => {
  const replay = await createKernelReplay({ machine, input, events })
  try {
    for (const { event, value } of events) expect(await replay.step(event)).toEqual(value)
  } finally {
    await replay.stop()
  }
})
`
  const imports = seen.map((actor, index) => `import { machine as machine${index} } from '${actors[actor]?.from}'`)
  const machines = seen.map(
    (actor, index) => `  ${listed(actor)}: { machine: machine${index}, input: ${listed(actors[actor]?.input ?? null)} },`,
  )
  return `${head}import { createReplay } from '../../checker/replay.ts'
${imports.join('\n')}

const machines = {
${machines.join('\n')}
}
const events = ${JSON.stringify(events, null, 2)}

test(${title}, () => {
  const replay = createReplay(machines)
  for (const { actor, event, value } of events) expect(replay.step(actor, event).value).toEqual(value)
})
`
}
