/**
 * A step whose frame is too large to leave its process. What is largest in it is refused to whoever waits for it, so that one answer of that size
 * does not end the actor and all it was doing.
 */
import type { FromActor, Out } from './frames.ts'
import { maxFrameBytes } from './limits.ts'
import type { Fault } from './types.ts'
import { sizeOf } from './wire.ts'

type StepFrame = Extract<FromActor, { t: 'step' }>

/** What can be sent instead of `frame`, and the actor's own requests that are refused `error` with that. */
export function shortened(frame: StepFrame, error: Fault): { frame: StepFrame; refs: number[] } {
  const out = [...frame.out]
  const refs: number[] = []
  const bySize = out.map((item, at) => ({ at, size: sizeOf(item) })).toSorted((a, b) => b.size - a.size)
  for (const { at } of bySize) {
    if (sizeOf({ ...frame, out }) <= maxFrameBytes) break
    const item = out[at] as Out
    if (item.t === 'send' && item.ref !== undefined) refs.push(item.ref)
    out[at] =
      item.t === 'reply' || item.t === 'part'
        ? { t: 'refuse', request: item.request, error }
        : { t: 'log', level: 'error', message: `a ${item.t} did not leave: ${error.cause ?? error.message}` }
  }
  return { frame: { ...frame, out }, refs }
}
