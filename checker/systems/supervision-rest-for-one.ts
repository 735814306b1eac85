/** A supervisor whose children lean on those before them. */
import { supervisionModel } from '../supervision-model.ts'
import { alone, type SystemModel } from '../system.ts'

export const system = (size: 'small' | 'full'): SystemModel =>
  alone(
    supervisionModel(
      'rest-for-one',
      size === 'full' ? ['permanent', 'transient', 'temporary', 'permanent'] : ['permanent', 'transient', 'permanent'],
    ),
  )
