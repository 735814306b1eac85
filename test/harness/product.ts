/**
 * The product as a user has it, for tests and benches: `bin/bulkhead` with a home and a runtime folder of its own, driven through its
 * command line and nothing else. Images are shared with the machine's other homes, so that none is built twice.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { VmStatus } from '../../actors/vm-supervisor/protocol.ts'
import { conformSpans } from '../../client/conform.ts'
import { actorOf } from '../../client/recorded-steps.ts'
import type { InspectReport } from '../../kernel/inspect.ts'
import { messageLogName, openMessageLog } from '../../kernel/message-log.ts'
import { replay } from '../../kernel/replay.ts'
import { leftAfter, type Process, processesUsing } from './processes.ts'
import { type Ended, type ProductEvent, type Run, startRun } from './run.ts'

export type { Ended, ProductEvent, Run } from './run.ts'

export const checkout = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

export type Home = {
  /** Folder of everything this home has; removed by `close`. */
  dir: string
  /** BULKHEAD_HOME. */
  state: string
  env: NodeJS.ProcessEnv
  /** `bulkhead …args`. */
  start(args: readonly string[], options?: StartOptions): Run
  /** `bulkhead …args`, to its end. */
  call(args: readonly string[], options?: StartOptions): Promise<Ended>
  /** `bulkhead run --json …args PROMPT`, to its end. */
  prompt(text: string, args?: readonly string[], options?: StartOptions): Promise<PromptEnd>
  /** Once no actor is starting: a daemon serves before all of them are up. */
  inspect(): Promise<InspectReport>
  vmStatus(): Promise<VmStatus>
  /** Process id of an actor by its id, or of the first whose id starts so. */
  actorPid(id: string): Promise<number>
  /** The daemon's own process: the parent of its actors. */
  daemonPid(): Promise<number>
  /** A folder to connect; made new, empty. */
  folder(name: string): string
  /** A folder to connect, with the content of another. */
  copyOf(source: string, name: string): string
  /** The daemon, its actors, the VM: everything alive that belongs to this home. */
  processes(): Process[]
  /** Stops the daemon as a user would. Rejects when that fails or a process of this home is left. */
  close(): Promise<void>
}

export type StartOptions = {
  env?: NodeJS.ProcessEnv
  input?: boolean
  deadlineMs?: number
  /** On a terminal of its own, which `script` makes; gets the command as words of a shell's, returns what the shell runs there. */
  onTerminal?: (command: string) => string
}
export type PromptEnd = Ended & { result: ProductEvent; calls: readonly ProductEvent[]; results: readonly ProductEvent[] }

/** An orderly stop may have to power a VM off; what is left after this is left for good, ms. */
const stopMs = 15_000

/**
 * @param entry `client` skips set-up, for an environment that set-up would repair
 * @param wrapper command that runs the product's in another environment
 */
export function openHome({
  env = {},
  entry = 'bin',
  wrapper = [],
}: {
  env?: NodeJS.ProcessEnv
  entry?: 'bin' | 'client'
  wrapper?: readonly string[]
} = {}): Home {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'bulkhead-test-')))
  const state = join(dir, 'home')
  const runtime = join(dir, 'run')
  const folders = join(dir, 'folders')
  for (const path of [runtime, folders]) mkdirSync(path, { mode: 0o700 })
  const homeEnv = { ...neutralEnvironment(), BULKHEAD_HOME: state, XDG_RUNTIME_DIR: runtime, ...env }
  const program = join(
    checkout,
    ...(entry === 'bin' && existsSync(join(checkout, 'bin', 'bulkhead')) ? ['bin', 'bulkhead'] : ['client', 'main.ts']),
  )
  const seen = new Map<string, Process>()
  const processes = () => {
    const now = processesUsing(state)
    for (const process of now) seen.set(`${process.pid} ${process.started}`, process)
    return now
  }
  const start = (args: readonly string[], { env: more = {}, onTerminal, ...options }: StartOptions = {}) => {
    const command = [...wrapper, process.execPath, program, ...args]
    const words = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
    return startRun({
      command: onTerminal ? ['script', '-qefc', onTerminal(words), '/dev/null'] : command,
      cwd: dir,
      env: { ...homeEnv, ...more },
      explain: () => logTail(state),
      ...options,
    })
  }
  const call = (args: readonly string[], options?: StartOptions) => start(args, options).ended
  const json = async (args: readonly string[]): Promise<unknown> => {
    const ended = await call([...args, '--json'])
    if (ended.code !== 0) throw new Error(`${args.join(' ')} ended with ${ended.code}.\n${ended.story}`)
    return JSON.parse(ended.stdout)
  }
  const inspect = async (): Promise<InspectReport> => {
    const report = (await json(['inspect'])) as InspectReport
    return report.actors.some((actor) => actor.state === 'starting') ? inspect() : report
  }
  const actorPid = async (id: string): Promise<number> => {
    const { actors } = await inspect()
    const found = actors.find((actor) => actor.id === id) ?? actors.find((actor) => actor.id.startsWith(id))
    if (!found?.pid) throw new Error(`No process of ${id} among ${actors.map((actor) => actor.id).join(', ')}`)
    return found.pid
  }
  return {
    dir,
    state,
    env: homeEnv,
    start,
    call,
    async prompt(text, args = [], options) {
      return asPromptEnd(await call(['run', '--json', ...args, text], options))
    },
    inspect,
    vmStatus: async () => (await json(['vm', 'status'])) as VmStatus,
    actorPid,
    daemonPid: async () => ((await json(['daemon', 'status'])) as { pid: number }).pid,
    folder(name) {
      const path = join(folders, name)
      mkdirSync(path)
      return path
    },
    copyOf(source, name) {
      const path = join(folders, name)
      cpSync(source, path, { recursive: true })
      return path
    },
    processes,
    async close() {
      processes()
      const stopped = await call(['daemon', 'stop'])
      const left = await leftAfter([...seen.values()], stopMs)
      const log = logTail(state)
      for (const { pid } of left) endProcess(pid)
      const strays = await straysIn(state)
      rmSync(dir, { recursive: true, force: true })
      if (stopped.code !== 0) throw new Error(`daemon stop ended with ${stopped.code}: ${stopped.stderr}\n${log}`)
      if (strays.length > 0)
        throw new Error(`What the actors did is no path of their models, or is not what their machines do:\n${strays.join('\n')}\n${log}`)
      if (left.length > 0) throw new Error(`Left after daemon stop: ${left.map(({ pid, title }) => `${pid} ${title}`).join('\n')}\n${log}`)
    },
  }
}

/** A finished `run --json` with its last event picked out. Throws when that is no `result`. */
/** Steps in the message log that the models do not know, or that the machines do not take again as they were: none, in whatever test. */
async function straysIn(state: string): Promise<string[]> {
  const file = join(state, messageLogName)
  if (!existsSync(file)) return []
  const log = openMessageLog(file, { version: '', readOnly: true })
  try {
    const spans = log.allSpans()
    const results = await conformSpans(log, spans)
    const { divergences, skipped } = await replay(log, spans, actorOf)
    return [
      ...results.flatMap((result) =>
        result.conforms === false ? [`${result.actor}, span ${result.span}, line ${result.n}, ${result.event}: ${result.why}`] : [],
      ),
      ...divergences.map(
        ({ actor, span, n, event }) => `${actor}, span ${span}, line ${n}, ${event}: comes out otherwise when taken again`,
      ),
      // The code of an actor from outside is not ours to have here.
      ...skipped.flatMap(({ actor, span, why }) => (why.startsWith('there is no actor of kind') ? [] : [`${actor}, span ${span}: ${why}`])),
    ]
  } finally {
    log.close()
  }
}

export function asPromptEnd(ended: Ended): PromptEnd {
  const result = ended.events.at(-1)
  if (result?.type !== 'result') throw new Error(`No result last (exit ${ended.code}).\n${ended.story}`)
  const ofType = (type: string) => ended.events.filter((event) => event.type === type)
  return { ...ended, result, calls: ofType('tool_call'), results: ofType('tool_result') }
}

/** This process's environment without what would change the product's behaviour or that of Node. */
function neutralEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(ANTHROPIC_|BULKHEAD_|VITEST|NODE_(?!COMPILE_CACHE$)|TEST$|DEV$|PROD$|MODE$)/.test(name),
    ),
  )
}

function logTail(state: string): string {
  const logs = existsSync(state) ? readdirSync(state, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.log')) : []
  return logs.map((name) => `${name}:\n${readFileSync(join(state, name), 'utf8').slice(-3000)}`).join('\n')
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
