import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * A process told apart from any later one that gets the same pid.
 * @typedef {{ pid: number, started: string }} ProcessIdentity
 */

/**
 * @param {number} pid
 * @returns {ProcessIdentity | null} null when there is no such process
 */
export function identify(pid) {
  if (process.platform === 'linux') {
    const stat = readStat(pid)
    return stat && { pid, started: stat.started }
  }
  try {
    process.kill(pid, 0)
  } catch (thrown) {
    if (/** @type {NodeJS.ErrnoException} */ (thrown).code !== 'EPERM') return null
  }
  if (process.platform === 'win32') return { pid, started: 'unknown' }
  const ps = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' })
  return { pid, started: ps.stdout?.trim() || 'unknown' }
}

/**
 * Whether exactly this process still runs.
 * @param {ProcessIdentity} identity
 */
export function isAlive(identity) {
  return identify(identity.pid)?.started === identity.started
}

/**
 * Signals exactly this process. False when it does not run any more; one that ends meanwhile is no error.
 * @param {ProcessIdentity} identity
 * @param {NodeJS.Signals} signal
 */
export function signalProcess(identity, signal) {
  if (!isAlive(identity)) return false
  try {
    return process.kill(identity.pid, signal)
  } catch (thrown) {
    if (/** @type {NodeJS.ErrnoException} */ (thrown).code === 'ESRCH') return false
    throw thrown
  }
}

/**
 * Start time in clock ticks since boot: field 22, counted from behind the command name, which may contain anything. Two
 * boots may repeat a pid and a start tick, so the boot is part of it. A zombie counts as gone.
 * @param {number} pid
 */
function readStat(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return null
    return { started: `${fields[19]}@${bootId()}` }
  } catch {
    return null
  }
}

function bootId() {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return 'unknown'
  }
}
