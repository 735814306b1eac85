/** A way of states, one after another, whose rule fails at one of them: in whichever worker comes there, while the others have nothing to do. */
import { threadId } from 'node:worker_threads'
import { Interner, type Product } from '../product.ts'

const failsAt = 100

/** @param how `throws`: the rule throws. `exits`: the thread ends. Neither happens outside of a worker. */
export function failing(how: 'throws' | 'exits'): Product {
  const values = new Interner<number>()
  const at = (value: number): number => values.add(String(value), () => value)
  return {
    name: 'failing',
    components: [{ name: 'at', size: () => values.size, value: (id) => values.get(id) }],
    initial: [[at(0)]],
    rules: [
      {
        name: 'step',
        reads: [0],
        process: 0,
        expand(id) {
          const value = values.get(id)
          if (value === failsAt && threadId !== 0) {
            if (how === 'throws') throw new Error('the rule fails')
            process.exit(7)
          }
          return [{ info: { actor: 'way', label: 'step' }, group: 0, writes: [0, at(value + 1)], operations: [] }]
        },
      },
    ],
    groups: [{ name: 'step', fair: 'weak' }],
    processes: ['way'],
    next: (_, id) => id,
    properties: [],
    temporal: [],
    stepProperties: [],
  }
}
