/** Spin's side of the comparison: two-phase commit as one would write it in Promela, verified exactly and without reduction. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type Pan = { run(): { seconds: number; states: number; bytesPerState: number }; remove(): void }

function model(count: number): string {
  const managers = Array.from({ length: count }, (_, i) => i)
  return `mtype:rm = { working, prepared, committed, aborted };
mtype:tm = { deciding, commitSent, abortSent };
mtype:tm tm = deciding;
mtype:rm rm[${count}] = working;
bit known[${count}];
bit sent[${count}];
bit commitMessage, abortMessage;
#define BOTH (${managers.map((i) => `rm[${i}] == committed`).join(' || ')}) && (${managers.map((i) => `rm[${i}] == aborted`).join(' || ')})
active proctype system() {
  do
  :: atomic { tm == deciding && ${managers.map((i) => `known[${i}]`).join(' && ')} -> tm = commitSent; commitMessage = 1; assert(!(BOTH)) }
  :: atomic { tm == deciding -> tm = abortSent; abortMessage = 1; assert(!(BOTH)) }
${managers
  .map(
    (i) => `  :: atomic { tm == deciding && sent[${i}] -> known[${i}] = 1; assert(!(BOTH)) }
  :: atomic { rm[${i}] == working -> rm[${i}] = prepared; sent[${i}] = 1; assert(!(BOTH)) }
  :: atomic { rm[${i}] == working -> rm[${i}] = aborted; assert(!(BOTH)) }
  :: atomic { commitMessage -> rm[${i}] = committed; assert(!(BOTH)) }
  :: atomic { abortMessage -> rm[${i}] = aborted; assert(!(BOTH)) }`,
  )
  .join('\n')}
  od
}
`
}

/** Compiled once, run as often as asked. Needs Debian's `spin` and `gcc`. */
export function buildPan(count: number): Pan {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-pan-'))
  const run = (command: string, args: string[]): string =>
    execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    writeFileSync(join(folder, 'model.pml'), model(count))
    run('spin', ['-a', 'model.pml'])
    run('cc', ['-O2', '-w', '-DSAFETY', '-DNOREDUCE', '-o', 'pan', 'pan.c'])
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw new Error("Spin's verifier could not be built (on Debian and Ubuntu: apt-get install spin gcc libc6-dev).", { cause: error })
  }
  return {
    run() {
      const started = performance.now()
      const out = run('./pan', ['-m100000', '-w20', '-E'])
      // pan's own clock ticks in hundredths, and it starts and ends a process in that time as well: both are given, the shorter counts.
      const told = Number(/elapsed time ([\d.]+) seconds/.exec(out)?.[1])
      const wall = (performance.now() - started) / 1000
      const states = Number(/(\d+) states, stored/.exec(out)?.[1])
      const mebibytes = Number(
        /([\d.]+)\s+actual memory usage for states/.exec(out)?.[1] ?? /([\d.]+)\s+equivalent memory usage/.exec(out)?.[1],
      )
      const table = Number(/([\d.]+)\s+memory used for hash table/.exec(out)?.[1])
      return { seconds: told > 0 ? Math.min(told, wall) : wall, states, bytesPerState: ((mebibytes + table) * 2 ** 20) / states }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
