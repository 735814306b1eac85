import { describe, expect, test } from 'vitest'
import { evaluate } from './evaluate.ts'
import { defaults } from './keys.ts'
import type { Source, SourceKind } from './sources.ts'

const variables = { home: '/home/ada', user: 'ada' }
const present = (kind: SourceKind, values: Record<string, unknown>): Source => ({ kind, place: `/${kind}`, state: 'present', values })
const from = (values: Record<string, unknown>) => evaluate([present('managed-file', values)], variables)
const messages = (values: Record<string, unknown>) => from(values).problems.map(({ key, message }) => `${key}: ${message}`)

describe('precedence', () => {
  test('nobody says anything: the defaults', () => {
    const { values, decidedBy, problems } = evaluate([{ kind: 'managed-file', place: '/m', state: 'absent' }], variables)
    expect(values).toEqual(defaults)
    expect(new Set(Object.values(decidedBy))).toEqual(new Set(['default']))
    expect(problems).toEqual([])
  })

  test('a managed source wins as a whole, also for keys it does not have', () => {
    const local = present('local', { isLocalDevMcpEnabled: false, secureVmFeaturesEnabled: false })
    const { values, decidedBy } = evaluate([present('managed-file', { isLocalDevMcpEnabled: true }), local], variables)
    expect(values).toMatchObject({ isLocalDevMcpEnabled: true, secureVmFeaturesEnabled: true })
    expect(decidedBy.isLocalDevMcpEnabled).toBe('managed settings, /managed-file')
    expect(evaluate([present('managed-file', {}), local], variables).values.secureVmFeaturesEnabled).toBe(true)
  })

  test('local settings count when there is no managed source', () => {
    expect(evaluate([present('local', { isLocalDevMcpEnabled: false })], variables)).toMatchObject({
      values: { isLocalDevMcpEnabled: false },
      decidedBy: { isLocalDevMcpEnabled: 'local settings, /local' },
    })
  })

  test('a managed source that cannot be used: nothing applies and local settings are off', () => {
    const sources: Source[] = [
      { kind: 'managed-file', place: '/m', state: 'unreadable', why: '/m can be written by others' },
      present('local', { isLocalDevMcpEnabled: false }),
    ]
    const { values, failedClosed, problems } = evaluate(sources, variables)
    expect(values).toEqual(defaults)
    expect(failedClosed).toBe(true)
    expect(problems[0]?.message).toContain('can be written by others')
  })

  test('local settings that cannot be read are named and change nothing', () => {
    const { failedClosed, problems } = evaluate([{ kind: 'local', place: '/l', state: 'unreadable', why: 'x' }], variables)
    expect({ failedClosed, named: problems.length }).toEqual({ failedClosed: false, named: 1 })
  })

  test('macOS: the profile of the user decides a key before that of the device', () => {
    const { values } = evaluate(
      [
        present('managed-preferences-user', { isLocalDevMcpEnabled: true }),
        present('managed-preferences', { isLocalDevMcpEnabled: false, secureVmFeaturesEnabled: false }),
      ],
      variables,
    )
    expect(values).toMatchObject({ isLocalDevMcpEnabled: true, secureVmFeaturesEnabled: false })
  })

  test('Windows: with a machine policy the user policy is not looked at', () => {
    const user = present('user-registry', { secureVmFeaturesEnabled: 0 })
    expect(evaluate([present('machine-registry', { isLocalDevMcpEnabled: 0 }), user], variables).values).toMatchObject({
      isLocalDevMcpEnabled: false,
      secureVmFeaturesEnabled: true,
    })
    expect(evaluate([user], variables).values.secureVmFeaturesEnabled).toBe(false)
  })
})

describe('a wrong key is named and ignored alone', () => {
  test('wrong type, unknown key, wrong case', () => {
    const { values, problems } = from({
      isLocalDevMcpEnabled: 'perhaps',
      secureVmFeaturesEnabled: false,
      nonsense: 1,
      issecurevmfeaturesenabled: 1,
      otlpendpoint: 1,
    })
    expect(values).toMatchObject({ isLocalDevMcpEnabled: true, secureVmFeaturesEnabled: false })
    expect(problems.map(({ key }) => key)).toEqual(['isLocalDevMcpEnabled', 'nonsense', 'issecurevmfeaturesenabled', 'otlpendpoint'])
    expect(problems.at(-1)?.message).toContain('Did you mean otlpEndpoint?')
  })

  test('keys of every object are no policy keys', () => {
    expect(messages(JSON.parse('{"__proto__": true, "constructor": 1, "toString": 1}') as Record<string, unknown>)).toHaveLength(3)
  })

  test('values in texts and numbers, as registries and profiles have them', () => {
    expect(
      from({ isLocalDevMcpEnabled: 'false', coworkEgressAllowedHosts: '["a.example"]', secureVmFeaturesEnabled: 0 }).values,
    ).toMatchObject({
      isLocalDevMcpEnabled: false,
      coworkEgressAllowedHosts: ['a.example'],
      secureVmFeaturesEnabled: false,
    })
  })

  test('earlier names count, unless the new one is there too', () => {
    expect(from({ isDxtEnabled: false }).values.isDesktopExtensionEnabled).toBe(false)
    expect(from({ isDxtEnabled: false, isDesktopExtensionEnabled: true }).values.isDesktopExtensionEnabled).toBe(true)
  })
})

test('allowedWorkspaceFolders: both shapes, home and user, void entries', () => {
  const { values, problems } = from({
    allowedWorkspaceFolders: [
      '~/Work',
      { path: '/srv//shared/.', mode: 'ro' },
      '/home/%USERNAME%/x',
      '%OneDrive%/x',
      '%Mine%',
      'relative',
      '/a/../b',
      7,
      { path: '/x', mode: 'no' },
    ],
  })
  expect(values.allowedWorkspaceFolders).toEqual([
    { path: '/home/ada/Work', mode: 'rw', isDefaultSelected: false },
    { path: '/srv/shared', mode: 'ro', isDefaultSelected: false },
    { path: '/home/ada/x', mode: 'rw', isDefaultSelected: false },
  ])
  expect(problems).toHaveLength(6)
  expect(from({ allowedWorkspaceFolders: ['nonsense'] }).values.allowedWorkspaceFolders).toEqual([])
})

test('coworkEgressAllowedHosts: bad entries go one by one, the rest is canonical', () => {
  const { values, problems } = from({
    coworkEgressAllowedHosts: [
      'A.Example.',
      '*.b.example:443',
      '*',
      'bücher.example',
      '1.2.3.4',
      '*.com',
      'https://x.example',
      'x:0',
      'x:99999',
      '*.1.2.3.4',
      '[::1]',
      '',
      5,
      'a b',
    ],
  })
  expect(values.coworkEgressAllowedHosts).toEqual(['a.example', '*.b.example:443', '*', 'xn--bcher-kva.example', '1.2.3.4'])
  expect(problems).toHaveLength(9)
})

test('builtinToolPolicy: the strictest rule of a tool, rules with arguments', () => {
  expect(
    from({ builtinToolPolicy: { Bash: 'ask-session', 'Bash(curl *)': 'blocked', Read: 'allow', 'Write(/x)': 'allow' } }).values
      .builtinToolPolicy,
  ).toEqual({
    Bash: 'blocked',
    Read: 'allow',
  })
  expect(messages({ builtinToolPolicy: { Bash: 'never' } })).toHaveLength(1)
})

test('managedMcpServers: bad entries go one by one; otlp keys', () => {
  expect(
    from({ managedMcpServers: [{ name: 'wiki', url: 'https://x.example' }, { name: 'no spaces' }, 3] }).values.managedMcpServers,
  ).toEqual([{ name: 'wiki', url: 'https://x.example' }])
  expect(from({ otlpEndpoint: 'file:///x', otlpProtocol: 'grpc', otlpContentCapture: ['userPrompts'] }).values).toMatchObject({
    otlpEndpoint: null,
    otlpProtocol: 'http/protobuf',
    otlpContentCapture: ['userPrompts'],
  })
})

test('a proxy is an address without user and password, which everyone who watches policy would learn', () => {
  const url = 'http://proxy.example:3128'
  expect(from({ egressProxyUrl: url, egressProxyPacUrl: 'https://proxy.example/p.pac' }).values).toMatchObject({
    egressProxyUrl: url,
    egressProxyPacUrl: 'https://proxy.example/p.pac',
  })
  for (const wrong of ['http://ann:secret@proxy.example', 'socks5://proxy.example', 'http://proxy.example/x', 'proxy.example:3128', 7])
    expect([from({ egressProxyUrl: wrong }).values.egressProxyUrl, messages({ egressProxyUrl: wrong }).length]).toEqual([null, 1])
  expect(messages({ egressProxyPacUrl: 'http://ann@proxy.example/p.pac' })).toEqual([expect.stringContaining('must not hold a user')])
})
