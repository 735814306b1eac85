/** The doctor's look at what goes out: by which proxy, and whether what searches the web was ever tried. */
import { parseProxy } from '../actors/egress/proxy-settings.ts'
import { type NetworkSettings, networkSettings } from '../client/network-settings.ts'
import { isFault } from '../kernel/index.ts'
import { type DoctorCheck, info, missing, ok } from './doctor-report.ts'

/** Of a proxy its address alone: what else is in the setting may be a password. */
export function wayOutCheck(env: NodeJS.ProcessEnv, system?: () => NetworkSettings['proxy']): DoctorCheck {
  const name = 'way out'
  try {
    const { proxy, ca } = networkSettings(env, system)
    const trusted = ca === null ? '' : '; certificates of NODE_EXTRA_CA_CERTS are trusted besides'
    if (proxy.pac !== undefined) return ok(name, `by what a PAC script says${trusted}`)
    const named = [proxy.https, proxy.http, proxy.all].filter((setting) => setting !== undefined)
    const servers = named.map(parseProxy)
    if (servers.includes(null))
      return missing(
        name,
        'a proxy is set that cannot be used, so nothing goes out',
        'Set HTTPS_PROXY and HTTP_PROXY to http(s)://[user:password@]host[:port]; SOCKS proxies cannot be used.',
      )
    const places = [...new Set(servers.map((server) => `${server?.host}:${server?.port}`))]
    return ok(name, `${places.length === 0 ? 'straight' : `by the proxy ${places.join(', ')}`}${trusted}`)
  } catch (error) {
    if (!isFault(error)) throw error
    return missing(name, `${error.message} ${error.cause ?? ''}`.trim(), error.remedy)
  }
}

export function searchCheck(env: NodeJS.ProcessEnv): DoctorCheck {
  const name = 'web search'
  if (!env['ANTHROPIC_API_KEY'] && !env['ANTHROPIC_BASE_URL'])
    return info(name, 'the practice model cannot search', 'Set ANTHROPIC_API_KEY, or name a tool that searches: docs/EGRESS.md.')
  const detail = "by the Messages API's own tool: written to its documents, tried on a scripted one only"
  return { name, ok: true, level: 'unverified', detail }
}
