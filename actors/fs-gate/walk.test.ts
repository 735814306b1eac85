import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isFault } from '../../kernel/index.ts'
import { writeFile } from './change-tools.ts'
import { scoped } from './handles.ts'
import { KnownFolders } from './known-folders.ts'
import { limits } from './limits.ts'
import { osFault } from './os-errors.ts'
import { linkStaysInside } from './path.ts'
import { readFile } from './read-tools.ts'
import { grepFiles } from './search-tools.ts'
import { never, noLimits, openDescriptors, refusal, secret, type TestFolder, testFolder } from './test-folder.ts'
import { resolve, type Root } from './walk.ts'

let folder: TestFolder
beforeEach(() => {
  folder = testFolder()
})
afterEach(() => folder.remove())

const read = (path: string) => readFile(folder.gate, { path }, noLimits, never)
const write = (path: string) => writeFile(folder.gate, { path, content: 'new' }, noLimits, never)
const codeOf = (call: () => unknown) => refusal(async () => call())

describe('what leads out is refused', () => {
  beforeEach(() => {
    const { root, outside } = folder
    fs.mkdirSync(join(root, 'a/b'), { recursive: true })
    fs.writeFileSync(join(root, 'a/b/file.txt'), 'inside')
    fs.symlinkSync(outside, join(root, 'out'))
    fs.symlinkSync('../outside', join(root, 'out-relative'))
    fs.symlinkSync('../../../outside/secret.txt', join(root, 'a/b/out-file'))
    fs.symlinkSync(join(outside, 'missing.txt'), join(root, 'dangling-out'))
    fs.symlinkSync('out', join(root, 'chained'))
    fs.symlinkSync('chained/secret.txt', join(root, 'chained-file'))
    fs.symlinkSync('loop', join(root, 'loop'))
    fs.symlinkSync('/proc/self/root', join(root, 'magic'))
    fs.symlinkSync(`${root}-sibling`, join(root, 'prefix'))
    fs.mkdirSync(`${root}-sibling`)
    fs.writeFileSync(join(`${root}-sibling`, 'x'), secret)
  })

  const table: [string, string][] = [
    ['../outside/secret.txt', 'outside-folder'],
    ['a/../../outside/secret.txt', 'outside-folder'],
    ['..', 'outside-folder'],
    ['a/b/../../..', 'outside-folder'],
    ['/etc/passwd', 'outside-folder'],
    ['/', 'outside-folder'],
    ['out/secret.txt', 'symlink-escape'],
    ['out-relative/secret.txt', 'symlink-escape'],
    ['a/b/out-file', 'symlink-escape'],
    ['chained/secret.txt', 'symlink-escape'],
    ['chained-file', 'symlink-escape'],
    ['dangling-out', 'symlink-escape'],
    ['loop', 'symlink-escape'],
    ['magic/etc/passwd', 'symlink-escape'],
    ['prefix/x', 'symlink-escape'],
    ['a//b/file.txt', 'bad-path'],
    ['a/\0/file.txt', 'bad-path'],
    ['a/b/file.txt\0.png', 'bad-path'],
    ['n'.repeat(256), 'bad-path'],
    [`${'d/'.repeat(3_000)}f`, 'bad-path'],
    ['a/\ud800', 'bad-path'],
  ]
  test.each(table.map(([path, code]) => ({ path, code, label: JSON.stringify(path).slice(0, 40) })))('$label', async ({ path, code }) => {
    const before = openDescriptors(folder.gate)
    expect(await codeOf(() => read(path))).toBe(code)
    expect(await codeOf(() => write(path))).toBe(code)
    expect(openDescriptors(folder.gate)).toBe(before)
    expect(fs.readFileSync(join(folder.outside, 'secret.txt'), 'utf8')).toBe(secret)
    expect(fs.readdirSync(folder.outside)).toEqual(['secret.txt'])
  })

  test('an absolute path whose text starts like the root is another folder', async () => {
    expect(await codeOf(() => read(`${folder.root}-sibling/x`))).toBe('outside-folder')
    expect(await codeOf(() => read(`${folder.root}/../outside/secret.txt`))).toBe('outside-folder')
  })
})

test('what stays inside is found', async () => {
  const { root } = folder
  fs.mkdirSync(join(root, 'a/b'), { recursive: true })
  fs.writeFileSync(join(root, 'a/b/file.txt'), 'inside')
  fs.symlinkSync('a/b', join(root, 'rel'))
  fs.symlinkSync(join(root, 'a'), join(root, 'abs'))
  fs.symlinkSync('../../a/./b//file.txt', join(root, 'a/b/up'))
  fs.symlinkSync('new.txt', join(root, 'dangling'))
  for (const path of [
    'a/b/file.txt',
    './a/b/file.txt',
    'rel/file.txt',
    'abs/b/file.txt',
    'a/b/up',
    'rel/../b/file.txt',
    `${root}/a/b/file.txt`,
    'abs/../abs/b/up',
  ]) {
    expect((await read(path)).text, path).toBe('inside')
  }
  await write('dangling')
  expect(fs.readFileSync(join(root, 'new.txt'), 'utf8')).toBe('new')
  expect(fs.lstatSync(join(root, 'dangling')).isSymbolicLink()).toBe(true)
})

test('special files are refused without being opened', async () => {
  execFileSync('mkfifo', [join(folder.root, 'pipe')])
  expect(await codeOf(() => read('pipe'))).toBe('not-a-file')
  expect(await codeOf(() => write('pipe'))).toBe('not-a-file')
  expect(await codeOf(() => read(''))).toBe('not-a-file')
})

describe('any tree of folders, files and links', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd')
  const step = fc.constantFrom('a', 'b', 'c', 'd', '..', '..', '.')
  const target = fc.oneof(
    { weight: 4, arbitrary: fc.array(step, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')) },
    { weight: 1, arbitrary: fc.constantFrom('ROOT', 'ROOT/a', 'ROOT/../outside', 'OUTSIDE', '/', '../outside/secret.txt') },
  )
  const entry = fc.record({ path: fc.array(name, { minLength: 1, maxLength: 3 }), kind: fc.constantFrom('folder', 'file', 'link'), target })

  test('resolves like the system does, and only inside', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 14 }),
        fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 }),
        (entries, paths) => {
          const { root, outside } = folder
          fs.rmSync(root, { recursive: true, force: true })
          fs.mkdirSync(root)
          const own = testRoot(root)
          for (const { path, kind, target: text } of entries)
            plant(root, path, kind, text.replace('ROOT', root).replace('OUTSIDE', outside))
          for (const parts of paths) {
            const path = parts.join('/')
            const truth = oracle(root, parts)
            const got = attempt(own, path)
            if (truth === 'out') expect(['outside-folder', 'symlink-escape', 'not-found', 'not-a-folder'], path).toContain(got)
            else if (truth === 'none')
              expect(['missing', 'not-found', 'not-a-folder', 'symlink-escape', 'outside-folder'], path).toContain(got)
            else expect(got, path).toBe(truth)
          }
          own.known.clear()
          fs.closeSync(own.fd)
        },
      ),
      { numRuns: 300 },
    )
  })

  function testRoot(path: string) {
    return { fd: fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY), path, known: new KnownFolders() }
  }

  function plant(root: string, path: string[], kind: string, text: string): void {
    const full = join(root, ...path)
    try {
      // Parents that are links would plant outside.
      for (let at = dirname(full); at !== root; at = dirname(at)) if (fs.lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink()) return
      fs.mkdirSync(dirname(full), { recursive: true })
      if (kind === 'folder') fs.mkdirSync(full)
      else if (kind === 'file') fs.writeFileSync(full, path.join('/'), { flag: 'wx' })
      else fs.symlinkSync(text, full)
    } catch {
      // The name is taken.
    }
  }

  /** Device and inode of what the system finds, if every step of the way there is inside. */
  function oracle(root: string, parts: readonly string[]): string {
    let current = root
    // A `.` is dropped wherever it stands, behind a file too.
    const todo = parts.filter((part) => part !== '.')
    for (let links = 0; todo.length > 0; ) {
      const part = todo.shift() as string
      if (part === '..') {
        current = dirname(current)
        if (current !== root && !current.startsWith(`${root}/`)) return 'out'
        continue
      }
      const next = join(current, part)
      const stat = fs.lstatSync(next, { throwIfNoEntry: false })
      if (!stat) return 'none'
      if (stat.isSymbolicLink()) {
        links += 1
        if (links > 40) return 'none'
        const text = fs.readlinkSync(next)
        if (text.startsWith('/')) {
          if (text !== root && !text.startsWith(`${root}/`)) return 'out'
          current = root
          todo.unshift(
            ...relative(root, text.replaceAll(/\/\.\.\//g, '/../'))
              .split('/')
              .filter((piece) => piece !== '' && piece !== '.'),
          )
          // A link such as ROOT/../outside goes out on its way.
          if (normalize(text) !== root && !normalize(text).startsWith(`${root}/`)) return 'out'
        } else todo.unshift(...text.split('/').filter((piece) => piece !== '' && piece !== '.'))
        continue
      }
      if (todo.length > 0 && !stat.isDirectory()) return 'none'
      current = next
    }
    const { dev, ino } = fs.statSync(current)
    return `${dev}:${ino}`
  }

  function attempt(root: Root, path: string): string {
    try {
      return scoped((scope) => {
        const found = resolve(root, path, scope)
        return found.kind === 'missing' ? 'missing' : `${found.stat.dev}:${found.stat.ino}`
      })
    } catch (error) {
      return isFault(error) ? error.code : osFault(error, path).code
    }
  }
})

describe('a folder whose handle is kept from a moment ago', () => {
  beforeEach(async () => {
    const { root } = folder
    fs.mkdirSync(join(root, 'a/b'), { recursive: true })
    fs.writeFileSync(join(root, 'a/b/secret.txt'), 'inside')
    await read('a/b/secret.txt')
  })

  test('and that was replaced by a link leading out, is walked to anew', async () => {
    const { root, outside } = folder
    fs.renameSync(join(root, 'a/b'), join(root, 'a/c'))
    fs.symlinkSync(outside, join(root, 'a/b'))
    expect(await refusal(() => read('a/b/secret.txt'))).toBe('symlink-escape')
    expect(await refusal(() => write('a/b/secret.txt'))).toBe('symlink-escape')
    expect(await refusal(() => write('a/b/new.txt'))).toBe('symlink-escape')
    expect((await read('a/c/secret.txt')).text).toBe('inside')
  })

  test('and that was moved out of the connected folder, is not reached any more', async () => {
    const { root, outside } = folder
    fs.renameSync(join(root, 'a/b'), join(outside, 'b'))
    expect(await refusal(() => read('a/b/secret.txt'))).toBe('not-found')
    fs.renameSync(join(root, 'a'), join(outside, 'a'))
    await write('a/b/secret.txt')
    expect(fs.readFileSync(join(outside, 'b/secret.txt'), 'utf8')).toBe('inside')
    expect(fs.readFileSync(join(root, 'a/b/secret.txt'), 'utf8')).toBe('new')
  })

  test('has in the place of a file what is there by now: a link is followed inside only, nothing special is opened', async () => {
    const { root, outside } = folder
    const place = join(root, 'a/b/secret.txt')
    const replaced = async (make: () => unknown) => {
      fs.rmSync(place, { recursive: true })
      make()
      const what = await read('a/b/secret.txt').then(
        ({ text }) => text,
        (error) => (error as { code: string }).code,
      )
      const found = (await grepFiles(folder.gate, { pattern: 'inside|secret|other' }, noLimits, never)).matches.map(({ path }) => path)
      return [what, found.includes('a/b/secret.txt')]
    }
    fs.writeFileSync(join(root, 'a/other.txt'), 'other')
    expect(await replaced(() => fs.symlinkSync(join(outside, 'secret.txt'), place))).toEqual(['symlink-escape', false])
    expect(await replaced(() => fs.symlinkSync('../other.txt', place))).toEqual(['other', false])
    expect(await replaced(() => fs.mkdirSync(place))).toEqual(['not-a-file', false])
    expect(await replaced(() => execFileSync('mkfifo', [place]))).toEqual(['not-a-file', false])
    // Only root may make a device; this one would give zeros without end.
    if (process.geteuid?.() === 0)
      expect(await replaced(() => execFileSync('mknod', [place, 'c', '1', '5']))).toEqual(['not-a-file', false])
    expect(await replaced(() => fs.writeFileSync(place, 'inside again'))).toEqual(['inside again', true])
  })

  test('and that was removed and made again, is the new one', async () => {
    const { root } = folder
    fs.rmSync(join(root, 'a'), { recursive: true })
    expect(await refusal(() => read('a/b/secret.txt'))).toBe('not-found')
    fs.mkdirSync(join(root, 'a/b'), { recursive: true })
    fs.writeFileSync(join(root, 'a/b/secret.txt'), 'another')
    expect((await read('a/b/secret.txt')).text).toBe('another')
  })

  test('is one of few, and closed with the gate', async () => {
    const { root } = folder
    const before = openDescriptors(folder.gate)
    for (let i = 0; i < 300; i += 1) {
      fs.mkdirSync(join(root, `d${i}`))
      fs.writeFileSync(join(root, `d${i}/f`), '')
      await read(`d${i}/f`)
    }
    expect(openDescriptors() - before).toBeLessThanOrEqual(limits.knownFolders)
    expect(openDescriptors(folder.gate)).toBe(before)
  })
})

test('a link made in a folder may climb no higher than the folder lies deep', () => {
  expect(linkStaysInside('x', [])).toBe(true)
  expect(linkStaysInside('../x', ['a'])).toBe(true)
  expect(linkStaysInside('..', ['a'])).toBe(true)
  expect(linkStaysInside('../../x', ['a'])).toBe(false)
  expect(linkStaysInside('..', [])).toBe(false)
  // Where `b` leads is not known from the text.
  expect(linkStaysInside('b/../x', ['a'])).toBe(false)
  expect(linkStaysInside('/x', ['a'])).toBe(false)
  expect(linkStaysInside('', ['a'])).toBe(false)
})
