import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SetupFailure } from './failure.js'
import { pinnedNode } from './pinned-node.js'
import { imagePlace } from './places.js'
import { fingerprint } from './stamp.js'

/** What the image is made by; a change in any of them means asking the builder whether it has to be built again. */
const recipe = { folders: [join('guest', 'image')], files: /^image.*\.ts$/, filesIn: join('actors', 'vm-supervisor') }

/**
 * Sizes and times of the recipe's files, and where images are kept.
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 */
export function imageFingerprint(root, env) {
  const paths = recipe.folders.flatMap((folder) => filesUnder(join(root, folder)))
  for (const name of namesIn(join(root, recipe.filesIn))) if (recipe.files.test(name)) paths.push(join(root, recipe.filesIn, name))
  const stats = paths.toSorted().map((path) => {
    const { size, mtimeMs } = statSync(path)
    return `${path} ${size} ${mtimeMs}`
  })
  return fingerprint(imagePlace(env), env.BULKHEAD_IMAGE_PROFILE ?? '', stats.join('\n'))
}

/**
 * @param {{ fingerprint: string, dir: string } | undefined} stamped
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 */
export function imageReady(stamped, root, env) {
  return stamped !== undefined && existsSync(join(stamped.dir, 'manifest.json')) && stamped.fingerprint === imageFingerprint(root, env)
}

/**
 * Builds the workspace image, or finds that it is there, by running `setup/image.ts` on the pinned Node.
 * @param {{ root: string, env: NodeJS.ProcessEnv, progress: import('./progress.js').StepProgress, run: import('./system-packages.js').Run }} step
 * @returns {Promise<string>} the image's folder
 */
export async function buildVmImage({ root, env, progress, run }) {
  const node = pinnedNode(root)
  if (!node)
    throw new SetupFailure('There is no Node package for this platform.', {
      code: 'image-failed',
      remedy: 'The workspace is not available here.',
    })
  /** @type {string | null} */
  let dir = null
  /** @type {import('./failure.js').SetupFault | null} */
  let fault = null
  const result = await run([node.path, join(root, 'setup', 'image.ts')], {
    cwd: root,
    env,
    onLine(line) {
      const report = parseReport(line)
      if (report === null) progress.detail(line.slice(0, 100))
      else if (report.type === 'progress') showProgress(progress, report)
      else if (report.type === 'done') dir = report.dir
      else fault = report.fault
    },
  })
  if (dir !== null && result.code === 0) return dir
  throw imageFailure(fault, result)
}

/** What the builder's steps are, in words. */
const phases = /** @type {Record<string, string>} */ ({
  wait: 'waiting for another builder',
  download: 'fetching Debian packages',
  root: 'making the root file system',
  kernel: 'making kernel and initrd',
  finish: 'checking',
})

/**
 * @param {import('./progress.js').StepProgress} progress
 * @param {{ step: string, detail: string, fraction?: number }} report
 */
function showProgress(progress, { step, detail, fraction }) {
  progress.phase(phases[step] ?? step)
  progress.detail(fraction === undefined ? detail : `${detail} ${Math.round(fraction * 100)} %`)
}

/**
 * @typedef {{ type: 'progress', step: string, detail: string, fraction?: number } | { type: 'done', dir: string }
 *   | { type: 'failed', fault: import('./failure.js').SetupFault }} ImageReport One line of what `setup/image.ts` prints.
 * @param {string} line
 * @returns {ImageReport | null} null for a line some program printed
 */
function parseReport(line) {
  if (!line.startsWith('{"type":')) return null
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}

/**
 * @param {import('./failure.js').SetupFault | null} fault
 * @param {import('./run-command.js').CommandResult} result
 */
function imageFailure(fault, { code, tail }) {
  if (fault) return new SetupFailure(fault.message, fault)
  return new SetupFailure('The workspace image could not be built.', {
    code: 'image-failed',
    cause: `The builder ended with code ${code}:\n${tail.slice(-12).join('\n')}`,
    remedy: 'See the cause and .setup/logs/image.log, then run `npm start -- setup`.',
  })
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesUnder(folder) {
  return namesIn(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? filesUnder(path) : [path]
  })
}

/** @param {string} folder */
function namesIn(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
