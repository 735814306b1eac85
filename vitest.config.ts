import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Timeouts only end a test that hangs for good; no test passes or fails by one. */
const minutes = 60_000

/** What is waited for is waited for as long as the test may take, less what it takes to say what was seen instead. */
const polled = (testTimeout: number) => ({ poll: { interval: 50, timeout: testTimeout - 20_000 } })

/** The longest files, which begin first: two run at a time, and neither should be left over for the end. */
const longest = [
  'e2e/folder-in-workspace',
  'security/network',
  'fault/vm-supervisor',
  'security/guest',
  'e2e/policy',
  'browser/page',
  'e2e/main-job',
  'fault/actors',
]
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
      return at < 0 ? longest.length : at
    }
    // oxlint-disable-next-line unicorn/no-array-sort -- the sequencer's, not an array's
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    // A forgotten `.only` would skip the rest in silence.
    allowOnly: false,
    projects: [
      {
        test: {
          name: 'unit',
          // Left to itself vitest would leave one of two cores idle.
          maxWorkers: '100%',
          include: ['{kernel,actors,guest,client,daemon,setup,checker,bench}/**/*.test.ts', 'test/style/**/*.test.ts'],
          testTimeout: 2 * minutes,
          expect: polled(2 * minutes),
          hookTimeout: 2 * minutes,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/{conformance,fault,security,e2e,browser}/**/*.test.ts'],
          // Each starts daemons and VMs of its own, on the one image set-up has built: an emulated VM keeps one core busy.
          maxWorkers: 2,
          testTimeout: 10 * minutes,
          expect: polled(10 * minutes),
          hookTimeout: 10 * minutes,
        },
      },
    ],
  },
})
