/** The machine the agent runs on: what it reports of itself, its clock, its end. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import { runTool } from './tools.ts'

/** A clock this close to the host's is left alone, ms. */
const clockSlackMs = 100

export type MachineFacts = { agent: string; kernel: string; bootMs: number; stages: Record<string, number> }

export class Machine {
  readonly #facts: MachineFacts

  constructor() {
    const stages = readStages()
    stages.agent = uptimeMs()
    this.#facts = { agent: `Node ${process.version}`, kernel: release(), bootMs: stages.agent, stages }
  }

  facts(): MachineFacts {
    return this.#facts
  }

  async setClock(ms: number): Promise<void> {
    if (Math.abs(Date.now() - ms) > clockSlackMs) await runTool('date', ['--utc', '--set', `@${(ms / 1000).toFixed(3)}`])
  }

  /** Does not return. */
  async powerOff(): Promise<void> {
    await runTool('sync', [])
    await writeFile('/proc/sysrq-trigger', 'o')
  }
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
