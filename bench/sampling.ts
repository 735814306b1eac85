/** Taking samples in turn, so that a slow moment of the machine hits everything that is compared. */
import type { Samples } from './report.ts'

/** One measurement, in the figure's unit. */
export type Sampler = () => Promise<number>

/**
 * Runs every sampler once, then every sampler again, `runs` times. One that fails is not asked again; the others go on.
 * @param told progress, in words
 */
export async function alternate<Name extends string>(
  runs: number,
  samplers: Record<Name, Sampler>,
  told: (text: string) => void,
): Promise<Record<Name, Samples>> {
  const names = Object.keys(samplers) as Name[]
  const taken = Object.fromEntries(names.map((name) => [name, { values: [] as number[], why: null as string | null }])) as Record<
    Name,
    { values: number[]; why: string | null }
  >
  for (let round = 1; round <= runs; round++) {
    for (const name of names) {
      const samples = taken[name]
      if (samples.why !== null) continue
      try {
        const value = await samplers[name]()
        samples.values.push(value)
        told(`${name} ${round}/${runs}: ${value.toFixed(1)}`)
      } catch (error) {
        samples.why = error instanceof Error ? error.message : JSON.stringify(error)
        told(`${name} ${round}/${runs} failed: ${samples.why}`)
      }
    }
  }
  return taken
}
