/** What a suite came to, as the reporter writes it and the runner reads it. */
export type Tally = {
  passed: number
  failed: string[]
  skipped: { name: string; reason: string }[]
}

/** Environment variable naming the file the reporter writes its tally to. */
export const tallyVariable = 'BULKHEAD_TEST_TALLY'
