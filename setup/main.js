import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { ensureReady } from './ensure.js'
import { asSetupFault, faultText } from './failure.js'
import { findCommand } from './find-command.js'
import { launch } from './launch.js'
import { checkout } from './places.js'
import { createProgress } from './progress.js'
import { missingSystemPackages } from './system-packages.js'

const exitFailed = 3
const exitInterrupted = 130

/** What starts the workspace. Everything else must not wait for its set-up, least of all the verbs that explain what is wrong. */
const withWorkspace = [['run'], ['vm', 'start'], ['vm', 'restart'], ['daemon', 'start'], ['web'], ['acp']]

/** What shows the page, or its address. */
const withPage = [['daemon', 'start'], ['web']]
const aboutItself = ['help', '--help', '-h', 'version', '--version', '-v']

/**
 * @param {readonly string[]} args
 * @param {readonly (readonly string[])[]} verbs
 */
function isOneOf(args, verbs) {
  if (args.some((arg) => aboutItself.includes(arg))) return false
  // Without a verb it is the conversation in the terminal, which needs everything.
  const conversation = args[0] === undefined || args[0].startsWith('-')
  return conversation || verbs.some((verb) => verb.every((word, at) => args[at] === word))
}

/**
 * `bulkhead …`: makes ready what the verb needs, then runs the product on the pinned Node.
 * @param {readonly string[]} args
 */
export async function startProduct(args) {
  if (args[0] === 'setup') return setUpOnly(args.slice(1))
  const workspace = process.env.BULKHEAD_VM !== 'off' && isOneOf(args, withWorkspace)
  const page = isOneOf(args, withPage)
  const retry = args[0] === 'vm'
  const ready = await prepare({ workspace, page, retry }, (fault) => {
    if (args[0] === 'run' && args.includes('--json')) process.stdout.write(failedRun(fault))
  })
  if (!ready) return
  if (!ready.workspace.ok) {
    process.stderr.write(`Workspace unavailable: ${faultText(ready.workspace.fault)}\n`)
    process.stderr.write('  Commands cannot be run until then; files and web go on. `npm start -- setup` tries again at once.\n')
  }
  process.exit(await launch(checkout, join(checkout, 'client', 'main.ts'), args))
}

/**
 * `npm test …`
 * @param {readonly string[]} args
 */
export async function startTests(args) {
  const workspace = args[0] !== 'fast'
  const ready = await prepare({ workspace, page: true, tests: workspace, retry: true })
  if (!ready) return
  const fault = ready.workspace.ok ? [] : [`--workspace-fault=${faultText(ready.workspace.fault)}`]
  process.exit(await launch(checkout, join(checkout, 'test', 'run.ts'), [...fault, ...args]))
}

/**
 * `bulkhead setup [--reinstall]`
 * @param {readonly string[]} args
 */
async function setUpOnly(args) {
  const unknown = args.filter((arg) => arg !== '--reinstall')
  if (unknown.length > 0) {
    process.stderr.write(`Usage: bulkhead setup [--reinstall]\n  --reinstall  install the npm packages again even when they are complete\n`)
    process.exitCode = 2
    return
  }
  const ready = await prepare({
    workspace: process.env.BULKHEAD_VM !== 'off',
    page: true,
    again: true,
    reinstall: args.includes('--reinstall'),
  })
  if (!ready) return
  if (ready.workspace.ok) {
    process.stderr.write('Bulkhead is set up.\n')
    return
  }
  process.stderr.write(`Everything but the workspace is set up.\n${faultText(ready.workspace.fault)}\n`)
  process.exitCode = exitFailed
}

/**
 * Set-up as a person meets it: progress on stderr, Ctrl-C ends it tidily, and an essential part that fails ends the process.
 * @param {{ workspace: boolean, page: boolean, tests?: boolean, again?: boolean, retry?: boolean, reinstall?: boolean }} wanted
 * @param {(fault: import('./failure.js').SetupFault) => void} [onFailure]
 * @returns {Promise<import('./ensure.js').Readiness | null>} null when it failed; the exit code is set then
 */
async function prepare(wanted, onFailure) {
  const interruption = new AbortController()
  // The second signal finds no handler and ends this process at once; the next start takes over the lock.
  const interrupt = () => {
    process.stderr.write('set-up: stopping …\n')
    interruption.abort()
  }
  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.once(name, interrupt)
  try {
    return await ensureReady({
      root: checkout,
      env: process.env,
      progress: createProgress(process.stderr),
      mayAskPassword: wanted.workspace && askPassword(wanted.tests === true),
      signal: interruption.signal,
      ...wanted,
    })
  } catch (thrown) {
    if (interruption.signal.aborted) {
      process.exitCode = exitInterrupted
      return null
    }
    const fault = asSetupFault(thrown, 'Set-up')
    process.stderr.write(`Bulkhead could not be set up: ${faultText(fault)}\n`)
    onFailure?.(fault)
    process.exitCode = exitFailed
    return null
  } finally {
    for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.off(name, interrupt)
  }
}

/**
 * Lets sudo ask for a password before the live progress lines begin, when packages are missing and someone can type it.
 * @param {boolean} tests whether `npm test` is to run
 * @returns {boolean} whether sudo may be used without `-n` from here on
 */
function askPassword(tests) {
  const sudo = findCommand('sudo', process.env)
  if (process.getuid?.() === 0 || !sudo || !process.stdin.isTTY || !process.stderr.isTTY) return false
  if (missingSystemPackages(process.env, tests).length === 0) return false
  process.stderr.write('set-up: Debian packages are missing; sudo may ask for your password to install them.\n')
  return spawnSync(sudo, ['-v'], { stdio: ['inherit', 2, 2] }).status === 0
}

/**
 * `run --json` promises a result as its last line, whatever happens.
 * @param {import('./failure.js').SetupFault} fault
 */
function failedRun(fault) {
  const ts = new Date().toISOString()
  const events = [
    { seq: 1, ts, type: 'error', error: fault },
    { seq: 2, ts, type: 'result', status: 'failed', text: '', toolCalls: 0, error: fault },
  ]
  return events.map((event) => `${JSON.stringify(event)}\n`).join('')
}
