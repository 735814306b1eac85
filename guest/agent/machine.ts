/** The machine the agent runs on: what it reports of itself, its clock, its end. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import type { Launcher } from './launcher.ts'
import { runTool } from './tools.ts'

/** A clock this close to the host's is left alone, ms. */
const clockSlackMs = 100

export type MachineFacts = { agent: string; kernel: string; bootMs: number; stages: Record<string, number> }

export class Machine {
  readonly #facts: MachineFacts
  readonly #launcher: Launcher

  /** `launcher`: does what Node cannot. */
  constructor(launcher: Launcher) {
    this.#launcher = launcher
    const stages = readStages()
    stages.agent = uptimeMs()
    this.#facts = { agent: `Node ${process.version}`, kernel: release(), bootMs: stages.agent, stages }
  }

  facts(): MachineFacts {
    return this.#facts
  }

  /**
   * After this no two machines started from one saved memory are alike: the kernel's generator is reseeded, the machine id is another. A
   * failure is one of the machine, which must not be used then.
   */
  async wake(ms: number, seed: string | undefined): Promise<void> {
    const late = Math.abs(Date.now() - ms) > clockSlackMs
    if (!late && seed === undefined) return
    await Promise.all([
      this.#launcher.wake(late ? ms : null, seed ?? null),
      seed === undefined ? null : writeFile('/etc/machine-id', `${machineId(seed)}\n`),
    ])
  }

  /** Does not return. */
  async powerOff(): Promise<void> {
    await runTool('sync', [])
    await writeFile('/proc/sysrq-trigger', 'o')
  }
}

function machineId(seed: string): string {
  return createHash('sha256').update('machine-id').update(seed).digest('hex').slice(0, 32)
}

/** ms of uptime at the end of each stage, as `/init` wrote them: `name seconds`. */
function readStages(): Record<string, number> {
  const stages: Record<string, number> = {}
  for (const line of readFileSync('/run/bulkhead/stages', 'utf8').split('\n')) {
    const [name, seconds] = line.split(' ')
    if (name && seconds) stages[name] = Math.round(Number(seconds) * 1000)
  }
  return stages
}

function uptimeMs(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000)
}
