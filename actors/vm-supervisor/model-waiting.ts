/** What must hold for whoever waits for a VM that fails, or goes down: nobody waits for nothing, and all hear what happens meanwhile. */
import { askedBy, type Model, type View } from '../../checker/model.ts'
import { early, isCommand, isStale, leads, nameOf, placeOf } from './model-properties.ts'
import { backoffDelay, type Context, openJobs } from './state.ts'

export const always: Model<Context>['always'] = {
  'nobody waits for a VM that goes down for good': (view: View<Context>) => {
    const at = placeOf(view)
    const { again, waiting } = view.context
    if (at !== 'stopped' && at !== 'closing' && (at !== 'stopping' || again)) return true
    return waiting.length === 0 && openJobs(view.context).every(({ state }) => state === 'running')
  },
}

export const steps: NonNullable<Model<Context>['steps']> = {
  'who waits hears that it failed, or is stopped': (before, event, _after, out) => {
    const at = placeOf(before)
    const fails = leads[at]?.[nameOf(event)] === 'failed' && !isStale(before, event)
    const state = fails ? 'recovering' : event.type === 'stop' && early.has(at) ? 'stopping' : null
    return (
      state === null ||
      before.context.waiting.every(({ request }) =>
        out.some(
          (message) => message.type === 'partTo' && message.request === request && (message.body as { state: string }).state === state,
        ),
      )
    )
  },
  'how long it is until the next try is known': (before, event, after) => {
    const { failures, delayMs } = after.context
    if (placeOf(before) !== 'degraded.drawing') return placeOf(after) !== 'degraded.drawing' || delayMs === backoffDelay(failures, 0.5)
    return event.type !== 'drawJitter.drawn' || isStale(before, event) || delayMs === backoffDelay(failures, event['fraction'] as number)
  },
  'a command for a VM that goes down to begin again waits for it': (before, event, after) => {
    if (placeOf(before) !== 'stopping' || !before.context.again || !isCommand(before, event)) return true
    return event.type === 'job'
      ? openJobs(after.context).length > openJobs(before.context).length
      : after.context.waiting.some(({ request }) => request === askedBy(event))
  },
}
