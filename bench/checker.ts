/** How fast the checker is, beside Spin's verifier and xstate's own graph, on one protocol and in the same run. */
import { compose } from '../checker/compose.ts'
import { check } from '../checker/explore.ts'
import { twoPhase } from '../checker/published/two-phase.ts'
import { Pool } from '../checker/workers/pool.ts'
import { atLeastTimesPeer, atMostTimesPeer, type Figure, figure, reported } from './report.ts'
import { alternate } from './sampling.ts'
import { Apart, searchOnce } from './two-phase-search.ts'
import { buildPan } from './two-phase-spin.ts'
import { xstateGraph } from './two-phase-xstate.ts'

const managers = 7
const workers = 2
const states = 296_448
/** A search of seconds, where starting and asking front ends count for little. */
const larger = { managers: 8, states: 1_745_408, warm: 1, runs: 3 }
/** These compile the engine, as Spin's verifier was compiled before. */
const warmSearches = 6
/** xstate's graph takes minutes for 50,816 states: this is the largest size it does in a bench. */
const managersForGraph = 4
const statesForGraph = 1_568

export async function checker(runs: number, told: (text: string) => void): Promise<Figure[]> {
  const pan = buildPan(managers)
  let ownBytes = 0
  let panBytes = 0
  const own = (count: number): number => {
    const { statesPerSecond, bytesPerState } = searchOnce(count)
    if (count === managers) ownBytes = bytesPerState
    return statesPerSecond
  }
  const pool = new Pool(workers)
  const apart = new Apart(workers)
  const shared = async (count: number, expected: number): Promise<number> => {
    const reference = { module: new URL('../checker/published/two-phase.ts', import.meta.url).href, name: 'twoPhase', args: [count] }
    const { states: counted, violations, ms } = await pool.check(reference)
    if (counted !== expected || violations.length > 0) throw new Error(`${workers} workers count ${counted}`)
    return counted / (ms / 1000)
  }
  try {
    for (let round = 0; round < warmSearches; round++)
      told(`warm, ${workers} workers: ${(await shared(managers, states)).toFixed(0)} states/s`)
    for (let round = 0; round < warmSearches; round++) told(`warm, apart: ${(await apart.search(managers)).toFixed(0)} states/s`)
    for (let round = 0; round < warmSearches; round++) told(`warm: ${own(managers).toFixed(0)} states/s`)
    const samples = await alternate(
      runs,
      {
        own: async () => own(managers),
        shared: async () => shared(managers, states),
        apart: async () => apart.search(managers),
        spin: async () => {
          const { seconds, states: counted, bytesPerState } = pan.run()
          if (counted !== states) throw new Error(`Spin counts ${counted}`)
          panBytes = bytesPerState
          return counted / seconds
        },
      },
      told,
    )
    for (let round = 0; round < larger.warm; round++) await shared(larger.managers, larger.states)
    const large = await alternate(
      Math.min(runs, larger.runs),
      {
        own: async () => own(larger.managers),
        shared: async () => shared(larger.managers, larger.states),
        apart: async () => apart.search(larger.managers),
      },
      told,
    )
    const graphs = await alternate(
      Math.min(runs, 3),
      {
        own: async () => own(managersForGraph),
        graph: async () => {
          const { states: counted, seconds } = xstateGraph(managersForGraph)
          if (counted !== statesForGraph) throw new Error(`xstate counts ${counted}`)
          return counted / seconds
        },
      },
      told,
    )
    const whole = check(compose(twoPhase(managers)))
    return [
      figure({
        name: `two-phase commit N=${managers}, exact, traces and invariant`,
        unit: 'distinct states/s',
        own: samples.own,
        peer: { name: 'Spin pan -O2 exact, no reduction', samples: samples.spin },
        target: atLeastTimesPeer(1),
      }),
      figure({
        name: `two-phase commit N=${managers}, ${workers} workers`,
        unit: 'distinct states/s',
        own: samples.shared,
        peer: { name: 'one worker', samples: samples.own },
        target: atLeastTimesPeer(1.5),
      }),
      figure({
        name: `two-phase commit N=${managers}, ${workers} searches at once that share nothing: what the machine gives`,
        unit: 'distinct states/s, together',
        own: samples.apart,
        peer: { name: 'one worker', samples: samples.own },
        target: reported,
      }),
      figure({
        name: `two-phase commit N=${managers}, ${workers} workers, of what the machine gives`,
        unit: 'distinct states/s',
        own: samples.shared,
        peer: { name: `${workers} searches at once that share nothing`, samples: samples.apart },
        target: reported,
      }),
      figure({
        name: `two-phase commit N=${larger.managers}, ${workers} workers`,
        unit: 'distinct states/s',
        own: large.shared,
        peer: { name: 'one worker', samples: large.own },
        target: atLeastTimesPeer(1.5),
      }),
      figure({
        name: `two-phase commit N=${larger.managers}, ${workers} searches at once that share nothing: what the machine gives`,
        unit: 'distinct states/s, together',
        own: large.apart,
        peer: { name: 'one worker', samples: large.own },
        target: reported,
      }),
      figure({
        name: `two-phase commit N=${larger.managers}, ${workers} workers, of what the machine gives`,
        unit: 'distinct states/s',
        own: large.shared,
        peer: { name: `${workers} searches at once that share nothing`, samples: large.apart },
        target: reported,
      }),
      figure({
        name: `two-phase commit N=${managersForGraph}`,
        unit: 'distinct states/s',
        own: graphs.own,
        peer: { name: 'xstate/graph', samples: graphs.graph },
        target: atLeastTimesPeer(10),
      }),
      figure({
        name: 'memory of states and their table',
        unit: 'bytes/state',
        own: { values: [ownBytes], why: null },
        peer: { name: 'Spin pan', samples: { values: [panBytes], why: null } },
        target: atMostTimesPeer(1),
      }),
      figure({
        name: 'local transitions computed for all of them',
        unit: 'calls of the front end',
        own: { values: [whole.expansions], why: null },
        target: { text: 'fewer than one in ten transitions', better: 'lower', keeps: (value) => value < whole.transitions / 10 },
      }),
    ]
  } finally {
    pan.remove()
    await pool.close()
    await apart.close()
  }
}
