/** What the machine's commands do. The only file of an actor that may touch anything. */
import * as Effect from 'effect/Effect'
import type { Effects } from '../../index.ts'

export const effects = {
  greet: {
    outcomes: ['done'],
    run: ({ name }: { name: string }) => Effect.sync(() => ({ type: 'done', text: `Hello, ${name}!` })),
  },
} satisfies Effects
