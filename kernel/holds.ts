/**
 * Effects that wait: what an actor does outside begins when the step that asked for it is in the message log, and what it asked for afterwards
 * begins after that. Used by the host, and played with by the checker (checker/systems/message-log.ts).
 */

/** `last`: number of the last step that does something outside; `durable`: of the last one known to be in the log. */
export type Holds<Effect> = { last: number; durable: number; waiting: { hold: number; effect: Effect }[] }

export const noHolds = <Effect>(): Holds<Effect> => ({ last: 0, durable: 0, waiting: [] })

/** Number of a step that does something outside. The kernel says when it is in the log. */
export function hold(holds: Holds<unknown>): number {
  return ++holds.last
}

/** Whether an effect may begin now; otherwise it waits. */
export function mayBegin<Effect>(holds: Holds<Effect>, effect: Effect): boolean {
  if (holds.last <= holds.durable) return true
  holds.waiting.push({ hold: holds.last, effect })
  return false
}

/** The step of that number is in the log, and all before it: what may begin now, in order. */
export function release<Effect>(holds: Holds<Effect>, durable: number): Effect[] {
  holds.durable = durable
  const at = holds.waiting.findIndex((item) => item.hold > durable)
  return holds.waiting.splice(0, at < 0 ? holds.waiting.length : at).map(({ effect }) => effect)
}

/** Effects that are given up before they began. */
export function withdraw<Effect>(holds: Holds<Effect>, given: (effect: Effect) => boolean): void {
  holds.waiting = holds.waiting.filter(({ effect }) => !given(effect))
}
