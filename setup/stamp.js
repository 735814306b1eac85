import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * What set-up has finished in a checkout. A part is written only when its step is done, so an interrupted step is repeated.
 * `postponed` is why the workspace could not be set up, so that it is not tried again at every start.
 * @typedef {{ fault: import('./failure.js').SetupFault, step: string, at: number }} Postponed
 * @typedef {{ npm?: string, page?: string, system?: string, image?: { fingerprint: string, dir: string }, postponed?: Postponed }} Stamp
 */

/** Raise to make every checkout repeat its set-up. */
const setupVersion = 1

/**
 * @param {string} path
 * @returns {Stamp} empty when there is none, or none that can be read
 */
export function readStamp(path) {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8'))
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

/**
 * @param {string} path
 * @param {Stamp} stamp
 */
export function writeStamp(path, stamp) {
  mkdirSync(dirname(path), { recursive: true })
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, `${JSON.stringify(stamp, null, 2)}\n`)
  renameSync(draft, path)
}

/**
 * @param {readonly (string | Buffer)[]} parts
 * @returns {string}
 */
export function fingerprint(...parts) {
  const hash = createHash('sha256').update(`${setupVersion}`)
  for (const part of parts) hash.update(`\0${part.length}\0`).update(part)
  return hash.digest('hex')
}
