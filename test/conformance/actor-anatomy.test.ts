/** Each actor is built the same way, asks for nothing without a reason and nothing it does not use; every error code is a live one. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { errorCodes } from '../../kernel/errors.ts'
import type { Manifest } from '../../kernel/types.ts'
import { checkout } from '../harness/product.ts'

const actorsDir = join(checkout, 'actors')
const kinds = readdirSync(actorsDir)
const sources = new Map(['kernel', 'actors', 'guest', 'client', 'daemon', 'setup'].flatMap((dir) => sourcesIn(dir)))

describe.each(kinds)('actors/%s', (kind) => {
  const names = filesIn(join('actors', kind))
  const own = codeOf(kind)

  test.each(['protocol.ts', 'machine.ts', 'effects.ts', 'manifest.ts', 'index.ts'])('has %s', (file) => {
    expect(names).toContain(join('actors', kind, file))
  })

  test('has tests beside its code', () => {
    expect(names.filter(isTest)).not.toEqual([])
  })

  test('names itself, its purpose, and a reason for every grant and permission', async () => {
    const manifest = await manifestOf(kind)
    expect(manifest.kind).toBe(kind)
    expect(manifest.purpose).not.toBe('')
    for (const grant of manifest.grants) expect(grant.reason, `reason of grant ${grant.name}`).toMatch(/\w/)
    const permissions = manifest.permissions(anyParams)
    const used = Object.entries(permissions).flatMap(([name, value]) => ((Array.isArray(value) ? value.length > 0 : value) ? [name] : []))
    const wanted = [...used, ...(manifest.fds ?? [])]
    for (const name of wanted) expect(manifest.permissionReasons[name], `reason of permission ${name}`).toMatch(/\w/)
    expect(Object.keys(manifest.permissionReasons).filter((name) => !wanted.includes(name))).toEqual([])
  })

  test('uses every grant it asks for, and every kind of each, or hands it on to an actor that does', async () => {
    const { grants } = await manifestOf(kind)
    for (const { name, target, limits } of grants) {
      const slot = name.endsWith(':*') ? name.slice(0, -1) : name
      expect(mentions(own, slot), `${kind} asks for ${name} and never uses it`).toBe(true)
      for (const word of limits.kinds ?? []) {
        expect(
          mentions(own, word) || (await usedByOthers(kind, target, word)),
          `${kind} asks for "${word}" on ${name} and nobody sends it`,
        ).toBe(true)
      }
    }
  })

  test('uses every permission it asks for', async () => {
    const permissions = (await manifestOf(kind)).permissions(anyParams)
    for (const [name, value] of Object.entries(permissions)) {
      if (Array.isArray(value) ? value.length === 0 : !value) continue
      const uses = permissionUse[name as keyof typeof permissionUse]
      expect(uses, `what using ${name} looks like`).toBeDefined()
      expect(
        own.some((text) => uses.test(text)),
        `${kind} asks for ${name} and never uses it`,
      ).toBe(true)
    }
  })

  test('its machine has no clock, no chance and no input or output of its own', () => {
    const text = sources.get(join('actors', kind, 'machine.ts')) ?? ''
    expect(text).not.toMatch(/from 'node:|\bDate\b|Math\.random|process\.|\bfetch\(|setTimeout/)
  })
})

test('every listed error code is used somewhere', () => {
  const product = [...sources].filter(([name]) => !isTest(name) && name !== join('kernel', 'errors.ts')).map(([, text]) => text)
  const unused = Object.keys(errorCodes).filter((code) => !product.some((text) => text.includes(`'${code}'`)))
  expect(unused).toEqual([])
})

test('every error code says what it means and what to do', () => {
  for (const [code, { meaning, remedy }] of Object.entries(errorCodes)) {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/)
    expect(meaning, code).toMatch(/\.$/)
    expect(remedy, code).toMatch(/\.$/)
  }
})

/** How code that uses a permission of the operating system comes by it. */
const permissionUse = {
  fsRead: /from 'node:fs(\/promises)?'/,
  fsWrite: /from 'node:fs(\/promises)?'[\s\S]*\b(write|rename|mkdir|rm|unlink|open|append)\w*\(/i,
  // The network: a module of Node's, or a library that is handed one's own `fetch`.
  net: /from 'node:(net|tls|http|https|http2|dns)(\/promises)?'|exporter-(logs|metrics|trace)-otlp/,
  childProcess: /from 'node:child_process'/,
  wasi: /from 'node:wasi'/,
} as const

/** What any actor's `permissions` may ask for. */
const anyParams = {
  root: '/some/folder',
  name: 'folder',
  mode: 'rw',
  home: '/home',
  imageDir: '/images',
  guestDir: '/guest',
  nodeBinary: '/node',
  session: 's-1',
  fds: { secrets: 4 },
  page: { port: 1, token: 'token', dir: '/page' },
}

async function manifestOf(kind: string): Promise<Manifest> {
  return ((await import(join(actorsDir, kind, 'manifest.ts'))) as { manifest: Manifest }).manifest
}

/** What an actor does, without what it asks for. */
function codeOf(kind: string): string[] {
  return filesIn(join('actors', kind))
    .filter((name) => !isTest(name) && !/(manifest|model)\.ts$/.test(name))
    .map((name) => sources.get(name) ?? '')
}

/** As a string, alone (`'exec'`, `` `folder:${name}` ``) or after its slot's name (`'vm/start'`). */
function mentions(code: readonly string[], word: string): boolean {
  return code.some((text) => [`'${word}'`, `\`${word}`, `/${word}'`].some((form) => text.includes(form)))
}

async function usedByOthers(kind: string, target: string, word: string): Promise<boolean> {
  for (const other of kinds) {
    if (other === kind) continue
    const { grants } = await manifestOf(other)
    if (grants.some((grant) => grant.target === target && grant.limits.kinds?.includes(word)) && mentions(codeOf(other), word)) return true
  }
  return false
}

function isTest(name: string): boolean {
  return name.endsWith('.test.ts')
}

function filesIn(dir: string): string[] {
  return readdirSync(join(checkout, dir), { recursive: true, encoding: 'utf8' }).map((name) => join(dir, name))
}

function sourcesIn(dir: string): [string, string][] {
  return filesIn(dir)
    .filter((name) => /\.(ts|js)$/.test(name))
    .map((name) => [name, readFileSync(join(checkout, name), 'utf8')])
}
