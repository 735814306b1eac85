import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SetupFailure } from './failure.js'
import { pinnedNode } from './pinned-node.js'
import { fingerprint } from './stamp.js'

/** Where the page's sources are, and where the daemon looks for what is built of them. */
const source = join('client', 'web')
const built = join('dist', 'web')

/**
 * Sizes and times of the page's sources, and the versions it is built with.
 * @param {string} root
 */
export function pageFingerprint(root) {
  const files = filesIn(join(root, source)).map((path) => {
    const { size, mtimeMs } = statSync(path)
    return `${path} ${size} ${mtimeMs}`
  })
  const { size = 0, mtimeMs = 0 } = statSync(join(root, 'package-lock.json'), { throwIfNoEntry: false }) ?? {}
  return fingerprint(files.join('\n'), `${size} ${mtimeMs}`)
}

/**
 * @param {string | undefined} stamped
 * @param {string} root
 */
export function pageReady(stamped, root) {
  return stamped !== undefined && existsSync(join(root, built, 'index.html')) && stamped === pageFingerprint(root)
}

/**
 * Builds the page with Vite on the pinned Node.
 * @param {{ root: string, env: NodeJS.ProcessEnv, progress: import('./progress.js').StepProgress, run: import('./system-packages.js').Run }} step
 */
export async function buildPage({ root, env, progress, run }) {
  const node = pinnedNode(root)
  if (!node) throw new SetupFailure('There is no Node package for this platform.', { remedy: 'The terminal works without the page.' })
  const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js')
  progress.phase('vite build')
  const { code, tail } = await run([node.path, vite, 'build', '--config', join(root, source, 'vite.config.ts'), '--logLevel', 'warn'], {
    cwd: root,
    env,
    onLine: (line) => progress.detail(line.slice(0, 100)),
  })
  if (code === 0) return
  throw new SetupFailure('The page could not be built.', {
    cause: `Vite ended with code ${code}:\n${tail.slice(-12).join('\n')}`,
    remedy: 'The terminal works without it. See the cause and .setup/logs/page.log, then run `npm start -- setup`.',
  })
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesIn(folder) {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : []
  return entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : [])).toSorted()
}
