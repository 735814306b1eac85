/**
 * What a process can really do, tried from inside after lock-down; `bulkhead inspect` reports it. Each attempt is one that does nothing when
 * it is allowed: it names a place nobody is granted, a socket and a program that are not there.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, constants, existsSync, openSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { Worker } from 'node:worker_threads'

/** True: it could. */
export type Facts = Record<string, boolean>

/** The root folder is in no manifest. */
const outside = '/'
/** On every Linux, in no manifest and worth nothing to anybody. Node lets an actor see it while it loads: what hides it is the jail. */
export const hostFile = '/sys/devices/system/cpu/online'

/** `host` and `signal` are what no permission of Node's is about, nor `interfaces`, those of the network besides loopback: the jail takes them. */
export async function attemptAll(): Promise<Facts> {
  return {
    'fs.read': allowed(() => readdirSync(outside)),
    'fs.write': allowed(() => closeSync(openSync(outside, constants.O_WRONLY))),
    net: await connects(),
    child: allowed(() => spawnSync('/nonexistent/program')),
    worker: allowed(() => new Worker('process.exit()', { eval: true, stdout: true, stderr: true }).unref()),
    wasi: process.permission.has('wasi'),
    // bwrap tells where it stands.
    env: Object.keys(process.env).some((name) => name !== 'PWD'),
    signal: signals(),
    host: existsSync(hostFile),
    interfaces: Object.values(networkInterfaces()).some((list) => list?.some(({ internal }) => !internal)),
  }
}

function allowed(attempt: () => unknown): boolean {
  try {
    attempt()
    return true
  } catch (error) {
    return codeOf(error) !== 'ERR_ACCESS_DENIED'
  }
}

/** Node's permission for the network covers local sockets as well; trying one of those says so at once, whatever firewalls do. */
function connects(): Promise<boolean> {
  return new Promise((resolve) => {
    try {
      const socket = connect('/nonexistent/socket')
      socket.on('error', (error) => resolve(codeOf(error) !== 'ERR_ACCESS_DENIED'))
    } catch (error) {
      resolve(codeOf(error) !== 'ERR_ACCESS_DENIED')
    }
  })
}

/** Whether it may signal whoever started it: Node's permissions do not cover that, a process namespace does. */
function signals(): boolean {
  try {
    return process.ppid > 0 && process.kill(process.ppid, 0)
  } catch {
    return false
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? ''
}
