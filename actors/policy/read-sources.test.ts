import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { build, buildBinary } from 'plist'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { placesOf } from './places.ts'
import { readSources } from './read-sources.ts'
import { parsePlistSettings, parseRegistrySettings } from './settings-native.ts'

const owner = process.getuid?.() ?? 0
let dir: string
let managed: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'policy-'))
  managed = join(dir, 'managed')
  mkdirSync(managed, { mode: 0o755 })
})
afterEach(() => rmSync(dir, { recursive: true }))

const file = () => join(managed, 'managed-settings.json')
const read = (more: Record<string, unknown> = {}) =>
  readSources(placesOf({ platform: 'linux', managedDir: managed, owner, home: dir, ...more }))[0]
const written = (text = '{"isLocalDevMcpEnabled": false}') => writeFileSync(file(), text, { mode: 0o644 })

describe('the managed file', () => {
  test('is read when it is ours alone', () => {
    written()
    expect(read()).toMatchObject({ kind: 'managed-file', state: 'present', values: { isLocalDevMcpEnabled: false } })
  })

  test('is absent without the file, and without the folder', () => {
    expect(read()?.state).toBe('absent')
    rmSync(managed, { recursive: true })
    expect(read()?.state).toBe('absent')
  })

  const wrong: [string, () => void, RegExp][] = [
    ['writable by group', () => chmodSync(file(), 0o664), /can be written by others \(mode 664\)/],
    ['writable by all', () => chmodSync(file(), 0o646), /can be written by others/],
    ['in a folder writable by group', () => chmodSync(managed, 0o775), /managed can be written by others/],
    ['no JSON', () => written('{'), /JSON/],
    ['no object', () => written('[]'), /not a JSON object/],
    ['too large', () => truncateSync(file(), 2 * 1024 * 1024), /larger than/],
    [
      'a symbolic link',
      () => {
        rmSync(file())
        writeFileSync(join(dir, 'real.json'), '{}')
        symlinkSync(join(dir, 'real.json'), file())
      },
      /symbolic link/,
    ],
    [
      'a link to nowhere',
      () => {
        rmSync(file())
        symlinkSync(join(dir, 'nowhere'), file())
      },
      /symbolic link/,
    ],
    [
      'in a folder that is a link',
      () => {
        rmSync(managed, { recursive: true })
        mkdirSync(join(dir, 'elsewhere'))
        writeFileSync(join(dir, 'elsewhere', 'managed-settings.json'), '{}')
        symlinkSync(join(dir, 'elsewhere'), managed)
      },
      /symbolic link/,
    ],
    [
      'a pipe',
      () => {
        rmSync(file())
        execFileSync('mkfifo', ['-m', '644', file()])
      },
      /not a regular file/,
    ],
    [
      'a folder',
      () => {
        rmSync(file())
        mkdirSync(file())
      },
      /not a regular file/,
    ],
  ]
  test.each(wrong)('%s: unreadable', (_name, spoil, why) => {
    written()
    spoil()
    const source = read()
    expect(source).toMatchObject({ state: 'unreadable' })
    expect(source?.why).toMatch(why)
  })

  test('of another owner: unreadable', () => {
    written()
    expect(read({ owner: owner + 1 })?.why).toMatch(/belongs to user/)
    if (owner !== 0) return
    chownSync(file(), 12_345, 0)
    expect(read()?.why).toContain('managed-settings.json belongs to user 12345, not to root')
    chownSync(file(), 0, 0)
    chownSync(managed, 12_345, 0)
    expect(read()?.why).toMatch(/managed belongs to user 12345/)
  })
})

test('the local file is read whoever owns it, but not through a link', () => {
  writeFileSync(join(dir, 'settings.json'), '\uFEFF{"isLocalDevMcpEnabled": false}', { mode: 0o666 })
  const local = () => readSources(placesOf({ platform: 'linux', managedDir: managed, owner, home: dir })).at(-1)
  expect(local()).toMatchObject({ kind: 'local', state: 'present' })
  rmSync(join(dir, 'settings.json'))
  symlinkSync(join(managed, 'x'), join(dir, 'settings.json'))
  expect(local()?.state).toBe('unreadable')
})

describe('macOS preferences', () => {
  const values = {
    isLocalDevMcpEnabled: false,
    coworkEgressAllowedHosts: ['a.example'],
    otlpHeaders: { a: 'b' },
    autoUpdaterEnforcementHours: 4,
  }
  test.each(['xml', 'binary'])('%s', (form) => {
    mkdirSync(join(managed, 'ada'))
    writeFileSync(join(managed, 'dev.bulkhead.plist'), form === 'xml' ? build(values) : buildBinary(values), { mode: 0o644 })
    writeFileSync(join(managed, 'ada', 'dev.bulkhead.plist'), 'nonsense', { mode: 0o644 })
    const [user, device] = readSources(placesOf({ platform: 'darwin', managedDir: managed, owner, home: dir, user: 'ada' }))
    expect(user?.state).toBe('unreadable')
    expect(device).toMatchObject({ kind: 'managed-preferences', state: 'present', values })
  })

  test('anything else is an error, never a crash or a hang', () => {
    for (const method of ['error', 'warn'] as const) vi.spyOn(console, method).mockImplementation(() => {})
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, binary) => {
        const input = binary ? Buffer.concat([Buffer.from('bplist00'), bytes]) : bytes
        try {
          parsePlistSettings(input)
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
    )
  })

  test('a damaged binary list is an error or other values, never a crash', () => {
    const whole = buildBinary(values)
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, byte, cut) => {
        const bytes = Uint8Array.from(whole)
        bytes[at] = byte
        try {
          parsePlistSettings(bytes.subarray(0, cut < 20 ? cut : undefined))
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
    )
  })
})

describe('registry exports', () => {
  const key = 'HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Bulkhead'
  const exported = [
    'Windows Registry Editor Version 5.00',
    '',
    `[${key}]`,
    '"isLocalDevMcpEnabled"=dword:00000000',
    '"coworkEgressAllowedHosts"="[\\"a.example\\", \\"b\\\\c\\"]"',
    '"otlpEndpoint"=hex(2):25,00,\\',
    '  41,00,00,00',
    '"otlpTracesEnabled"=hex(b):01,00,00,00,00,00,00,00',
    '',
    `[${key}\\Sub]`,
    '"secureVmFeaturesEnabled"=dword:00000000',
    '',
    '[HKEY_CURRENT_USER\\SOFTWARE\\Policies\\Bulkhead]',
    '"secureVmFeaturesEnabled"=dword:00000000',
    '',
  ].join('\r\n')

  test.each(['utf16le', 'utf8'] as const)('%s: texts and DWORDs directly under the key', (encoding) => {
    const bytes = encoding === 'utf16le' ? Buffer.from(`\uFEFF${exported}`, 'utf16le') : Buffer.from(exported)
    expect(parseRegistrySettings(bytes, key)).toEqual({
      isLocalDevMcpEnabled: 0,
      coworkEgressAllowedHosts: '["a.example", "b\\c"]',
      otlpEndpoint: { expandable: true },
    })
    expect(parseRegistrySettings(bytes, `${key}\\None`)).toBeNull()
  })

  test('what is no export is an error', () => {
    expect(() => parseRegistrySettings(Buffer.from('[x]'), key)).toThrow()
    fc.assert(fc.property(fc.string(), (text) => void parseRegistrySettings(Buffer.from(`REGEDIT4\n[${key}]\n${text}`), key)))
  })
})
