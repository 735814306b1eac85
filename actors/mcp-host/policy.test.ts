import { expect, test } from 'vitest'
import { codeRoots } from './definition.ts'
import { toolName } from './catalog.ts'
import { forbidden, modeOf } from './policy.ts'
import { unwrapped } from './plugins.ts'

const signature = (state: 'none' | 'trusted' | 'untrusted') => ({ state, publisher: null, detail: '' })
const local = { name: 's', source: 'settings' as const, bundled: false, signature: null }
const plugin = { ...local, source: 'plugin' as const }
const extension = { ...local, source: 'extension' as const, signature: signature('none') }
const bundled = { ...plugin, bundled: true, signature: signature('trusted') }

test('which key stops what', () => {
  const stops = (policy: object) => [local, plugin, extension, bundled].map((one) => forbidden(one, policy)?.rule ?? null)
  expect(stops({})).toEqual([null, null, null, null])
  const sources = { isLocalDevMcpEnabled: 'here' }
  const localOff = 'isLocalDevMcpEnabled = false (here)'
  expect(stops({ isLocalDevMcpEnabled: false, sources })).toEqual([localOff, localOff, null, localOff])
  const extensionsOff = 'isDesktopExtensionEnabled = false (managed policy)'
  expect(stops({ isDesktopExtensionEnabled: false })).toEqual([null, null, extensionsOff, extensionsOff])
  expect(stops({ isDesktopExtensionSignatureRequired: true })).toEqual([
    null,
    null,
    'isDesktopExtensionSignatureRequired = true (managed policy)',
    null,
  ])
})

test('modes: exact beats pattern, the strictest pattern wins, policy stands above the member', () => {
  const modes = { mcp__a__x: 'allow' } as const
  expect(modeOf('mcp__a__x', {}, modes)).toMatchObject({ mode: 'allow', rule: expect.stringContaining('member') })
  expect(modeOf('mcp__a__y', {}, modes)).toEqual({ mode: 'ask', rule: null })
  const toolPolicy = { 'mcp__a__*': 'ask', '*__x': 'blocked', mcp__b__x: 'allow' } as const
  expect(modeOf('mcp__a__x', { toolPolicy }, modes).mode).toBe('blocked')
  expect(modeOf('mcp__a__y', { toolPolicy }, { mcp__a__y: 'allow' }).mode).toBe('ask')
  expect(modeOf('mcp__b__x', { toolPolicy }, {}).mode).toBe('allow')
  expect(modeOf('mcp__b__xy', { toolPolicy }, {}).mode).toBe('ask')
  expect(modeOf('constructor', { toolPolicy: {} }, {}).mode).toBe('ask')
})

test('names fit the API, and long ones stay apart', () => {
  expect(toolName('my server', 'do.it/now')).toBe('mcp__my_server__do_it_now')
  const [a, b] = ['a', 'b'].map((end) => toolName('server', `${'x'.repeat(80)}${end}`)) as [string, string]
  expect([a.length, b.length, a === b]).toEqual([64, 64, false])
})

test("a server's code is readable, what its other arguments name is not", () => {
  expect(codeRoots('node', ['/p/node_modules/x/i.js', '/data'])).toEqual(['/p/node_modules'])
  expect(codeRoots('/opt/tool/bin/run', ['/data'])).toEqual(['/opt/tool/bin'])
  expect(codeRoots('/usr/bin/python3', ['-u', '/srv/s/main.py'])).toEqual(['/srv/s'])
  expect(codeRoots('node', ['/index.js'])).toEqual([])
})

test('.mcp.json, bare and wrapped', () => {
  const servers = { a: { command: 'x' } }
  expect([unwrapped(servers), unwrapped({ mcpServers: servers })]).toEqual([servers, servers])
})
