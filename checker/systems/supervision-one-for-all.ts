/** A supervisor whose children share a fate. */
import { supervisionModel } from '../supervision-model.ts'
import { alone, type SystemModel } from '../system.ts'

export const system = (size: 'small' | 'full'): SystemModel =>
  alone(
    supervisionModel(
      'one-for-all',
      size === 'full' ? ['permanent', 'transient', 'temporary', 'permanent'] : ['permanent', 'transient', 'temporary'],
    ),
  )
