import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout this file belongs to. */
export const checkout = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '')

/**
 * Where set-up keeps its notes about a checkout. Outside node_modules, which `npm ci` empties.
 * @param {string} root
 */
export function setupPlaces(root) {
  const dir = join(root, '.setup')
  return { dir, stamp: join(dir, 'stamp.json'), lock: join(dir, 'lock'), logs: join(dir, 'logs') }
}

/**
 * Where Node keeps the compiled code of earlier starts: this for what a person starts, one beside it for each kind of actor.
 * @param {NodeJS.ProcessEnv} env
 */
export function codeCachePlace(env) {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'bulkhead', 'code', 'bulkhead')
}

/**
 * Where workspace images are kept, shared by all checkouts of a user.
 * @param {NodeJS.ProcessEnv} env
 */
export function imagePlace(env) {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'bulkhead', 'images')
}
