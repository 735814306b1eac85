/** What a member waits for in the main job: the first output of the VM, its return after a crash, set-up, and answers when it is away. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout, type Home, openHome, type Run } from '../test/harness/product.ts'
import { type Block, say, type ScriptedServer, startScriptedServer, use } from '../test/harness/scripted-messages-server.ts'
import { type BareBoot, prepareBareBoot } from './bare-boot.ts'
import { atMost, atMostTimesPeer, figure, type Figure, median } from './report.ts'
import { alternate } from './sampling.ts'

/** Calls in one run whose answers are timed; their median is one sample. */
const callsPerRun = 9

export async function mainJob(runs: number, told: (text: string) => void): Promise<Figure[]> {
  const server = await startScriptedServer()
  const env = { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' }
  const warm = openHome({ env })
  const off = openHome({ env: { ...env, BULKHEAD_VM: 'off' } })
  const folder = off.folder('work')
  writeFileSync(join(folder, 'kept.txt'), 'kept\n'.repeat(100))
  let floor: BareBoot | null = null
  try {
    told('warming up: image, page cache, accelerator probe')
    const ready = await warm.call(['vm', 'start'])
    if (ready.code !== 0) told(`vm start ended with ${ready.code}: ${ready.stderr}`)
    const accelerator = (await warm.vmStatus()).accelerator ?? 'tcg'
    const samples = await alternate(
      runs,
      {
        cold: () => coldStart(server, env),
        bare: async () => {
          floor ??= await prepareBareBoot()
          return floor.userland(accelerator)
        },
        restart: () => restart(server, warm),
        setUp: () => timedExit([process.execPath, join(checkout, 'bin', 'bulkhead'), '--version'], warm),
        node: () => timedExit([process.execPath, '-e', '0'], warm),
        unavailable: () => answers(server, off, folder, () => use('Bash', { command: 'true' })),
        file: () => answers(server, off, folder, () => use('Read', { file_path: 'kept.txt' })),
      },
      told,
    )
    const bare = { name: `bare QEMU boot to userland (${accelerator})`, samples: samples.bare }
    return [
      figure({ name: 'cold start to first VM output', unit: 'ms', target: atMostTimesPeer(3), own: samples.cold, peer: bare }),
      figure({
        name: 'kill -9 of QEMU to output of the next command',
        unit: 'ms',
        target: atMostTimesPeer(3),
        own: samples.restart,
        peer: bare,
      }),
      figure({
        name: 'set-up when nothing is missing',
        unit: 'ms',
        target: atMost(500, 'ms'),
        own: samples.setUp,
        peer: { name: 'node -e 0', samples: samples.node },
      }),
      figure({ name: 'Bash answer while the VM is not there', unit: 'ms', target: atMost(100, 'ms'), own: samples.unavailable }),
      figure({ name: 'Read answer', unit: 'ms', target: atMost(100, 'ms'), own: samples.file }),
    ]
  } finally {
    await (floor as BareBoot | null)?.close()
    await warm.close()
    await off.close()
    await server.close()
  }
}

/** From the user's return key, with nothing running, to the first output of a command in the VM. */
async function coldStart(server: ScriptedServer, env: NodeJS.ProcessEnv): Promise<number> {
  const home = openHome({ env })
  try {
    return await firstOutput(server, home, performance.now())
  } finally {
    await home.close()
  }
}

async function restart(server: ScriptedServer, home: Home): Promise<number> {
  // After the earlier sample it may still be on its way back.
  await home.call(['vm', 'start'])
  const { pid } = await home.vmStatus()
  if (pid === null) throw new Error('The VM has no process to kill.')
  const begun = performance.now()
  process.kill(pid, 'SIGKILL')
  return firstOutput(server, home, begun)
}

async function firstOutput(server: ScriptedServer, home: Home, begun: number): Promise<number> {
  server.script([[use('Bash', { command: 'echo first output' })], [say('done')]])
  const run = home.start(['run', '--json', '--approve', 'all', 'go'])
  const event = await run.event('output of the command', ({ type }) => type === 'tool_output' || type === 'tool_result')
  const taken = performance.now() - begun
  if (event.type === 'tool_result' && event.ok !== true)
    throw new Error(`The command failed: ${JSON.stringify(event.error ?? event.output)}`)
  await run.ended
  return taken
}

/** Median time from a call to its answer, as the client's stdout shows both, one call after another. */
async function answers(server: ScriptedServer, home: Home, folder: string, call: () => Block): Promise<number> {
  server.script([...Array.from({ length: callsPerRun }, () => [call()]), [say('done')]])
  const run = home.start(['run', '--json', '--approve', 'all', '--folder', folder, 'go'])
  await run.ended
  return median(waits(run))
}

function waits({ events, arrivals }: Run): number[] {
  const at = (type: string, id: unknown) => arrivals.get(events.find((event) => event.type === type && event.id === id)?.seq ?? -1)
  const taken = events
    .filter(({ type }) => type === 'tool_call')
    .map(({ id }) => (at('tool_result', id) ?? Number.NaN) - (at('tool_call', id) ?? Number.NaN))
    .filter((ms) => !Number.isNaN(ms))
  if (taken.length === 0) throw new Error('No call was answered.')
  return taken
}

function timedExit([program = '', ...args]: readonly string[], { env }: Home): Promise<number> {
  const begun = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: 'ignore' })
    child.on('error', reject)
    child.on('exit', (code) =>
      code === 0 ? resolve(performance.now() - begun) : reject(new Error(`${args.join(' ')} ended with ${code}`)),
    )
  })
}
