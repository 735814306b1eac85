/** The machine the agent runs on: what it reports of itself, its clock, its end. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import { toolMs } from './limits.ts'
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

  /**
   * After this no two machines started from one saved memory are alike: the kernel's generator is reseeded, the machine id is another. A
   * failure is one of the machine, which must not be used then.
   */
  async wake(ms: number, seed: string | undefined): Promise<void> {
    const late = Math.abs(Date.now() - ms) > clockSlackMs
    if (!late && seed === undefined) return
    await Promise.all([
      runPerl(wakeScript, [late ? [String(clockSettime), String(Math.floor(ms / 1000)), String(ms % 1000)].join(' ') : '', seed ?? '']),
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

/** Number of the system call; Node has none that sets the clock. */
const clockSettime = process.arch === 'arm64' ? 112 : 227

/**
 * First line: number of `clock_settime`, seconds, milliseconds; or empty. Second: the seed, or empty. The seed is added as entropy and the
 * generator made to take it up now (RNDADDENTROPY, RNDRESEEDCRNG; `random(4)`): just writing it would count only minutes later. In Perl,
 * which is in every Debian and has what Node lacks; one program for both, for this is in the way of the first command.
 */
const wakeScript = `
  chomp(my ($clock, $seed) = <STDIN>);
  if ($clock ne "") {
    my ($number, $seconds, $ms) = split / /, $clock;
    syscall($number + 0, 0, pack("qq", $seconds, $ms * 1000000)) == 0 or die "clock: $!";
  }
  if ($seed ne "") {
    my $bytes = pack("H*", $seed);
    open(my $random, "+<", "/dev/random") or die "open: $!";
    ioctl($random, 0x40085203, pack("iia*", 8 * length($bytes), length($bytes), $bytes)) or die "add: $!";
    ioctl($random, 0x5207, 0) or die "reseed: $!";
  }`

function runPerl(script: string, lines: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile('perl', ['-e', script], { timeout: toolMs }, (error) => (error === null ? resolve() : reject(error)))
    child.stdin?.on('error', () => {})
    child.stdin?.end(lines.map((line) => `${line}\n`).join(''))
  })
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
