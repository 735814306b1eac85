import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chooseArchive, parseAptSources } from './image-sources.ts'

const options = { suite: 'trixie', architecture: 'amd64' }

const deb822 = `Types: deb
# a comment inside a stanza
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.invalid/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
Enabled: no
URIs: http://disabled.invalid/debian
Suites: trixie
Components: main
`

describe('reading', () => {
  test('stanzas, without comments and disabled ones', () => {
    expect(parseAptSources('debian.sources', deb822)).toMatchObject([
      { uris: ['http://mirror.invalid/debian'], suites: ['bookworm', 'bookworm-updates'], components: ['main'] },
      { suites: ['bookworm-security'] },
    ])
  })

  test('lines, with options and comments', () => {
    const text = [
      '# deb http://no.invalid/debian trixie main',
      'deb [arch=amd64 signed-by=/etc/apt/keyrings/d.gpg] http://mirror.invalid/debian trixie main contrib # ours',
      'deb-src http://mirror.invalid/debian trixie main',
      'deb http://vendor.invalid/apt/ ./',
    ].join('\n')
    expect(parseAptSources('sources.list', text)).toEqual([
      {
        uris: ['http://mirror.invalid/debian'],
        suites: ['trixie'],
        components: ['main', 'contrib'],
        signedBy: '/etc/apt/keyrings/d.gpg',
      },
      { uris: ['http://vendor.invalid/apt/'], suites: ['./'], components: [], signedBy: null },
    ])
  })

  test('a key written inside a stanza', () => {
    const text =
      'Types: deb\nURIs: http://m.invalid/\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n'
    expect(parseAptSources('x.sources', text)[0]?.signedBy).toBe('-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc')
  })

  test('no text makes it throw', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('deb ', '[', ']', 'Types: deb', ':', '\n', ' ', '#', 'x') }), (text) => {
        parseAptSources('a.sources', text)
        parseAptSources('a.list', text)
      }),
    )
  })
})

describe('choosing', () => {
  test("the machine's own mirrors serve the image's release", () => {
    const archive = chooseArchive(parseAptSources('debian.sources', deb822), options)
    expect(archive).toMatchObject({ distribution: 'debian', suite: 'trixie', verified: true, kernelPackage: 'linux-image-amd64' })
    expect(archive.sources.map(({ uri, suite }) => [uri, suite])).toEqual([
      ['http://mirror.invalid/debian', 'trixie'],
      ['http://mirror.invalid/debian', 'trixie-updates'],
      ['http://mirror.invalid/debian-security', 'trixie-security'],
    ])
  })

  test('third parties are not asked', () => {
    const text = `deb https://vendor.invalid/node_20.x nodistro main
deb https://vendor.invalid/apt cloud-sdk-bookworm main
deb https://vendor.invalid/docker bookworm stable
deb http://mirror.invalid/debian trixie main
deb http://mirror.invalid/debian trixie-backports main`
    const archive = chooseArchive(parseAptSources('sources.list', text), options)
    expect(archive.sources).toEqual([{ uri: 'http://mirror.invalid/debian', suite: 'trixie', components: ['main'] }])
  })

  test('on Ubuntu its own release, marked as untried', () => {
    const text = 'Types: deb\nURIs: http://u.invalid/ubuntu\nSuites: noble noble-updates\nComponents: main universe\n'
    const archive = chooseArchive(parseAptSources('ubuntu.sources', text), options)
    expect(archive).toMatchObject({ distribution: 'ubuntu', suite: 'noble', verified: false, kernelPackage: 'linux-image-generic' })
    expect(archive.sources.map(({ suite }) => suite)).toEqual(['noble', 'noble-updates'])
  })

  test('an override wins, and nothing at all is an error with a remedy', () => {
    const archive = chooseArchive(parseAptSources('debian.sources', deb822), { ...options, mirror: 'http://other.invalid/debian' })
    expect(archive.sources).toEqual([{ uri: 'http://other.invalid/debian', suite: 'trixie', components: ['main'] }])
    expect(() => chooseArchive([], options)).toThrow(
      expect.objectContaining({ code: 'image-failed', remedy: expect.stringContaining('BULKHEAD_DEBIAN_MIRROR') }),
    )
  })
})
