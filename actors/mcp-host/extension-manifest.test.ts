import { expect, test } from 'vitest'
import { checkConfig, type ExtensionManifest, extensionLaunch, extensionManifest, missingConfig } from './extension-manifest.ts'
import { placeOf } from './places.ts'
import { manifestOf } from './testing/bundles.ts'

const place = placeOf({ home: '/h', nodeBinary: '/n/bin/node' })
const parse = (more: object = {}): ExtensionManifest => extensionManifest.parse(manifestOf(more))
const launch = (manifest: ExtensionManifest, given: Record<string, unknown> = {}, platform = 'linux') => {
  const { config, problems } = checkConfig(manifest, given)
  expect(problems).toEqual([])
  return extensionLaunch(manifest, config, { dir: '/x', base: place.launch('x'), network: false, platform })
}
const server = (config: object) => ({ server: { type: 'node', entry_point: 'i.js', mcp_config: { command: 'node', args: [], ...config } } })

test('both generations', () => {
  expect(parse()).toMatchObject({ name: 'Report Maker' })
  const { manifest_version: _, ...first } = manifestOf()
  expect(extensionManifest.parse({ ...first, dxt_version: '0.1', id: 'unknown keys are no reason' })).toMatchObject({ version: '1.2.0' })
  expect(extensionManifest.safeParse(first).success).toBe(false)
})

test('variables: one pass, defaults with places, values taken as they are', () => {
  const user_config = {
    key: { type: 'string', sensitive: true },
    dirs: { type: 'directory', multiple: true },
    docs: { type: 'string', default: '${HOME}/Documents' },
    unset: { type: 'string' },
    loud: { type: 'boolean', default: false },
  }
  const manifest = parse({
    user_config,
    ...server({
      args: ['${__dirname}/i.js', '${user_config.dirs}', '--docs=${user_config.docs}', '${user_config.unset}', '${user_config.loud}'],
      env: { KEY: '${user_config.key}', UNSET: '${user_config.unset}' },
    }),
  })
  expect(launch(manifest, { key: 'se$&cret ${user_config.docs} ${HOME}', dirs: ['/a', '/b'] })).toMatchObject({
    args: ['/x/i.js', '/a', '/b', '--docs=/h/mcp/data/x/Documents', 'false'],
    env: { KEY: 'se$&cret ${user_config.docs} ${HOME}' },
    folders: [
      { path: '/a', mode: 'rw' },
      { path: '/b', mode: 'rw' },
    ],
    code: ['/x'],
  })
})

test('platforms: overrides are merged in, others are refused', () => {
  const manifest = parse(server({ env: { A: '1', B: '1' }, platform_overrides: { win32: { command: 'x.exe', env: { B: '2' } } } }))
  expect(launch(manifest, {}, 'win32')).toMatchObject({ command: 'x.exe', env: { A: '1', B: '2' } })
  expect(launch(manifest)).toMatchObject({ command: 'node', env: { A: '1', B: '1' } })
  expect(() => launch(parse({ compatibility: { platforms: ['darwin'] } }))).toThrow('it is for darwin')
})

test('settings: missing, unknown, of the wrong type', () => {
  const manifest = parse({
    user_config: { n: { type: 'number', required: true, max: 5 }, d: { type: 'directory', required: true, default: '/d' } },
  })
  expect(missingConfig(manifest, {})).toEqual(['n'])
  expect(checkConfig(manifest, { n: '3' })).toEqual({ config: { n: 3 }, problems: [] })
  expect(checkConfig(manifest, { n: '7', d: 'relative', x: '1' }).problems).toEqual([
    'there is no setting x',
    'n must be one number',
    'd must be one directory',
  ])
})
