/**
 * Run in a jail without any of Node's permissions: prints which of what it tried was possible, as JSON. Argument: `{ read, write, list, port,
 * pid }`. Plain JavaScript: a program of the jail's, not of the tests'.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'

/** @type {{ read?: string[]; write?: string[]; list?: string[]; port: number; pid: number }} */
const { read = [], write = [], list = [], port, pid } = JSON.parse(process.argv[2] ?? '')
/** @type {string[]} */
const possible = []

/** @param {string} name @param {() => boolean} action */
function attempt(name, action) {
  try {
    if (action()) possible.push(name)
  } catch {
    // Which is what most attempts are for.
  }
}

for (const path of read) attempt(`read ${path}`, () => readFileSync(path).length > 0)
for (const path of write) attempt(`write ${path}`, () => writeFileSync(path, 'x') === undefined)
for (const path of list) attempt(`list ${path}`, () => Array.isArray(readdirSync(path)))
attempt('signal', () => process.kill(pid, 0))
attempt('see a process outside', () => readFileSync(`/proc/${pid}/stat`).length > 0)
await new Promise((resolve) => {
  connect(port, '127.0.0.1')
    .on('connect', () => resolve(possible.push('connect')))
    .on('error', resolve)
})
process.stdout.write(`${JSON.stringify(possible)}\n`, () => process.exit())
