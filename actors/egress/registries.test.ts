import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findRegistries, type Form, type Manager } from './registries.ts'
import { readRegistries } from './registry-files.ts'

const file = (manager: Manager, form: Form, text: string, path = `/${form}`) => ({ manager, form, path, text })
const patterns = (...files: ReturnType<typeof file>[]) => findRegistries(files).map(({ manager, pattern }) => `${manager} ${pattern}`)

const npmCode = `  registry: new Definition('registry', {\n    default: 'https://npm.default.example/',\n    type: url,\n`
const pipCode = `PyPI = PackageIndex("https://pip.default.example/", file_storage_domain="files.default.example")\nTestPyPI = PackageIndex(\n    "https://test.example/", file_storage_domain="x.example"\n)\n`

describe('npm', () => {
  test('registry and scopes, without what is a credential', () => {
    const text = [
      'registry=https://npm.corp.example/path/',
      '@team:registry = "https://team.example:8443/"',
      '//npm.corp.example/:_authToken=secret-token',
      '; registry=https://commented.example/',
      'proxy=http://proxy.example:3128',
    ].join('\n')
    expect(patterns(file('npm', 'npmrc', text), file('npm', 'npm-code', npmCode))).toEqual([
      'npm npm.corp.example:443',
      'npm team.example:8443',
    ])
  })
  test("the manager's own default only where nothing takes its place", () => {
    expect(patterns(file('npm', 'npmrc', '@team:registry=http://team.example'), file('npm', 'npm-code', npmCode))).toEqual([
      'npm team.example:80',
      'npm npm.default.example:443',
    ])
  })
  test.each(['registry=${REGISTRY}', 'registry=file:///srv', 'registry=https://$(id).example/', 'registry=', 'registry', '[['])(
    '%s is no registry',
    (text) => expect(patterns(file('npm', 'npmrc', text))).toEqual([]),
  )
})

describe('pip', () => {
  test('indexes, also over several lines, beside the default unless they replace it', () => {
    const text =
      '[global]\nextra-index-url =\n    https://user:secret@one.example/simple\n    http://two.example/simple\n\n[install]\nfind_links = /wheels https://three.example/x\n'
    expect(patterns(file('pip', 'pip.conf', text), file('pip', 'pip-code', pipCode))).toEqual([
      'pip one.example:443',
      'pip two.example:80',
      'pip three.example:443',
      'pip pip.default.example:443',
      'pip files.default.example:443',
    ])
    expect(patterns(file('pip', 'pip.conf', '[global]\nindex-url = https://only.example/'), file('pip', 'pip-code', pipCode))).toEqual([
      'pip only.example:443',
    ])
  })
})

test('apt, in both forms', () => {
  const list =
    'deb [arch=amd64 signed-by=/k] http://one.example/debian trixie main\n# deb http://off.example/ x y\ndeb-src https://two.example/ s c\ndeb cdrom:[x]/ y z\n'
  const deb822 =
    'Types: deb\n# URIs: http://off.example\nURIs: http://three.example/debian\n https://four.example/\nSuites: x\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/\n'
  expect(patterns(file('apt', 'sources.list', list), file('apt', 'deb822', deb822))).toEqual([
    'apt one.example:80',
    'apt two.example:443',
    'apt three.example:80',
    'apt four.example:443',
  ])
})

test('cargo', () => {
  const text = `
[registry]
default = "corp"
[registries.corp]
index = "sparse+https://corp.example/index/"
[source.crates-io]
replace-with = "mirror"
[source.mirror]
registry = "https://mirror.example:9000/git"
`
  expect(patterns(file('cargo', 'cargo', text))).toEqual(['cargo corp.example:443', 'cargo mirror.example:9000'])
})

test('no text makes a reader fail, and what it finds is a host with a port', () => {
  const forms: Form[] = ['npmrc', 'pip.conf', 'sources.list', 'deb822', 'cargo', 'npm-code', 'pip-code']
  const words = fc.constantFrom(
    'registry=',
    'https://',
    'a.example',
    '[global]\n',
    'index-url = ',
    '\n ',
    'deb ',
    'URIs: ',
    ':',
    '@',
    '"',
    '__proto__',
  )
  fc.assert(
    fc.property(fc.constantFrom(...forms), fc.array(fc.oneof(words, fc.string({ maxLength: 6 }))), (form, parts) => {
      for (const { pattern } of findRegistries([file('npm', form, parts.join(''))])) expect(pattern).toMatch(/^[^\s/@]+:\d+$/)
    }),
  )
})

test('the configuration of this machine can be read, whatever it is', () => {
  for (const { pattern, source } of readRegistries('/nonexistent')) {
    expect(pattern).toMatch(/:\d+$/)
    expect(source).toMatch(/^\//)
  }
})
