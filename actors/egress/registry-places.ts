/** Where the package managers of this machine keep their configuration. Also what egress's process may read of the disk. */
import type { Form, Manager } from './registries.ts'

export type Place = { manager: Manager; form: Form; path: string }

const npmCode = 'node_modules/@npmcli/config/lib/definitions/definitions.js'
const pipCode = '_internal/models/index.py'
export const aptLists = '/etc/apt/sources.list.d'

/** In the order the managers read them, the member's own first. `userHome`: absolute. */
export function registryPlaces(userHome: string): Place[] {
  const npmrc = [`${userHome}/.npmrc`, '/etc/npmrc', '/usr/etc/npmrc', '/usr/local/etc/npmrc']
  const pip = [`${userHome}/.config/pip/pip.conf`, `${userHome}/.pip/pip.conf`, '/etc/pip.conf', '/etc/xdg/pip/pip.conf']
  const npmHomes = [
    '/usr/lib/node_modules/npm',
    '/usr/local/lib/node_modules/npm',
    '/usr/share/nodejs/npm',
    '/opt/homebrew/lib/node_modules/npm',
  ]
  const pipHomes = ['/usr/lib/python3/dist-packages/pip', '/usr/local/lib/python3/dist-packages/pip']
  return [
    ...npmrc.map((path): Place => ({ manager: 'npm', form: 'npmrc', path })),
    ...pip.map((path): Place => ({ manager: 'pip', form: 'pip.conf', path })),
    { manager: 'apt', form: 'sources.list', path: '/etc/apt/sources.list' },
    { manager: 'cargo', form: 'cargo', path: `${userHome}/.cargo/config.toml` },
    { manager: 'cargo', form: 'cargo', path: `${userHome}/.cargo/config` },
    ...npmHomes.map((home): Place => ({ manager: 'npm', form: 'npm-code', path: `${home}/${npmCode}` })),
    ...pipHomes.map((home): Place => ({ manager: 'pip', form: 'pip-code', path: `${home}/${pipCode}` })),
  ]
}

/** What the process has to be allowed to read. */
export function registryPaths(userHome: string): string[] {
  return [...registryPlaces(userHome).map(({ path }) => path), `${aptLists}/`]
}
