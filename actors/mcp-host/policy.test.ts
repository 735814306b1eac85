import { expect, test } from 'vitest'
import { codeRoots } from './definition.ts'
import { defaults, type Values } from '../policy/keys.ts'
import { forbidden, modeOf, policyOf } from './policy.ts'
import { unwrapped } from './plugins.ts'
import { toolName } from './tool-names.ts'

const inForce = (given: Partial<Values> = {}, decidedBy: Record<string, string> = {}) =>
  policyOf({ values: { ...defaults, ...given }, decidedBy, failedClosed: false })

const signature = (state: 'none' | 'trusted' | 'untrusted') => ({ state, publisher: null, detail: '' })
const local = { name: 's', source: 'settings' as const, bundled: false, signature: null }
const plugin = { ...local, source: 'plugin' as const }
const extension = { ...local, source: 'extension' as const, signature: signature('none') }
const bundled = { ...plugin, bundled: true, signature: signature('trusted') }

test('which key stops what', () => {
  const stops = (...policy: Parameters<typeof inForce>) =>
    [local, plugin, extension, bundled].map((one) => forbidden(one, inForce(...policy))?.rule ?? null)
  expect(stops({})).toEqual([null, null, null, null])
  const localOff = 'isLocalDevMcpEnabled = false (here)'
  expect(stops({ isLocalDevMcpEnabled: false }, { isLocalDevMcpEnabled: 'here' })).toEqual([localOff, localOff, null, localOff])
  const extensionsOff = 'isDesktopExtensionEnabled = false (managed policy)'
  expect(stops({ isDesktopExtensionEnabled: false })).toEqual([null, null, extensionsOff, extensionsOff])
  expect(stops({ isDesktopExtensionSignatureRequired: true })).toEqual([
    null,
    null,
    'isDesktopExtensionSignatureRequired = true (managed policy)',
    null,
  ])
})

test("the organization's own servers fall under neither key, and only while it brings them", () => {
  const managed = { ...local, source: 'managed' as const }
  const locked = { isLocalDevMcpEnabled: false, isDesktopExtensionEnabled: false }
  expect(forbidden(managed, inForce({ ...locked, managedMcpServers: [{ name: 's', command: 'x' }] }))).toBeNull()
  expect(forbidden(managed, inForce({}, { managedMcpServers: 'default' }))?.rule).toBe('managedMcpServers (default)')
})

test('modes: exact beats pattern, the strictest pattern wins, policy stands above the member', () => {
  const modes = { mcp__a__x: 'allow' } as const
  expect(modeOf('mcp__a__x', inForce(), modes)).toMatchObject({ mode: 'allow', rule: expect.stringContaining('member') })
  expect(modeOf('mcp__a__y', inForce(), modes)).toEqual({ mode: 'ask', rule: null })
  const managedMcpServers: Values['managedMcpServers'] = [
    { name: 'a', toolPolicy: { '*': 'ask', '*x': 'blocked' } },
    { name: 'b', toolPolicy: { '*x': 'blocked', x: 'allow', '*y': 'ask' } },
  ]
  const policy = inForce({ managedMcpServers })
  expect(modeOf('mcp__a__x', policy, modes).mode).toBe('blocked')
  expect(modeOf('mcp__a__y', policy, { mcp__a__y: 'allow' }).mode).toBe('ask')
  expect(modeOf('mcp__b__x', policy, {}).mode).toBe('allow')
  expect(modeOf('mcp__b__xy', policy, {}).mode).toBe('ask')
  expect(modeOf('constructor', policy, {}).mode).toBe('ask')
})

test('mcpPersistentAlwaysAllowEnabled: what was allowed for good asks again', () => {
  const policy = inForce({ mcpPersistentAlwaysAllowEnabled: false }, { mcpPersistentAlwaysAllowEnabled: 'here' })
  const rule = 'mcpPersistentAlwaysAllowEnabled = false (here)'
  expect(modeOf('mcp__a__x', policy, { mcp__a__x: 'allow' })).toEqual({ mode: 'ask', rule })
  expect(modeOf('mcp__a__x', policy, { mcp__a__x: 'blocked' }).mode).toBe('blocked')
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
