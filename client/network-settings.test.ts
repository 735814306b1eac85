/** Which way out the client finds: variables, the files they name, and what the operating system says where there are none. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { proxyFor } from '../actors/egress/proxy-settings.ts'
import { networkSettings } from './network-settings.ts'
import { systemProxy } from './system-proxy.ts'

const scutil = `<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
    2 : intranet.corp.example
  }
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 3128
  HTTPProxy : proxy.corp.example
  HTTPSEnable : 1
  HTTPSPort : 3129
  HTTPSProxy : proxy.corp.example
  ProxyAutoConfigEnable : 0
  ProxyAutoConfigURLString : http://wpad.corp.example/proxy.pac
}
`
const registry = (...lines: string[]) =>
  `\r\nHKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings\r\n${lines.map((line) => `    ${line}\r\n`).join('')}\r\n`
const saying = (text: string) => () => text

describe('the operating system', () => {
  test('macOS: proxies that are on, and what goes past them', () => {
    expect(systemProxy('darwin', saying(scutil))).toEqual({
      http: 'http://proxy.corp.example:3128',
      https: 'http://proxy.corp.example:3129',
      no: '*.local,169.254.0.0/16,intranet.corp.example',
    })
  })
  test.each([
    ['nothing is on', scutil.replaceAll('Enable : 1', 'Enable : 0').replace(/ExceptionsList[^}]*\}/, ''), {}],
    [
      'a script',
      '<dictionary> {\n  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://w.example/p.pac\n}',
      { pac: 'http://w.example/p.pac' },
    ],
    [
      'a proxy by an IPv6 address',
      '<dictionary> {\n  HTTPSEnable : 1\n  HTTPSPort : 1\n  HTTPSProxy : fd00::1\n}',
      { https: 'http://[fd00::1]:1' },
    ],
    [
      'SOCKS alone',
      '<dictionary> {\n  SOCKSEnable : 1\n  SOCKSPort : 1080\n  SOCKSProxy : s.example\n}',
      { all: 'socks5://s.example:1080' },
    ],
    ['nothing', '', {}],
  ])('macOS: %s', (_what, text, expected) => {
    expect(systemProxy('darwin', saying(text))).toEqual(expected)
  })
  test.each([
    ['one for all', ['ProxyEnable    REG_DWORD    0x1', 'ProxyServer    REG_SZ    p.example:8080'], { all: 'p.example:8080' }],
    [
      'one for each, and what goes past them',
      [
        'ProxyEnable    REG_DWORD    0x1',
        'ProxyServer    REG_SZ    http=a.example:80;https=b.example:443;ftp=c.example:21',
        'ProxyOverride    REG_SZ    *.corp.example;10.*;192.168.1.*;<local>',
      ],
      { http: 'a.example:80', https: 'b.example:443', no: '*.corp.example,10.0.0.0/8,192.168.1.0/24' },
    ],
    ['switched off', ['ProxyEnable    REG_DWORD    0x0', 'ProxyServer    REG_SZ    p.example:8080'], {}],
    [
      'a script',
      ['ProxyEnable    REG_DWORD    0x0', 'AutoConfigURL    REG_SZ    http://w.example/p.pac'],
      { pac: 'http://w.example/p.pac' },
    ],
    [
      'SOCKS alone',
      ['ProxyEnable    REG_DWORD    0x1', 'ProxyServer    REG_SZ    socks=s.example:1080'],
      { all: 'socks5://s.example:1080' },
    ],
  ])('Windows: %s', (_what, lines, expected) => {
    expect(systemProxy('win32', saying(registry(...lines)))).toEqual(expected)
  })
  test('one that cannot be asked, or has no such setting, has none', () => {
    const fails = () => {
      throw new Error('ENOENT')
    }
    for (const platform of ['darwin', 'win32', 'linux'] as const) expect(systemProxy(platform, fails)).toEqual({})
  })
  test('what it says is understood by egress', () => {
    const settings = systemProxy('darwin', saying(scutil))
    const to = (host: string) => proxyFor(settings, { host, port: 443, secure: true })
    expect(to('a.example')).toMatchObject({ proxy: { host: 'proxy.corp.example', port: 3129 } })
    for (const host of ['printer.local', '169.254.1.1', 'x.intranet.corp.example']) expect(to(host)).toEqual({ ok: true, proxy: null })
  })
})

describe('variables', () => {
  const system = () => ({ all: 'http://system.example:1' })
  test('the small spelling first; one of them is enough for the system not to be asked', () => {
    const env = { HTTPS_PROXY: 'http://large.example', https_proxy: 'http://small.example', NO_PROXY: 'x' }
    expect(networkSettings(env, system).proxy).toEqual({ https: 'http://small.example', no: 'x' })
    expect(networkSettings({ BULKHEAD_PROXY_PAC: 'http://w.example/p.pac' }, system).proxy).toEqual({ pac: 'http://w.example/p.pac' })
    expect(networkSettings({}, system).proxy).toEqual({ all: 'http://system.example:1' })
    // It names no proxy, only what would go past one.
    expect(networkSettings({ NO_PROXY: 'a.example' }, system).proxy).toEqual({ all: 'http://system.example:1', no: 'a.example' })
  })
  test('files they name are read, and one that cannot be is a fault', () => {
    const dir = mkdtempSync(join(tmpdir(), 'network-'))
    try {
      writeFileSync(join(dir, 'p.pac'), 'script')
      writeFileSync(join(dir, 'ca.pem'), 'certificate')
      const env = { BULKHEAD_PROXY_PAC: `file://${dir}/p.pac`, NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem') }
      expect(networkSettings(env, system)).toEqual({ proxy: { pac: 'script' }, ca: 'certificate' })
      expect(() => networkSettings({ NODE_EXTRA_CA_CERTS: join(dir, 'none') }, system)).toThrow(/NODE_EXTRA_CA_CERTS/)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})
