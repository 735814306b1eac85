/** What was approved of a server's tools. Pure. */
import { type Context, effect, type Step, stay, without } from './state.ts'

/** Forgets what was pinned of a server that is gone: one added later under its name is another. */
export function forgetPins(context: Context, name: string): Step {
  if (context.pins[name] === undefined) return stay(context)
  const pins = without(context.pins, name)
  return stay({ ...context, pins }, effect({ name: 'savePins', params: { ref: 'pins', pins } }))
}
