/** Two-phase commit with properties that do not hold: of a state some way in, and of who is where. */
import { twoPhase } from '../published/two-phase.ts'
import type { SystemModel } from '../system.ts'

export function brokenTwoPhase(count: number): SystemModel {
  return {
    ...twoPhase(count),
    always: {
      'rm2 never commits': (view) => view.actor('rm2').value !== 'committed',
      'nobody gives up once another prepared': (view) =>
        !(view.actor('rm1').value === 'aborted' && view.actor('rm2').value === 'prepared' && view.actor('rm3').value === 'prepared'),
    },
  }
}
