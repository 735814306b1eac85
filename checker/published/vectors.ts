/** Counts that others published, and the models that must give them. One table for the test, the docs and `check:full`. */
import type { Product } from '../product.ts'
import { compose } from '../compose.ts'
import { alternatingBit, alternatingBitOfProcesses } from './alternating-bit.ts'
import {
  asynchronousInterface,
  cigaretteSmokers,
  coffeeCan,
  dieHard,
  diningPhilosophers,
  hourClock,
  peterson,
  terminationDetection,
  transactionCommit,
} from './classics.ts'
import { twoPhase } from './two-phase.ts'

export type Vector = {
  name: string
  /** Who counted. */
  source: string
  model(): Product
  states: number
  /** TLC's "states generated": steps and initial states. Null where the source does not say, or counts states outside a constraint. */
  generated: number | null
  symmetry?: true
  /** Takes seconds: `check:full` only. */
  large?: true
}

const examples = (path: string): string => `TLA+ Examples manifest, ${path} (TLC)`
const phases = (count: number) => () => compose(twoPhase(count))
const measured = 'TwoPhase.tla with TLC, the same system in Spin 6.5.2'

export const vectors: readonly Vector[] = [
  { name: 'TwoPhase N=3', source: examples('transaction_commit/TwoPhase.cfg'), model: phases(3), states: 288, generated: 1_146 },
  { name: 'TwoPhase N=5', source: measured, model: phases(5), states: 8_832, generated: 58_146 },
  { name: 'TwoPhase N=6', source: measured, model: phases(6), states: 50_816, generated: null },
  { name: 'TwoPhase N=7', source: measured, model: phases(7), states: 296_448, generated: 2_744_706 },
  { name: 'TwoPhase N=8', source: measured, model: phases(8), states: 1_745_408, generated: 18_507_778, large: true },
  { name: 'TwoPhase N=3, symmetric', source: 'TLC with SYMMETRY', model: phases(3), states: 80, generated: null, symmetry: true },
  {
    name: 'TwoPhase N=5, symmetric',
    source: 'Stateright, 2pc check-sym 5',
    model: phases(5),
    states: 314,
    generated: null,
    symmetry: true,
  },
  { name: 'TCommit N=3', source: examples('transaction_commit/TCommit.cfg'), model: transactionCommit, states: 34, generated: 94 },
  { name: 'DiningPhilosophers NP=5', source: examples('DiningPhilosophers'), model: diningPhilosophers, states: 67, generated: 336 },
  { name: 'DieHard', source: 'TLC', model: dieHard, states: 16, generated: 97 },
  { name: 'EWD840 N=3', source: examples('ewd840/EWD840.cfg'), model: terminationDetection, states: 302, generated: 2_001 },
  { name: 'CoffeeCan, 100 beans', source: examples('CoffeeCan/CoffeeCan100Beans.cfg'), model: coffeeCan, states: 5_150, generated: 20_002 },
  {
    name: 'CoffeeCan, 1000 beans',
    source: examples('CoffeeCan/CoffeeCan1000Beans.cfg'),
    model: () => coffeeCan(1000),
    states: 501_500,
    generated: 2_000_002,
    large: true,
  },
  { name: 'CigaretteSmokers', source: examples('CigaretteSmokers'), model: cigaretteSmokers, states: 6, generated: 15 },
  { name: 'HourClock', source: examples('SpecifyingSystems/HourClock'), model: hourClock, states: 12, generated: 24 },
  {
    name: 'AsynchInterface',
    source: examples('SpecifyingSystems/AsynchronousInterface'),
    model: asynchronousInterface,
    states: 12,
    generated: 30,
  },
  {
    name: 'AlternatingBit',
    source: examples('SpecifyingSystems/TLC/MCAlternatingBit.cfg'),
    model: alternatingBit,
    states: 240,
    generated: null,
  },
  {
    name: 'AlternatingBit of processes',
    source: 'mCRL2 and LTSmin, abp.mcrl2 (74 / 92)',
    model: alternatingBitOfProcesses,
    states: 74,
    generated: 93,
  },
  {
    name: 'Peterson',
    source: 'Spin 6.5.2 on its own Examples/peterson.pml, without reduction',
    model: peterson,
    states: 55,
    generated: 99,
  },
  {
    name: 'Peterson with a statement outside',
    source: 'Spin 6.5.2 on the same as `do :: skip; … od`, without reduction',
    model: () => peterson(true),
    states: 58,
    generated: 105,
  },
]

/** A vector's model by its name, for workers that make it for themselves. */
export function modelOf(name: string): Product {
  const vector = vectors.find((known) => known.name === name)
  if (!vector) throw new Error(`there is no vector ${name}`)
  return vector.model()
}
