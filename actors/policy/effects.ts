/** Policy's contact with the world: it looks at its sources. */
import { setTimeout as wait } from 'node:timers/promises'
import * as Effect from 'effect/Effect'
import type { EffectContext, Effects } from '../../kernel/index.ts'
import { lookEveryMs } from './limits.ts'
import { looked, notLooked } from './looks.ts'
import { placesOf } from './places.ts'
import { fingerprintOf, readSources } from './read-sources.ts'
import { isManaged, type Source } from './sources.ts'

export const effects = {
  /**
   * Reads the sources now and after every change (`observe.read { sources }`), until stopped. Looking is by `lstat`: the managed folder often
   * does not exist yet, a watch on it could not be set up, and watches miss changes of mode or owner on some file systems.
   */
  observe: {
    outcomes: ['ended'],
    run: (_: object, context: EffectContext) =>
      Effect.promise(async (signal) => {
        const places = placesOf(context.params as Record<string, unknown>)
        let state = notLooked
        while (!signal.aborted) {
          const now = fingerprintOf(places)
          if (now !== state.inForce) {
            const sources = readSources(places)
            const broken = sources.some((source) => isManaged(source) && source.state === 'unreadable')
            state = looked(state, now, broken)
            if (state.inForce === now) {
              report(sources, context)
              context.raise({ type: 'observe.read', sources })
            }
          }
          await wait(lookEveryMs, undefined, { signal }).catch(() => {})
        }
        return { type: 'ended' }
      }),
  },
} satisfies Effects

function report(sources: readonly Source[], { log }: EffectContext): void {
  for (const { kind, place, state, why } of sources)
    if (state !== 'absent') log(state === 'unreadable' ? 'error' : 'info', `${kind} ${place}: ${state}${why ? `, ${why}` : ''}`)
}
