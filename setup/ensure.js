import { join } from 'node:path'
import { asSetupFault, faultText } from './failure.js'
import { acquireLock } from './lock.js'
import { installNpmPackages, npmFingerprint, npmPackagesComplete } from './npm-packages.js'
import { buildPage, pageFingerprint, pageReady } from './page.js'
import { setupPlaces } from './places.js'
import { runCommand } from './run-command.js'
import { readStamp, writeStamp } from './stamp.js'
import { installSystemPackages, missingSystemPackages, systemFingerprint } from './system-packages.js'
import { buildVmImage, imageFingerprint, imageReady } from './vm-image.js'

/**
 * @typedef {'npm' | 'page' | 'system' | 'image'} Part
 * @typedef {{
 *   root: string,
 *   env: NodeJS.ProcessEnv,
 *   progress: import('./progress.js').Progress,
 *   workspace: boolean,
 *   page?: boolean,
 *   tests?: boolean,
 *   again?: boolean,
 *   retry?: boolean,
 *   reinstall?: boolean,
 *   mayAskPassword?: boolean,
 *   signal?: AbortSignal,
 * }} SetupRequest `workspace`: whether the VM's parts are wanted; `page`: whether the page is; `tests`: whether what the tests use is; `again`: check every part, whatever the stamp says;
 *   `retry`: do not wait after an earlier failure;
 *   `reinstall`: install the npm packages even when they are complete.
 * @typedef {{ workspace: { ok: true } | { ok: false, fault: import('./failure.js').SetupFault } }} Readiness
 */

/** How long a failed workspace set-up is not tried again by itself: a start should not wait for the same dead network each time. */
const postponeMs = 10 * 60_000

const titles = { npm: 'npm packages', page: 'page', system: 'Debian packages', image: 'workspace image' }

/**
 * Makes the checkout ready: a few file look-ups when it is, otherwise the missing steps, one set-up at a time.
 * @param {SetupRequest} request
 * @returns {Promise<Readiness>}
 * @throws {import('./failure.js').SetupFailure} when the npm packages cannot be installed; a workspace that cannot be set up is a result
 */
export async function ensureReady(request) {
  const places = setupPlaces(request.root)
  const before = assess(request, readStamp(places.stamp))
  if (before.parts.length === 0) return before.readiness
  let told = ''
  const lock = await acquireLock(places.lock, {
    ...(request.signal ? { signal: request.signal } : {}),
    onWait(holder) {
      const who =
        holder.child && holder.child.pid !== holder.owner.pid
          ? `${holder.step}: ${holder.child.name}, pid ${holder.child.pid}`
          : holder.step
      const text = `set-up: waiting for another set-up of this checkout (pid ${holder.owner.pid}, ${who})`
      if (text !== told) request.progress.note(text)
      told = text
    },
  })
  try {
    return await completeParts(request, lock)
  } finally {
    lock.release()
  }
}

/**
 * What is missing, by the stamp and cheap look-ups.
 * @param {SetupRequest} request
 * @param {import('./stamp.js').Stamp} stamp
 * @returns {{ parts: Part[], readiness: Readiness }}
 */
function assess({ root, env, workspace, page = false, tests = false, again = false, retry = again }, stamp) {
  /** @type {Part[]} */
  const parts = []
  if (again || stamp.npm === undefined || stamp.npm !== npmFingerprint(root)) parts.push('npm')
  if (page && (again || !pageReady(stamp.page, root))) parts.push('page')
  if (!workspace) return { parts, readiness: { workspace: { ok: true } } }
  const postponed = lastFailure(stamp, env, tests)
  if (postponed && !retry && Date.now() - postponed.at < postponeMs)
    return { parts, readiness: { workspace: { ok: false, fault: postponed.fault } } }
  if (again || stamp.system !== systemFingerprint() || missingSystemPackages(env, tests).length > 0) parts.push('system')
  if (again || !imageReady(stamp.image, root, env)) parts.push('image')
  return { parts, readiness: { workspace: { ok: true } } }
}

/**
 * Why set-up last gave up on the workspace. Packages that somebody installed since are no reason any more.
 * @param {import('./stamp.js').Stamp} stamp
 * @param {NodeJS.ProcessEnv} env
 * @param {boolean} [tests] whether `npm test` is to run
 * @returns {import('./stamp.js').Postponed | undefined}
 */
export function lastFailure({ postponed }, env, tests = false) {
  return postponed?.step === 'system' && missingSystemPackages(env, tests).length === 0 ? undefined : postponed
}

/**
 * Under the lock: looks again, because whoever held it may have done everything, and runs the steps that are left.
 * @param {SetupRequest} request
 * @param {import('./lock.js').SetupLock} lock
 * @returns {Promise<Readiness>}
 */
async function completeParts(request, lock) {
  const places = setupPlaces(request.root)
  const { parts, readiness } = assess(request, readStamp(places.stamp))
  if (parts.includes('npm')) await inStep(request, lock, 'npm', (step) => completeNpm(request, step))
  if (parts.includes('page')) await pageOrWord(request, lock)
  /** @type {Part | null} */
  let running = null
  try {
    for (const part of parts) {
      if (part === 'npm' || part === 'page') continue
      running = part
      await inStep(request, lock, part, (step) => (part === 'system' ? completeSystem(request, step) : completeImage(request, step)))
    }
  } catch (thrown) {
    request.signal?.throwIfAborted()
    const fault = asSetupFault(thrown, titles[running ?? 'image'])
    change(request, { postponed: { fault, step: running ?? 'image', at: Date.now() } })
    return { workspace: { ok: false, fault } }
  }
  if (running) change(request, { postponed: undefined })
  return readiness
}

/**
 * @typedef {{ progress: import('./progress.js').StepProgress, run: import('./system-packages.js').Run }} StepTools
 * @param {SetupRequest} request
 * @param {import('./lock.js').SetupLock} lock
 * @param {Part} part
 * @param {(step: StepTools) => Promise<string | undefined>} work resolves to what was done
 */
async function inStep(request, lock, part, work) {
  const title = titles[part]
  const progress = request.progress.step(title)
  const log = join(setupPlaces(request.root).logs, `${part}.log`)
  lock.note({ step: title })
  try {
    const text = await work({
      progress,
      run: async (command, options = {}) => {
        const result = await runCommand(command, {
          log,
          interactive: request.mayAskPassword === true,
          ...(request.signal ? { signal: request.signal } : {}),
          ...options,
          onStart: (pid) => lock.note({ child: { pid, name: command[0] ?? '' } }),
        })
        lock.note({ child: null })
        request.signal?.throwIfAborted()
        return result
      },
    })
    progress.done(text)
  } catch (thrown) {
    const fault = asSetupFault(thrown, title)
    // Whoever asked tells the whole of the others'; without the page everything goes on, and nobody else says a word.
    const text = part === 'page' ? faultText(fault) : `${fault.message} [${fault.code}]`
    progress.fail(request.signal?.aborted ? 'interrupted; it is resumed at the next start' : text)
    throw thrown
  }
}

/**
 * @param {SetupRequest} request
 * @param {StepTools} step
 */
async function completeNpm(request, step) {
  const { root, env } = request
  const complete = !request.reinstall && npmPackagesComplete(root)
  if (!complete) {
    change(request, { npm: undefined })
    await installNpmPackages({ root, env, ...step })
  }
  change(request, { npm: npmFingerprint(root) ?? undefined })
  return complete ? 'complete' : 'installed'
}

/**
 * The page is one of several clients: when it cannot be built, its step has said why, and everything else goes on.
 * @param {SetupRequest} request
 * @param {import('./lock.js').SetupLock} lock
 */
async function pageOrWord(request, lock) {
  try {
    await inStep(request, lock, 'page', (step) => completePage(request, step))
  } catch {
    request.signal?.throwIfAborted()
  }
}

/**
 * @param {SetupRequest} request
 * @param {StepTools} step
 */
async function completePage(request, step) {
  const { root, env } = request
  const fingerprint = pageFingerprint(root)
  await buildPage({ root, env, ...step })
  change(request, { page: fingerprint })
  return 'built'
}

/**
 * @param {SetupRequest} request
 * @param {StepTools} step
 */
async function completeSystem(request, step) {
  const { tests = false } = request
  await installSystemPackages({ env: request.env, ...step, mayAskPassword: request.mayAskPassword === true, tests })
  const missing = missingSystemPackages(request.env, tests).map(({ name }) => name)
  if (missing.length > 0) throw new Error(`apt-get ended without an error, but these do not show: ${missing.join(', ')}`)
  change(request, { system: systemFingerprint() })
  return 'installed'
}

/**
 * @param {SetupRequest} request
 * @param {StepTools} step
 */
async function completeImage(request, step) {
  const { root, env } = request
  const dir = await buildVmImage({ root, env, ...step })
  change(request, { image: { fingerprint: imageFingerprint(root, env), dir } })
  return 'ready'
}

/**
 * @param {SetupRequest} request
 * @param {Partial<{ [K in keyof import('./stamp.js').Stamp]: import('./stamp.js').Stamp[K] | undefined }>} part `undefined` removes
 */
function change({ root }, part) {
  const { stamp } = setupPlaces(root)
  writeStamp(stamp, /** @type {import('./stamp.js').Stamp} */ ({ ...readStamp(stamp), ...part }))
}
