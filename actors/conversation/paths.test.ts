import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Fault } from '../../kernel/index.ts'
import { devicePath, type Location, locate, shortPath, type Workspace, workspacePath } from './paths.ts'

const sales = { name: 'sales', root: '/home/ada/sales', mode: 'rw' as const }
const notes = { name: 'notes', root: '/home/ada/sales/notes', mode: 'ro' as const }
const one: Workspace = { session: 's-1', folders: [sales], hosts: [] }
const two: Workspace = { session: 's-1', folders: [sales, notes], hosts: [] }

describe('the four forms of a path', () => {
  test.each<[string, Workspace, Location]>([
    ['/home/ada/sales/2024/q1.csv', one, { folder: 'sales', path: '2024/q1.csv' }],
    ['/sessions/s-1/mnt/sales/2024/q1.csv', one, { folder: 'sales', path: '2024/q1.csv' }],
    ['sales/2024/q1.csv', one, { folder: 'sales', path: '2024/q1.csv' }],
    ['2024/q1.csv', one, { folder: 'sales', path: '2024/q1.csv' }],
    ['./2024//q1.csv', one, { folder: 'sales', path: '2024/q1.csv' }],
    ['/home/ada/sales', one, { folder: 'sales', path: '' }],
    ['sales/', one, { folder: 'sales', path: '' }],
    ['.', one, { folder: 'sales', path: '' }],
    ['sales/sales/x', one, { folder: 'sales', path: 'sales/x' }],
    ['..hidden/x...', one, { folder: 'sales', path: '..hidden/x...' }],
    ['/home/ada/sales/notes/a.md', two, { folder: 'notes', path: 'a.md' }],
    ['/home/ada/sales/notes-old/a.md', two, { folder: 'sales', path: 'notes-old/a.md' }],
    ['notes/a.md', two, { folder: 'notes', path: 'a.md' }],
  ])('%s', (given, workspace, expected) => {
    expect(locate(given, workspace)).toEqual(expected)
  })

  test('a folder that is the whole device', () => {
    const all: Workspace = { session: 's-1', folders: [{ name: 'all', root: '/', mode: 'ro' }], hosts: [] }
    expect(locate('/etc/hosts', all)).toEqual({ folder: 'all', path: 'etc/hosts' })
    expect(devicePath({ folder: 'all', path: 'etc/hosts' }, all)).toBe('/etc/hosts')
  })
})

describe('refused', () => {
  const refusal = (given: string, workspace: Workspace): Fault => {
    try {
      return expect.fail(JSON.stringify(locate(given, workspace)))
    } catch (error) {
      return error as Fault
    }
  }
  test.each([
    '/etc/passwd',
    '/home/ada',
    '/home/ada/sales2/x',
    '/sessions/s-2/mnt/sales/x',
    '/sessions/s-1/mnt/other/x',
    '../x',
    'sales/../../x',
    '/home/ada/sales/../x',
    '~/x',
    '~',
  ])('%s', (given) => {
    expect(refusal(given, one)).toMatchObject({
      code: 'outside-folder',
      rule: 'connected folders only; connected: sales (/home/ada/sales, rw)',
      remedy: expect.stringContaining('connected folder') as string,
    })
  })
  test('relative, with more folders than one', () => {
    expect(refusal('q1.csv', two).code).toBe('outside-folder')
  })
  test('what is no path', () => {
    expect(refusal('', one).code).toBe('bad-path')
    expect(refusal('a\0b', one).code).toBe('bad-path')
  })
})

describe('properties', () => {
  const part = fc
    .string({ minLength: 1, unit: fc.constantFrom('a', 'B', '.', ' ', '-', '~', 'é', '\\') })
    .filter((text) => text !== '.' && text !== '..' && text !== '~')
  const inside = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))

  test('all forms of one file name the same file, and come back', () => {
    fc.assert(
      fc.property(inside, (path) => {
        const location = { folder: 'sales', path }
        for (const form of [devicePath(location, one), workspacePath('s-1', 'sales', path), shortPath(location), path])
          expect(locate(form, one)).toEqual(location)
      }),
    )
  })

  test('whatever is written, what comes out is a plain path of a connected folder, and nothing was cancelled out', () => {
    const noise = fc.array(fc.constantFrom('/', '..', '.', '', 'sales', 'notes', 'home', 'ada', 'sessions', 's-1', 'mnt', 'x', '~', '\0'), {
      maxLength: 9,
    })
    fc.assert(
      fc.property(noise, fc.boolean(), (parts, absolute) => {
        const given = (absolute ? '/' : '') + parts.join('/')
        let found: Location
        try {
          found = locate(given, two)
        } catch (error) {
          expect(['outside-folder', 'bad-path']).toContain((error as Fault).code)
          return
        }
        const out = found.path === '' ? [] : found.path.split('/')
        expect(out.some((item) => item === '' || item === '.' || item === '..')).toBe(false)
        expect(two.folders.map(({ name }) => name)).toContain(found.folder)
        const written = given.split('/').filter((item) => item !== '' && item !== '.')
        expect(written.slice(written.length - out.length)).toEqual(out)
      }),
    )
  })
})
