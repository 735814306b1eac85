import { expect, test } from 'vitest'
import { searchCheck, wayOutCheck } from './doctor-network.ts'

const none = () => ({})

test.each([
  [{}, 'ok', 'straight'],
  [{ HTTPS_PROXY: 'http://ann:hunter22@proxy.example:3128', HTTP_PROXY: 'proxy.example:3128' }, 'ok', 'by the proxy proxy.example:3128'],
  [{ BULKHEAD_PROXY_PAC: 'http://ann:hunter22@wpad.example/p.pac' }, 'ok', 'by what a PAC script says'],
  [{ ALL_PROXY: 'socks5://ann:hunter22@proxy.example:1080' }, 'missing', 'a proxy is set that cannot be used, so nothing goes out'],
  [{ NODE_EXTRA_CA_CERTS: '/nowhere/ca.pem' }, 'missing', /^The file that NODE_EXTRA_CA_CERTS names cannot be read\. ENOENT/],
])('the way out with %j: %s', (env, level, detail) => {
  const check = wayOutCheck(env, none)
  expect(check).toMatchObject({ ok: level === 'ok', level, detail: typeof detail === 'string' ? detail : expect.stringMatching(detail) })
  expect(JSON.stringify(check)).not.toContain('hunter22')
  if (level === 'missing') expect(check.remedy).toMatch(/\w/)
})

test('the proxy of the system counts where no variable names one', () => {
  expect(wayOutCheck({}, () => ({ all: 'http://system.example:8080' })).detail).toBe('by the proxy system.example:8080')
})

test('a search by the real API is called what it is: never tried', () => {
  expect(searchCheck({})).toMatchObject({ level: 'info', remedy: expect.stringContaining('EGRESS.md') })
  expect(searchCheck({ ANTHROPIC_API_KEY: 'sk-made-up' })).toMatchObject({ ok: true, level: 'unverified' })
})
