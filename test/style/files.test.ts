import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { entriesLeftOut } from '../../setup/complete-lock.js'
import { root, sourceFiles } from './source-files.ts'

type LockEntries = Parameters<typeof entriesLeftOut>[0]
type LockEntry = LockEntries[string]

const longest = 500

test(`no source file is longer than ${longest} lines`, () => {
  const lengths = sourceFiles().map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
  expect(lengths.filter(({ lines }) => lines > longest)).toEqual([])
})

test('no file names the host of a package registry: machines have their own, and say which', () => {
  // In parts, because this file is one of them.
  const hosts = [
    ['deb', 'debian', 'org'],
    ['security', 'debian', 'org'],
    ['archive', 'ubuntu', 'com'],
    ['registry', 'npmjs', 'org'],
  ].map((parts) => parts.join('.'))
  const naming = sourceFiles().filter(({ text }) => hosts.some((host) => text.includes(host)))
  expect(naming.map(({ path }) => path)).toEqual([])
})

const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: LockEntries }

test('every package this platform can install has the hash of its content in the lock file', () => {
  const forAnother = ({ optional, os, cpu, libc }: LockEntry): boolean =>
    optional === true && (os?.includes('linux') === false || cpu?.includes('x64') === false || libc?.includes('musl') === true)
  // What a package brings along is in its own archive, and under its hash.
  const bundled = ({ inBundle }: LockEntry): boolean => inBundle === true
  const without = Object.entries(packages).filter(
    ([path, entry]) => path !== '' && !entry.integrity && !bundled(entry) && !forAnother(entry),
  )
  expect(without.map(([path]) => path)).toEqual([])
})

test('the lock file names the builds for other platforms too, or `npm ci` refuses it (`npm run lock` adds them)', () => {
  expect(entriesLeftOut(packages)).toEqual({})
})

test('versions are exact, so that the lock file is the only place an update happens', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
  const versions = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((group) => Object.entries(manifest[group] ?? {}))
  expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
})
