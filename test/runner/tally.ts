import { stripVTControlCharacters } from 'node:util'

/** What a suite came to, as the reporter writes it and the runner reads it. */
export type Tally = {
  passed: number
  /** `why`: what it said, for who sees no more than the end of the output. */
  failed: { name: string; why?: string }[]
  skipped: { name: string; reason: string }[]
}

/** Lines and characters of a failure that the summary repeats. The whole stands where the test ran. */
const shownLines = 12
const shownChars = 1_200

/** The beginning of what a failure said, without its colours. */
export function shownFailure(said: string): string {
  return stripVTControlCharacters(said).split('\n').slice(0, shownLines).join('\n').slice(0, shownChars).trimEnd()
}

/** Environment variable naming the file the reporter writes its tally to. */
export const tallyVariable = 'BULKHEAD_TEST_TALLY'
