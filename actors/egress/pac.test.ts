/** Proxy auto-configuration scripts: what real ones do works, and what a hostile one tries does not. */
import { expect, test } from 'vitest'
import { loadPac } from './pac.ts'

const of = async (body: string, host = 'www.example.com', url = `https://${host}/`) =>
  (await loadPac(`function FindProxyForURL(url, host) { ${body} }`)).find(url, host)

test.each([
  ["return 'PROXY p:1'", 'PROXY p:1'],
  ["return isPlainHostName(host) ? 'a' : 'b'", 'b'],
  ["return dnsDomainIs(host, '.example.com') ? 'a' : 'b'", 'a'],
  ["return shExpMatch(url, 'https://*.example.com/*') ? 'a' : 'b'", 'a'],
  ["return shExpMatch(host, '*.example.org') ? 'a' : 'b'", 'b'],
  ["return localHostOrDomainIs(host, 'www.example.com') ? 'a' : 'b'", 'a'],
  ['return String(dnsDomainLevels(host))', '2'],
  ["return isInNet('10.1.2.3', '10.0.0.0', '255.0.0.0') ? 'a' : 'b'", 'a'],
  ["return isInNet('11.1.2.3', '10.0.0.0', '255.0.0.0') ? 'a' : 'b'", 'b'],
  ["return weekdayRange('SUN', 'SAT') && timeRange(0, 23) && dateRange('JAN', 'DEC') ? 'a' : 'b'", 'a'],
  ["return weekdayRange('XYZ') ? 'a' : 'b'", 'b'],
  // Nothing is looked up for it, and where it runs is not told.
  ["return String(dnsResolve(host)) + isResolvable(host) + isInNet(host, '0.0.0.0', '0.0.0.0') + myIpAddress()", 'nullfalsefalse127.0.0.1'],
  ['return null', ''],
])('%s -> %s', async (body, expected) => {
  expect(await of(body)).toBe(expected)
})

/** A clock of the script's own. */
const clock = (hours: number, minutes: number, seconds: number) =>
  `Date = function () {
    this.getHours = function () { return ${hours} }
    this.getMinutes = function () { return ${minutes} }
    this.getSeconds = function () { return ${seconds} }
  };`

// As in browsers: of two hours, the second counts to its end.
test.each([
  ['9', [9, 59, 59], true],
  ['9', [10, 0, 0], false],
  ['9, 17', [8, 59, 59], false],
  ['9, 17', [17, 59, 59], true],
  ['9, 17', [18, 0, 0], false],
  ['0, 23', [23, 59, 59], true],
  ['22, 6', [2, 0, 0], true],
  ['22, 6', [12, 0, 0], false],
  ['8, 30, 17, 0', [17, 0, 59], true],
  ['8, 30, 17, 0', [17, 1, 0], false],
  ['0, 0, 0, 0, 0, 30', [0, 0, 30], true],
  ['0, 0, 0, 0, 0, 30', [0, 0, 31], false],
] as const)('timeRange(%s) at %j: %s', async (range, [hours, minutes, seconds], expected) => {
  expect(await of(`${clock(hours, minutes, seconds)} return String(timeRange(${range}))`)).toBe(String(expected))
})

test('it has no way out of its jail', async () => {
  const names = [
    'process',
    'require',
    'fetch',
    'XMLHttpRequest',
    'WebSocket',
    'std',
    'os',
    'globalThis.process',
    'Deno',
    'setTimeout',
    'importScripts',
    'WebAssembly',
  ]
  expect(await of(`return [${names.map((name) => `typeof ${name}`).join()}].join()`)).toBe(names.map(() => 'undefined').join())
  expect(await of('try { return String(Function("return typeof process")()) } catch (e) { return "no" }')).toMatch(/^(undefined|no)$/)
})

test.each([
  ['a loop', 'while (true) {}'],
  ['a pattern that backtracks', 'return /^(a+)+$/.test("a".repeat(60) + "b") ? "a" : "b"'],
  ['memory without end', 'var a = []; for (;;) a.push(new Array(100000).join("x"))'],
  ['recursion without end', 'function f() { return f() + 1 } return f()'],
  ['an error', 'throw new Error("x")'],
])('%s ends in a refusal, and the process goes on', async (_what, body) => {
  await expect(of(body)).rejects.toMatchObject({ code: 'fetch-failed', rule: 'proxy-script' })
  expect(await of("return 'DIRECT'")).toBe('DIRECT')
})

test('a script that is none is said to be', async () => {
  await expect(loadPac('var x = 1')).rejects.toMatchObject({ rule: 'proxy-script' })
  await expect(loadPac('<html>not found</html>')).rejects.toMatchObject({ rule: 'proxy-script' })
})

test('what is asked about is data', async () => {
  const pac = await loadPac('function FindProxyForURL(url, host) { return host }')
  const odd = `a"); throw 1; ("\u2028'\\`
  expect(pac.find('https://x/', odd)).toBe(odd)
})
