import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findCommand } from './find-command.js'
import { SetupFailure } from './failure.js'
import { pinnedNode } from './pinned-node.js'
import { fingerprint } from './stamp.js'

/** npm's own record of what it finished installing; it is written last. */
const npmRecord = join('node_modules', '.package-lock.json')

/**
 * Changes whenever the lock file, the platform or npm's record of what is installed changes.
 * @param {string} root
 * @returns {string | null} null when something is missing for certain
 */
export function npmFingerprint(root) {
  const node = pinnedNode(root)
  const record = statSync(join(root, npmRecord), { throwIfNoEntry: false })
  if (!node?.present || !record) return null
  return fingerprint(readFileSync(join(root, 'package-lock.json')), node.package, `${record.mtimeMs} ${record.size}`)
}

/**
 * Whether what is installed is what the lock file says. True as well when someone ran npm themselves.
 * @param {string} root
 */
export function npmPackagesComplete(root) {
  const node = pinnedNode(root)
  if (!node?.present) return false
  try {
    const locked = readPackages(join(root, 'package-lock.json'))
    const installed = readPackages(join(root, npmRecord))
    for (const [path, entry] of Object.entries(locked)) {
      if (path === '' || (entry.optional && !installed[path])) continue
      if (installed[path]?.version !== entry.version || !existsSync(join(root, path, 'package.json'))) return false
    }
    return Object.keys(installed).every((path) => locked[path])
  } catch {
    return false
  }
}

/**
 * Installs exactly what the lock file says. `npm ci` begins by emptying node_modules, so repeating it after an interruption is safe.
 * @param {{
 *   root: string,
 *   env: NodeJS.ProcessEnv,
 *   progress: import('./progress.js').StepProgress,
 *   run: (command: readonly string[], options: import('./run-command.js').CommandOptions) => Promise<import('./run-command.js').CommandResult>,
 * }} step
 */
export async function installNpmPackages({ root, env, progress, run }) {
  if (!pinnedNode(root)) {
    throw new SetupFailure(`There is no Node package for ${process.platform} on ${process.arch}.`, {
      remedy: 'Bulkhead runs on Linux, macOS (both on x64 and arm64) and Windows (x64).',
    })
  }
  const npm = npmCommand(env)
  if (!npm) {
    throw new SetupFailure('npm is not installed.', {
      cause: 'Neither PATH nor the folder of this Node has npm.',
      remedy: 'Install it (on Debian and Ubuntu: apt-get install npm), then start again.',
    })
  }
  rmSync(join(root, npmRecord), { force: true })
  const total = Object.keys(readPackages(join(root, 'package-lock.json'))).length
  let fetched = 0
  progress.phase('npm ci')
  const result = await run([...npm, 'ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=http'], {
    cwd: root,
    env,
    // npm finishes what it is at before it heeds a signal, and a half-done installation is repeated anyway.
    killAfterMs: 1000,
    onLine(line) {
      if (line.startsWith('npm http fetch')) progress.detail(`${Math.min(++fetched, total)} of at most ${total} packages`)
    },
  })
  if (result.code !== 0) throw npmFailure(result)
  if (!pinnedNode(root)?.present) {
    throw new SetupFailure('npm did not install the Node that Bulkhead runs on.', {
      cause: `npm ended without an error, but node_modules/${pinnedNode(root)?.package} is missing; it is an optional dependency, which npm leaves out silently when it cannot be fetched.`,
      remedy:
        'Check that npm can reach its registry (npm ping) and does not omit optional packages (npm config get omit), then run `npm start -- setup`.',
    })
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {string[] | null}
 */
function npmCommand(env) {
  const beside = [join('..', 'lib', 'node_modules'), 'node_modules'].map((modules) =>
    join(dirname(process.execPath), modules, 'npm', 'bin', 'npm-cli.js'),
  )
  const onPath = process.platform === 'win32' ? null : findCommand('npm', env)
  if (onPath) return [onPath]
  const script = [env.npm_execpath, ...beside].find((path) => path?.endsWith('npm-cli.js') && existsSync(path))
  return script ? [process.execPath, script] : null
}

const mostCauseLines = 8

/**
 * What npm prints, and what to do about it.
 * @type {readonly (readonly [RegExp, string])[]}
 */
const npmRemedies = [
  [
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT/,
    'Check the network and the registry npm is configured for (npm ping), then start again; what was fetched is kept.',
  ],
  [
    /CERT|self.signed/i,
    "The registry shows a certificate npm does not trust; set npm's cafile (npm config set cafile FILE), then start again.",
  ],
  [/E401|E403|ENEEDAUTH/, 'The registry npm is configured for refuses; log in (npm login) or configure another, then start again.'],
  [/E404|ETARGET/, 'The registry npm is configured for lacks a package of package-lock.json; configure one that has it, then start again.'],
  [/ENOSPC/, 'Free disk space (about 700 MB are needed), then start again.'],
  [
    /EACCES|EPERM|EROFS/,
    "The checkout or npm's cache cannot be written by this user; correct the owner (npm names the path), then start again.",
  ],
  [
    /EINTEGRITY/,
    'A package differs from what package-lock.json says; run npm cache clean --force, and if it happens again do not trust that registry.',
  ],
  [
    /EUSAGE|in sync/,
    'package.json and package-lock.json disagree; restore them (git checkout package.json package-lock.json) or run npm install.',
  ],
]

/** @param {import('./run-command.js').CommandResult} result */
function npmFailure({ code, tail }) {
  // npm begins with what went wrong and ends with its manual.
  const errors = tail.flatMap((line) => /^npm (?:error|ERR!) (\S.*)$/.exec(line)?.[1] ?? [])
  const said = errors.filter((line) => !line.startsWith('A complete log')).slice(0, mostCauseLines)
  const cause = said.join('\n') || tail.slice(-mostCauseLines).join('\n') || `npm ci ended with code ${code} and no message.`
  const remedy =
    npmRemedies.find(([pattern]) => pattern.test(cause))?.[1] ?? 'See the cause and .setup/logs/npm.log, then run `npm start -- setup`.'
  return new SetupFailure('The npm packages could not be installed.', { cause, remedy })
}

/**
 * @param {string} path
 * @returns {Record<string, { version: string, optional?: boolean }>}
 */
function readPackages(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages
}
