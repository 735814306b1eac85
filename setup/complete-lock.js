/**
 * `npm run lock`: adds to package-lock.json the builds for other platforms that npm left out.
 *
 * npm leaves an optional package out of the lock file when the registry at hand does not have it, as mirrors often lack the
 * builds for other systems; `npm ci` then calls the same lock file out of step and installs nothing. Version, system and
 * processor follow from the package that names it; the hash is npm's to check against the registry that does have it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from './places.js'

const systems = ['android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']

/**
 * @typedef {{ version?: string, integrity?: string, dev?: boolean, inBundle?: boolean, optional?: boolean, os?: string[], cpu?: string[], libc?: string[],
 *   optionalDependencies?: Record<string, string> }} LockEntry
 * @typedef {Record<string, LockEntry>} LockEntries Keys are paths such as `node_modules/zod`; '' is the checkout itself.
 */

/**
 * Optional packages that locked packages name and the lock file lacks.
 * @param {LockEntries} packages
 * @returns {LockEntries}
 */
export function entriesLeftOut(packages) {
  /** @type {LockEntries} */
  const found = {}
  for (const [path, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (!packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`])
        found[`node_modules/${name}`] = otherBuild(name, version, entry)
    }
  }
  return found
}

/**
 * @param {string} name like `@oxlint/binding-linux-arm64-musl`
 * @param {string} version
 * @param {LockEntry} parent
 * @returns {LockEntry}
 */
function otherBuild(name, version, parent) {
  const words = name.split(/[/-]/)
  const os = systems.find((system) => words.includes(system))
  const cpu = processors.find((processor) => words.includes(processor))
  if ((!os && cpu !== 'wasm32') || !cpu)
    throw new Error(`${name} does not say which platform it is for; run npm install with a registry that has it.`)
  const libc = os === 'linux' && words.some((word) => word.startsWith('musl')) ? { libc: ['musl'] } : {}
  return { version, ...(parent.dev ? { dev: true } : {}), optional: true, ...(os ? { os: [os] } : {}), cpu: [cpu], ...libc }
}

/** @param {string} path of a package-lock.json */
function completeLock(path) {
  const lock = /** @type {{ packages: LockEntries }} */ (JSON.parse(readFileSync(path, 'utf8')))
  const added = entriesLeftOut(lock.packages)
  const packages = Object.entries({ ...lock.packages, ...added }).toSorted(([a], [b]) => a.localeCompare(b, 'en'))
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }, null, 2)}\n`)
  return Object.keys(added)
}

if (import.meta.filename === process.argv[1]) {
  const added = completeLock(join(checkout, 'package-lock.json'))
  process.stderr.write(added.length > 0 ? `Added ${added.length} builds for other platforms.\n` : 'The lock file is complete.\n')
}
