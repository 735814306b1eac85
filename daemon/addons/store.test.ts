import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { scaffold } from '../../kernel/scaffold/scaffold.ts'
import { type Description, description, entryOf, objections, ownFolder } from './description.ts'
import { describe as examine } from './describe.ts'
import { maxCodeBytes, maxFiles } from './limits.ts'
import { openStore } from './store.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bulkhead-store-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

/** Its code as the client hands it over. */
function bell(): string {
  const code = join(dir, 'incoming')
  cpSync(scaffold('bell', dir), code, { recursive: true, filter: (path) => !path.includes('node_modules') })
  return code
}
const plain: Description = {
  kind: 'bell',
  purpose: 'Rings.',
  grants: [],
  permissions: { fsRead: [], fsWrite: [] },
  permissionReasons: {},
  protocol: { ring: { body: { type: 'object', properties: {}, additionalProperties: false }, reply: {} } },
  tools: [],
}
const consent = (hash: string) => ({ hash, at: '2026-01-01', by: 'the member' })

test('what is kept is what was agreed to; any change of code or manifest takes the agreement away', async () => {
  const store = openStore(join(dir, 'actors'))
  const code = bell()
  const { description: said, hash } = await store.examine(code)
  store.keep('bell', code, said, consent(hash))
  expect(store.names()).toEqual(['bell'])
  expect(store.read('bell')).toMatchObject({ hash, consent: { hash } })
  const { code: kept, manifest } = store.place('bell')
  const changes: (() => void)[] = [
    () => appendFileSync(join(kept, 'effects.ts'), ' '),
    () => writeFileSync(join(kept, 'more.ts'), ''),
    () => rmSync(join(kept, 'README.md')),
    () => writeFileSync(manifest, JSON.stringify({ ...said, purpose: 'Rings louder.' })),
  ]
  const seen = new Set([hash])
  for (const change of changes) {
    change()
    const now = store.read('bell')
    expect(seen.has(now.hash)).toBe(false)
    expect(now.consent?.hash).toBe(hash)
    seen.add(now.hash)
  }
  store.remove('bell')
  expect(store.names()).toEqual([])
})

test('links, too many files, too many bytes and what cannot be loaded are no actor', async () => {
  const store = openStore(join(dir, 'actors'))
  const refused = (code: string, cause: RegExp) =>
    expect(store.examine(code)).rejects.toMatchObject({ code: 'bad-actor', cause: expect.stringMatching(cause) })
  const code = bell()
  symlinkSync('/etc/passwd', join(code, 'passwd'))
  await refused(code, /passwd is neither a file nor a folder/)
  rmSync(join(code, 'passwd'))
  for (let n = 0; n <= maxFiles; n++) writeFileSync(join(code, `file-${n}`), '')
  await refused(code, /more than 200 files/)
  rmSync(code, { recursive: true })
  mkdirSync(code)
  await refused(code, /nothing in it/)
  writeFileSync(join(code, 'index.ts'), 'x'.repeat(maxCodeBytes + 1))
  await refused(code, /larger than/)
  writeFileSync(join(code, 'index.ts'), 'throw new RangeError("not today")')
  await refused(code, /RangeError: not today/)
})

test('a schema that would change what it judges is refused with its place', async () => {
  const code = bell()
  const protocol = join(code, 'protocol.ts')
  writeFileSync(protocol, readFileSync(protocol, 'utf8').replace('.max(100)', ".max(100).default('you')"))
  await expect(openStore(join(dir, 'actors')).examine(code)).rejects.toMatchObject({
    code: 'bad-actor',
    cause: expect.stringContaining('body.name has a default'),
  })
})

test('code that is asked what it is can reach nothing meanwhile', async () => {
  const code = join(dir, 'spy')
  mkdirSync(code)
  const attempt = (name: string, what: string) => `try { ${what}; done.push('${name}') } catch {}`
  writeFileSync(
    join(code, 'index.ts'),
    `import { readFileSync, writeFileSync } from 'node:fs'
     import { spawnSync } from 'node:child_process'
     const done: string[] = []
     ${attempt('read', "readFileSync('/etc/passwd')")}
     ${attempt('write', `writeFileSync('${join(dir, 'escaped')}', '')`)}
     ${attempt('spawn', "spawnSync('/bin/true')")}
     ${attempt('environment', "if (Object.keys(process.env).every((name) => name === 'PWD')) throw 0")}
     throw new Error('could: ' + done.join())`,
  )
  await expect(examine(code)).rejects.toMatchObject({ cause: expect.stringMatching(/could: $/) })
})

describe('what actors from outside are not given', () => {
  const wrong: [string, Partial<Description>, RegExp][] = [
    ['a name of the product', { kind: 'egress' }, /belongs to Bulkhead/],
    [
      'the kernel',
      { grants: [{ name: 'k', target: 'kernel', limits: { kinds: ['spawn'] }, reason: 'r' }] },
      /a capability to kernel is not given/,
    ],
    [
      'other kinds',
      { grants: [{ name: 'e', target: 'egress', limits: { kinds: ['model'], hosts: ['a.com'] }, reason: 'r' }] },
      /fetch only/,
    ],
    ['every host', { grants: [{ name: 'e', target: 'egress', limits: { kinds: ['fetch'] }, reason: 'r' }] }, /has to name its hosts/],
    ['the state of Bulkhead', { permissions: { fsRead: ['/home/x/state/audit/*'], fsWrite: [] } }, /holds Bulkhead's own state/],
    ['what is above it', { permissions: { fsRead: [], fsWrite: ['/home'] } }, /holds Bulkhead's own state/],
    ['everything', { permissions: { fsRead: ['/*'], fsWrite: [] } }, /is no plain path/],
    ['a path that climbs', { permissions: { fsRead: ['/srv/../etc'], fsWrite: [] } }, /is no plain path/],
    ['processes of others', { permissions: { fsRead: ['/proc/1'], fsWrite: [] } }, /is no folder of files/],
    ['a permission without a reason', { permissions: { fsRead: [`${ownFolder}/*`], fsWrite: [] } }, /comes without a reason/],
    ['patterns', { protocol: { ring: { body: { type: 'string', pattern: '(a+)+$' } } } }, /uses "pattern"/],
    [
      'patterns inside',
      { protocol: { ring: { body: { type: 'object', properties: { pattern: { items: { pattern: 'a' } } } } } } },
      /uses "pattern"/,
    ],
    [
      'defaults',
      { protocol: { ring: { body: { type: 'object', properties: { times: { type: 'number', default: 1 } } } } } },
      /"ring" has a default, and messages arrive as they were sent/,
    ],
    ['references', { protocol: { ring: { body: { $ref: '#' } } } }, /uses "\$ref"/],
    ['tools that are no kinds', { tools: [{ kind: 'sing', title: 't', description: 'd', readOnly: false }] }, /no request of that kind/],
  ]
  test.each(wrong)('%s', (_name, more, problem) => {
    const said = description.parse({ ...plain, ...more })
    expect(objections(said, new Set(['egress']), '/home/x/state').join('; ')).toMatch(problem)
  })
  test('anything in a field of the kernel’s own', () => {
    for (const more of [
      { fds: ['secrets'] },
      { handles: true },
      { placement: 'inline' },
      { permissions: { fsRead: [], fsWrite: [], net: true } },
    ])
      expect(description.safeParse({ ...plain, ...more }).success).toBe(false)
  })
  test('nothing is wrong with one that asks for what it may', () => {
    const grants = [{ name: 'web', target: 'egress', limits: { kinds: ['fetch'], hosts: ['example.com'] }, reason: 'Looks up.' }]
    const said = description.parse({
      ...plain,
      grants,
      permissions: { fsRead: ['/srv/music/*', `${ownFolder}/*`], fsWrite: [] },
      permissionReasons: { fsRead: 'Plays it.' },
    })
    expect(objections(said, new Set(['egress']), '/home/x/state')).toEqual([])
    const { manifest, protocol } = entryOf(said, { entry: 'file:///x', own: '/home/x/own' })
    expect(manifest).toMatchObject({ placement: 'process', grants })
    expect(manifest.permissions({})).toEqual({ fsRead: ['/srv/music/*', '/home/x/own/*'], fsWrite: [] })
    expect(protocol['ring']?.body.safeParse({ louder: true }).success).toBe(false)
  })
})
