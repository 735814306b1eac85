import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { pinnedNode } from './pinned-node.js'
import { codeCachePlace } from './places.js'

/** Signals a person or a supervisor sends to the process they know, which is this one. */
const forwarded = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'])

/** A terminal sends these to every process of the foreground group itself; passing them on would deliver them twice. */
const sentByTerminal = new Set(['SIGINT', 'SIGQUIT'])

/**
 * Runs a script on the pinned Node in place of this process: same stdio, same environment and a place for compiled code, signals passed on.
 * @param {string} root
 * @param {string} script absolute path
 * @param {readonly string[]} args
 * @returns {Promise<number>} its exit code, 128 + n when signal n ended it
 */
export function launch(root, script, args) {
  const node = pinnedNode(root)
  if (!node) return Promise.reject(new Error(`There is no Node package for ${process.platform} on ${process.arch}.`))
  return new Promise((resolve, reject) => {
    const child = spawn(node.path, [script, ...args], {
      stdio: 'inherit',
      env: { NODE_COMPILE_CACHE: codeCachePlace(process.env), ...process.env },
    })
    for (const name of forwarded) {
      process.on(name, () => {
        if (!(sentByTerminal.has(name) && process.stdin.isTTY)) child.kill(name)
      })
    }
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (signal)]))
  })
}
