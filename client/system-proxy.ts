/**
 * The proxy that the operating system is set to: macOS from its dynamic store (`scutil --proxy`), Windows from the member's Internet settings
 * (`reg query`). Elsewhere programs go by variables alone. Written to the systems' documentation and unverified on both; reading their
 * answers is pure, and tested on answers as documented.
 */
import { execFileSync } from 'node:child_process'
import type { NetworkSettings } from './network-settings.ts'

type Proxy = NetworkSettings['proxy']
/** Prints what the system says. Throws when it says nothing. */
export type Ask = (command: string, args: readonly string[]) => string

/** Both answer at once; a machine on which they hang is worse off without an answer than without a proxy. */
const askMs = 5_000
const ask: Ask = (command, args) =>
  execFileSync(command, [...args], { encoding: 'utf8', timeout: askMs, stdio: ['ignore', 'pipe', 'ignore'], windowsHide: true })

const internetSettings = 'HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings'

/** Empty where there is none, or the system cannot be asked. */
export function systemProxy(platform: NodeJS.Platform = process.platform, run: Ask = ask): Proxy {
  try {
    if (platform === 'darwin') return readScutil(run('/usr/sbin/scutil', ['--proxy']))
    if (platform === 'win32') return readInternetSettings(run('reg.exe', ['query', internetSettings]))
  } catch {
    // A system without such a setting answers with an error.
  }
  return {}
}

/** `<dictionary> { HTTPSEnable : 1 … ExceptionsList : <array> { 0 : *.local } }` */
function readScutil(text: string): Proxy {
  const values = new Map([...text.matchAll(/^\s*(\w+) : (.*)$/gm)].map(([, key = '', value = '']) => [key, value.trim()]))
  const server = (kind: 'HTTP' | 'HTTPS' | 'SOCKS', scheme: string): string | undefined => {
    const host = values.get(`${kind}Enable`) === '1' ? values.get(`${kind}Proxy`) : undefined
    return host && `${scheme}://${bracketed(host)}:${values.get(`${kind}Port`) ?? ''}`.replace(/:$/, '')
  }
  const list = /ExceptionsList : <array> \{([^}]*)\}/.exec(text)?.[1] ?? ''
  const exceptions = [...list.matchAll(/^\s*\d+ : (.*)$/gm)].map(([, entry = '']) => entry.trim())
  const [http, https] = [server('HTTP', 'http'), server('HTTPS', 'http')]
  return given({
    http,
    https,
    // A proxy of a kind that cannot be used ends requests: going straight out is another network than the one meant.
    all: http === undefined && https === undefined ? server('SOCKS', 'socks5') : undefined,
    no: bypassed(exceptions),
    pac: values.get('ProxyAutoConfigEnable') === '1' ? values.get('ProxyAutoConfigURLString') : undefined,
  })
}

/** `    ProxyServer    REG_SZ    http=a:80;https=b:443` */
function readInternetSettings(text: string): Proxy {
  const values = new Map([...text.matchAll(/^\s+(\w+)\s+REG_\w+\s+(.*?)\s*$/gm)].map(([, key = '', value = '']) => [key, value]))
  const pac = values.get('AutoConfigURL')
  if (Number(values.get('ProxyEnable') ?? 0) !== 1) return given({ pac })
  const servers = (values.get('ProxyServer') ?? '').split(';').map((one) => one.trim())
  const of = (scheme: string): string | undefined =>
    servers.find((one) => one.toLowerCase().startsWith(`${scheme}=`))?.slice(scheme.length + 1)
  const [http, https, socks] = [of('http'), of('https'), of('socks')]
  const any = servers.find((one) => one !== '' && !one.includes('='))
  return given({
    http,
    https,
    all: any ?? (http === undefined && https === undefined && socks !== undefined ? `socks5://${socks}` : undefined),
    no: bypassed((values.get('ProxyOverride') ?? '').split(';').map((one) => one.trim())),
    pac,
  })
}

/** As NO_PROXY says it. `<local>` needs no saying: names without a dot lead nowhere by a proxy. */
function bypassed(entries: readonly string[]): string | undefined {
  const said = entries.flatMap((entry) => {
    if (entry === '' || entry.startsWith('<')) return []
    const [, numbers, rest = ''] = /^((?:\d{1,3}\.)*\d{1,3})(\.\*|\/\d+)$/.exec(entry) ?? []
    if (numbers === undefined) return [entry]
    const parts = numbers.split('.')
    const whole = [...parts, '0', '0', '0'].slice(0, 4).join('.')
    return [`${whole}${rest === '.*' ? `/${parts.length * 8}` : rest}`]
  })
  return said.length === 0 ? undefined : said.join(',')
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

function given(values: { [name in keyof Proxy]: string | undefined }): Proxy {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
}
