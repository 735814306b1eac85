/**
 * Which registries this machine's package managers use, from their own configuration files: hosts only. Credentials in them are not
 * looked at. Pure; `registry-files.ts` reads the files. Where nothing is configured a manager's own built-in default counts, as its
 * installed code states it. What cannot be understood is left out: it then is not allowed.
 */
import { parse as parseIni } from 'ini'
import { parse as parseToml } from 'smol-toml'

export type Manager = 'npm' | 'pip' | 'apt' | 'cargo'
/** `pattern`: `host:port`, in canonical spelling. `source`: the file. */
export type Registry = { manager: Manager; pattern: string; source: string }
export type RegistryFile = { manager: Manager; form: Form; path: string; text: string }
/** How a file is read. `npm-code` and `pip-code`: the source in which the manager's default stands. */
export type Form = 'npmrc' | 'pip.conf' | 'sources.list' | 'deb822' | 'cargo' | 'npm-code' | 'pip-code'

/** `files` in the order the managers read them. Defaults count only for a manager whose registry no other file sets. */
export function findRegistries(files: readonly RegistryFile[]): Registry[] {
  const found = files.flatMap(({ manager, form, path, text }) =>
    urlsIn(form, text).flatMap((url): (Registry & { form: Form; main: boolean })[] => {
      const pattern = patternOf(url.url)
      return pattern === null ? [] : [{ manager, pattern, source: path, form, main: url.main }]
    }),
  )
  const configured = new Set(found.filter(({ form, main }) => main && !form.endsWith('-code')).map(({ manager }) => manager))
  const kept = found.filter(({ form, manager }) => !form.endsWith('-code') || !configured.has(manager))
  const seen = new Set<string>()
  return kept.flatMap(({ manager, pattern, source }) => {
    const key = `${manager} ${pattern}`
    if (seen.has(key)) return []
    seen.add(key)
    return [{ manager, pattern, source }]
  })
}

/** `main`: it stands in for the manager's default, not beside it. */
type Url = { url: string; main: boolean }

function urlsIn(form: Form, text: string): Url[] {
  try {
    return readers[form](text)
  } catch {
    return []
  }
}

const readers: Record<Form, (text: string) => Url[]> = {
  npmrc: (text) =>
    Object.entries(parseIni(text)).flatMap(([key, value]) => {
      if (typeof value !== 'string' || !(key === 'registry' || /^@[^:]+:registry$/.test(key))) return []
      return [{ url: value, main: key === 'registry' }]
    }),
  // Values go on in indented lines, which the ini form does not have.
  'pip.conf': (text) => {
    const joined = text.replace(/\r?\n[ \t]+(?=[^\s#;])/g, ' ')
    return Object.values(parseIni(joined)).flatMap((section: unknown) =>
      Object.entries(typeof section === 'object' && section !== null ? section : {}).flatMap(([key, value]) => {
        const name = key.replaceAll('_', '-')
        if (typeof value !== 'string' || !['index-url', 'extra-index-url', 'find-links'].includes(name)) return []
        return value.split(/\s+/).map((url) => ({ url, main: name === 'index-url' }))
      }),
    )
  },
  'sources.list': (text) =>
    text.split('\n').flatMap((line) => {
      const url = /^\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?(\S+)/.exec(line)?.[1]
      return url === undefined ? [] : [{ url, main: true }]
    }),
  deb822: (text) =>
    text.split(/\n\s*\n/).flatMap((stanza) => {
      const plain = stanza.replace(/^#.*(\n|$)/gm, '')
      if (/^Enabled:\s*(no|false|0)\s*$/im.test(plain)) return []
      const uris = /^URIs:((?:.*)(?:\n[ \t].*)*)/im.exec(plain)?.[1] ?? ''
      return uris
        .trim()
        .split(/\s+/)
        .map((url) => ({ url, main: true }))
    }),
  cargo: (text) => {
    const config = parseToml(text) as { registries?: unknown; source?: unknown; registry?: unknown }
    const named = Object.values(tableOf(config.registries)).flatMap((entry) => stringsOf(entry, ['index']))
    const sources = Object.values(tableOf(config.source)).flatMap((entry) => stringsOf(entry, ['registry']))
    return [...named, ...sources, ...stringsOf(config.registry, ['index'])].map((url) => ({
      url: url.replace(/^(sparse|git)\+/, ''),
      main: true,
    }))
  },
  'npm-code': (text) => {
    const url = /new Definition\('registry',\s*\{\s*default:\s*'(https?:[^']+)'/.exec(text)?.[1]
    return url === undefined ? [] : [{ url, main: true }]
  },
  'pip-code': (text) => {
    const [, index, files] =
      /^PyPI\s*=\s*PackageIndex\(\s*['"]([^'"]+)['"]\s*,\s*file_storage_domain\s*=\s*['"]([^'"]+)['"]/m.exec(text) ?? []
    return [index, files && `https://${files}/`].flatMap((url) => (url ? [{ url, main: true }] : []))
  },
}

const tableOf = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null ? { ...value } : {})

function stringsOf(value: unknown, keys: readonly string[]): string[] {
  return keys.map((key) => tableOf(value)[key]).filter((item): item is string => typeof item === 'string')
}

function patternOf(text: string): string | null {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) return null
  const { hostname, port, protocol } = new URL(text)
  if (hostname === '' || /[${}]/.test(hostname)) return null
  return `${hostname}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}`
}
