import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ActorEntry } from '../../kernel/placement.ts'
import { startTestKernel, type TestKernel } from '../../kernel/testing/test-kernel.ts'
import { actor } from './index.ts'
import type { EffectivePolicy, Policy, PolicyExplanation } from './protocol.ts'

/** Of the real reading, where it is in this process: when it has read. */
const reading = vi.hoisted(() => ({ over: () => {} }))
vi.mock('./read-sources.ts', async (importOriginal) => {
  const real = await importOriginal<typeof import('./read-sources.ts')>()
  const readSources: typeof real.readSources = (places) => {
    const sources = real.readSources(places)
    reading.over()
    return sources
  }
  return { ...real, readSources }
})

const entry: ActorEntry = {
  manifest: actor.manifest,
  protocol: actor.protocol,
  entry: new URL('./index.ts', import.meta.url).href,
  load: async () => actor,
}

let dir: string
let it: TestKernel
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'policy-'))
})
afterEach(async () => {
  await it.stop()
  rmSync(dir, { recursive: true })
})

const managed = () => join(dir, 'etc')
const write = (values: object) => {
  mkdirSync(managed(), { recursive: true, mode: 0o755 })
  writeFileSync(join(managed(), 'managed-settings.json'), JSON.stringify(values), { mode: 0o644 })
}
const start = async (placement: 'inline' | 'process' = 'inline', platform = 'linux') => {
  const params = { platform, home: dir, user: 'ada', userHome: '/home/ada', managedDir: managed(), owner: process.getuid?.() ?? 0 }
  it = await startTestKernel({ actors: [entry], placement, params: { policy: params } })
}
const ask = async <T>(kind: string, body: object = {}) => (await it.test.request('policy', kind, body)).body as T
const watched = (): Policy[] => {
  const seen: Policy[] = []
  it.test.request('policy', 'watch', {}, { onPart: (part) => void seen.push((part as { policy: Policy }).policy) }).catch(() => {})
  return seen
}
const until = async (ready: () => boolean) => {
  while (!ready()) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe.each(['inline', 'process'] as const)('%s', (placement) => {
  test('a file that appears, changes, and becomes unusable is heard of', async () => {
    await start(placement)
    const seen = watched()
    await until(() => seen.length === 1)
    write({ isLocalDevMcpEnabled: false, otlpHeaders: { a: 'secret' } })
    await until(() => seen.length === 2)
    expect(seen[1]).toMatchObject({
      values: { isLocalDevMcpEnabled: false },
      decidedBy: { isLocalDevMcpEnabled: expect.stringContaining('managed settings') },
    })
    expect(JSON.stringify(seen)).not.toContain('secret')
    write({ isLocalDevMcpEnabled: true, secureVmFeaturesEnabled: false })
    await until(() => seen.length === 3)
    expect(seen[2]?.values).toMatchObject({ isLocalDevMcpEnabled: true, secureVmFeaturesEnabled: false })
    chmodSync(join(managed(), 'managed-settings.json'), 0o666)
    await until(() => seen.length === 4)
    expect(seen[3]).toMatchObject({ failedClosed: true, values: { secureVmFeaturesEnabled: true } })
  })
})

test.each(['linux', 'darwin'])('%s: in its own process with the folders there from the start', async (platform) => {
  write({ isLocalDevMcpEnabled: false })
  mkdirSync(join(managed(), 'ada'), { mode: 0o755 })
  await start('process', platform)
  const { sources } = await ask<EffectivePolicy>('effective')
  expect(sources.map(({ state }) => state)).not.toContain('unreadable')
  if (platform === 'linux') expect(sources[0]?.state).toBe('present')
})

test('a file that is half written for a moment changes nothing', async () => {
  write({ isEnabledForOrganization: false })
  await start()
  const seen = watched()
  await until(() => seen.length === 1)
  // Whole again as soon as it was looked at, before the next look.
  reading.over = () => {
    reading.over = () => {}
    write({ isEnabledForOrganization: false, isLocalDevMcpEnabled: false })
  }
  writeFileSync(join(managed(), 'managed-settings.json'), '{"isEnab', { mode: 0o644 })
  await until(() => seen.length === 2)
  expect(seen.map(({ failedClosed, values }) => [failedClosed, values.isEnabledForOrganization])).toEqual([
    [false, false],
    [false, false],
  ])
  expect(seen[1]?.values.isLocalDevMcpEnabled).toBe(false)
})

test('show, explain and check', async () => {
  write({ isLocalDevMcpEnabled: false, nonsense: 1, otlpHeaders: { authorization: 'secret' } })
  writeFileSync(join(dir, 'settings.json'), '{"secureVmFeaturesEnabled": false}')
  await start()
  const shown = await ask<EffectivePolicy>('effective')
  expect(shown.sources.map(({ kind, state }) => [kind, state])).toEqual([
    ['managed-file', 'present'],
    ['local', 'present'],
  ])
  expect(shown.entries.find(({ key }) => key === 'isLocalDevMcpEnabled')).toMatchObject({
    value: false,
    decidedBy: expect.stringContaining('managed-settings.json'),
  })
  expect(shown.entries.find(({ key }) => key === 'secureVmFeaturesEnabled')).toMatchObject({ value: true, decidedBy: 'default' })
  expect(shown.problems).toMatchObject([{ key: 'nonsense' }])
  expect(JSON.stringify(shown)).not.toContain('secret')
  expect(await ask('secrets')).toEqual({ otlpHeaders: { authorization: 'secret' } })
  expect(await ask<PolicyExplanation>('explain', { key: 'isLocalDevMcpEnabled' })).toMatchObject({
    value: false,
    default: true,
    type: 'boolean',
  })
  await expect(ask('explain', { key: 'toString' })).rejects.toMatchObject({ code: 'not-found' })
  expect(await ask('check', { text: '{"isLocalDevMcpEnabled": false}' })).toEqual({ ok: true, problems: [] })
  expect(await ask('check', { text: '{' })).toMatchObject({ ok: false })
  expect(await ask('check', { text: '{"coworkEgressAllowedHosts": ["*.com"]}' })).toMatchObject({
    ok: false,
    problems: [{ key: 'coworkEgressAllowedHosts' }],
  })
})
