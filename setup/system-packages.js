import { existsSync, readdirSync } from 'node:fs'
import { findCommand } from './find-command.js'
import { SetupFailure } from './failure.js'
import { otherPlatforms, systemPackages, testPackages } from './requirements.js'
import { fingerprint } from './stamp.js'

/**
 * @typedef {(command: readonly string[], options?: import('./run-command.js').CommandOptions) => Promise<import('./run-command.js').CommandResult>} Run
 */

/** Another apt or dpkg may be at work, for example unattended upgrades. */
const aptOptions = ['-y', '-q', '-o', 'DPkg::Lock::Timeout=600', '-o', 'Dpkg::Use-Pty=0', '-o', 'Dpkg::Options::=--force-confold']

export function systemFingerprint() {
  return fingerprint(
    systemPackages()
      .map(({ name }) => name)
      .join(' '),
  )
}

/** @param {boolean} tests whether `npm test` is to run */
const wantedPackages = (tests) => (tests ? [...systemPackages(), ...testPackages] : systemPackages())

/**
 * The packages that do not show: a few file system look-ups.
 * @param {NodeJS.ProcessEnv} env
 * @param {boolean} [tests] whether `npm test` is to run
 */
export function missingSystemPackages(env, tests = false) {
  return wantedPackages(tests).filter((wanted) => whereShown(wanted, env) === null)
}

/**
 * The file by which a package shows, or null.
 * @param {import('./requirements.js').SystemPackage} wanted
 * @param {NodeJS.ProcessEnv} env
 */
export function whereShown({ shows }, env) {
  return 'command' in shows ? findCommand(shows.command, env) : (shows.anyFile.find((path) => existsSync(path)) ?? null)
}

/**
 * Installs what is missing through apt-get.
 * @param {{ env: NodeJS.ProcessEnv, progress: import('./progress.js').StepProgress, run: Run, mayAskPassword: boolean, tests: boolean }} step
 */
export async function installSystemPackages({ env, progress, run, mayAskPassword, tests }) {
  const missing = await unconfiguredPackages(env, run, tests)
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name)
  const command = `apt-get install --no-install-recommends ${names.join(' ')}`
  if (process.platform !== 'linux' || !findCommand('apt-get', env)) {
    throw new SetupFailure('The programs that the workspace needs are not installed.', {
      cause: `Missing: ${missing.map(({ name, why }) => `${name} (${why})`).join(', ')}.`,
      remedy:
        process.platform === 'linux'
          ? `${otherPlatforms.linux}: ${names.join(', ')}.`
          : (otherPlatforms[process.platform] ?? 'The workspace is not available on this platform.'),
    })
  }
  const root = await rootPrefix(env, run, mayAskPassword)
  if (!root) {
    throw new SetupFailure('The Debian packages that the workspace needs are not installed.', {
      cause: `Missing: ${names.join(', ')}. This user is not root, and sudo is absent or wants a password nobody can type here.`,
      remedy: `As root: ${command}`,
    })
  }
  const aptGet = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_MODE=l', 'LC_ALL=C.UTF-8', 'apt-get', ...aptOptions]
  const onLine = (/** @type {string} */ line) => progress.detail(line.slice(0, 100))
  await finishInterruptedDpkg(root, run, onLine)
  const install = [...aptGet, 'install', '--no-install-recommends', ...names]
  let result = null
  if (packageListsPresent()) {
    progress.phase(`apt-get install ${names.join(' ')}`)
    result = await run(install, { env, onLine })
  }
  if (result === null || (result.code !== 0 && listsAreStale(result.tail))) {
    progress.phase('apt-get update')
    const update = await run([...aptGet, 'update'], { env, onLine })
    if (update.code !== 0) throw aptFailure('The package lists could not be fetched.', 'apt-get update', update)
    progress.phase(`apt-get install ${names.join(' ')}`)
    result = await run(install, { env, onLine })
  }
  if (result.code !== 0) throw aptFailure('The Debian packages could not be installed.', command, result)
}

/**
 * Packages that do not show, and those dpkg has begun but not finished.
 * @param {NodeJS.ProcessEnv} env
 * @param {Run} run
 * @param {boolean} tests
 */
async function unconfiguredPackages(env, run, tests) {
  const missing = missingSystemPackages(env, tests)
  const wanted = wantedPackages(tests)
  if (!findCommand('dpkg-query', env)) return missing
  /** @type {string[]} */
  const lines = []
  await run(['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\\n', ...wanted.map(({ name }) => name)], {
    env,
    onLine: (line) => lines.push(line),
  })
  const unfinished = new Set(
    lines.filter((line) => /^\S+ (half-installed|half-configured|unpacked|triggers-\S+)$/.test(line)).map((line) => line.split(' ')[0]),
  )
  return wanted.filter((item) => missing.some(({ name }) => name === item.name) || unfinished.has(item.name))
}

/**
 * What to put before a command so that it runs as root, or null.
 * @param {NodeJS.ProcessEnv} env
 * @param {Run} run
 * @param {boolean} mayAskPassword whether sudo was given a chance to ask before the step began
 * @returns {Promise<string[] | null>}
 */
async function rootPrefix(env, run, mayAskPassword) {
  if (process.getuid?.() === 0) return []
  const sudo = findCommand('sudo', env)
  if (!sudo) return null
  const without = await run([sudo, '-n', 'true'], { env })
  if (without.code === 0) return [sudo, '-n']
  return mayAskPassword ? [sudo] : null
}

/**
 * An interrupted dpkg refuses everything until this has run.
 * @param {readonly string[]} root
 * @param {Run} run
 * @param {(line: string) => void} onLine
 */
async function finishInterruptedDpkg(root, run, onLine) {
  if (namesIn('/var/lib/dpkg/updates').length === 0) return
  await run([...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'dpkg', '--force-confold', '--configure', '-a'], { onLine })
}

function packageListsPresent() {
  return namesIn('/var/lib/apt/lists').some((name) => name.includes('_Packages'))
}

/** @param {string} folder */
function namesIn(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** @param {readonly string[]} output */
function listsAreStale(output) {
  return /Unable to locate package|has no installation candidate|404 +Not Found|Unable to fetch some archives|Failed to fetch|Unable to correct problems|unmet dependencies/.test(
    output.join('\n'),
  )
}

/**
 * What apt prints, and what to do about it.
 * @type {readonly (readonly [RegExp, string])[]}
 */
const aptRemedies = [
  [
    /Could not get lock|Unable to acquire the dpkg frontend lock/,
    'Another program is installing packages and did not end within ten minutes; wait for it, then run `npm start -- setup`.',
  ],
  [
    /Temporary failure resolving|Could not resolve|Could not connect|Connection timed out|Network is unreachable|Failed to fetch/,
    'Check the network and the package sources in /etc/apt, then run `npm start -- setup`.',
  ],
  [/No space left|enough free space/, 'Free disk space (about 1 GB is needed), then run `npm start -- setup`.'],
  [
    /Unable to locate package|no installation candidate/,
    'The package sources in /etc/apt lack a package (on Ubuntu, enable "universe"); then run `npm start -- setup`.',
  ],
  [
    /NO_PUBKEY|not signed|EXPKEYSIG/,
    'apt does not trust a package source; correct it (apt-get update shows which), then run `npm start -- setup`.',
  ],
  [/dpkg was interrupted/, 'As root: dpkg --configure -a; then run `npm start -- setup`.'],
  [/sudo: /, 'sudo refused; run the command of the message as root.'],
]

/**
 * @param {string} message
 * @param {string} command
 * @param {import('./run-command.js').CommandResult} result
 */
function aptFailure(message, command, { code, tail }) {
  const errors = tail.filter((line) => /^(E|W|Err|dpkg|sudo)\b/.test(line))
  const said = (errors.length > 0 ? errors : tail.slice(-4)).join('\n')
  const cause = `\`${command}\` ended with code ${code}${said ? `:\n${said}` : ' and no message.'}`
  const remedy =
    aptRemedies.find(([pattern]) => pattern.test(tail.join('\n')))?.[1] ??
    `As root, run: ${command}. Its messages say more; they are in .setup/logs/system.log too.`
  return new SetupFailure(message, { cause, remedy })
}
