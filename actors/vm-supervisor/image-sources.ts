/**
 * Reads the machine's apt sources and decides which archive the image is made from. Pure: text in, choice out.
 * The mirror is the one the machine already uses, so a company's own mirror is respected and no host name is built in.
 */
import { fault } from '../../kernel/index.ts'

/** One source: a stanza of a `.sources` file, or a line of a `.list` file. */
export type AptSource = {
  uris: string[]
  suites: string[]
  components: string[]
  /** Path of a keyring, or an ASCII-armoured key itself; null: apt's own default. */
  signedBy: string | null
}

export type Archive = {
  distribution: 'debian' | 'ubuntu'
  suite: string
  /** Where each suite comes from, the release itself first. */
  sources: { uri: string; suite: string; components: string[] }[]
  signedBy: string | null
  /** Metapackage whose dependencies name the kernel. */
  kernelPackage: string
  /** False where nobody has tried the combination. */
  verified: boolean
}

const debianReleases = [
  'buster',
  'bullseye',
  'bookworm',
  'trixie',
  'forky',
  'duke',
  'sid',
  'oldoldstable',
  'oldstable',
  'stable',
  'testing',
  'unstable',
]
const ubuntuReleases = ['focal', 'jammy', 'noble', 'oracular', 'plucky', 'questing', 'resolute']

/** Sources of a file by its name: deb822 for `.sources`, one-line style otherwise. Disabled and source-only ones are left out. */
export function parseAptSources(fileName: string, text: string): AptSource[] {
  return fileName.endsWith('.sources') ? parseStanzas(text) : parseLines(text)
}

function parseStanzas(text: string): AptSource[] {
  const stanzas: Map<string, string>[] = []
  let stanza = new Map<string, string>()
  let field = ''
  for (const line of text.split(/\r?\n/)) {
    // A comment line does not end a field, not even between its continuation lines.
    if (line.startsWith('#')) continue
    if (line.trim() === '') {
      if (stanza.size > 0) stanzas.push(stanza)
      stanza = new Map()
      field = ''
      continue
    }
    const start = /^([A-Za-z0-9-]+):[ \t]*(.*)$/.exec(line)
    if (start !== null && !/^[ \t]/.test(line)) {
      field = (start[1] ?? '').toLowerCase()
      stanza.set(field, start[2] ?? '')
    } else if (field !== '') {
      stanza.set(field, `${stanza.get(field)}\n${line.trim() === '.' ? '' : line.trim()}`)
    }
  }
  if (stanza.size > 0) stanzas.push(stanza)

  return stanzas.flatMap((fields) => {
    const words = (name: string): string[] => (fields.get(name) ?? '').split(/\s+/).filter((word) => word !== '')
    if (!words('types').includes('deb') || /^(no|false|0|off|without|disable)$/i.test(fields.get('enabled')?.trim() ?? '')) return []
    const signedBy = fields.get('signed-by')?.trim() ?? ''
    return [{ uris: words('uris'), suites: words('suites'), components: words('components'), signedBy: signedBy === '' ? null : signedBy }]
  })
}

function parseLines(text: string): AptSource[] {
  return text.split(/\r?\n/).flatMap((raw) => {
    const line = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)/.exec(raw)
    if (line === null) return []
    const [, options = '', uri = '', suite = '', rest = ''] = line
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1] ?? null
    return [{ uris: [uri], suites: [suite], components: rest.split(/\s+/).filter((word) => word !== ''), signedBy }]
  })
}

/**
 * The archive to build from. `architecture` in Debian's words. `mirror` overrides the machine's sources (always Debian).
 * A Debian source counts if its suite is a release name, with or without `-updates`/`-security`, and it has `main`: third-party
 * sources fail one or the other. Without one, an Ubuntu machine's own release is used. Throws `image-failed` if there is neither.
 */
export function chooseArchive(
  sources: readonly AptSource[],
  options: { suite: string; architecture: string; mirror?: string | undefined },
): Archive {
  const kernelPackage = `linux-image-${options.architecture}`
  if (options.mirror !== undefined && options.mirror !== '') {
    const main = { uri: options.mirror, suite: options.suite, components: ['main'] }
    const signedBy = distributionSources(sources, debianReleases)[0]?.signedBy ?? null
    return { distribution: 'debian', suite: options.suite, sources: [main], signedBy, kernelPackage, verified: true }
  }
  const debian = distributionSources(sources, debianReleases)
  const base = debian.find((one) => one.pocket === '')
  if (base !== undefined) {
    // Only the pockets of the release the main mirror serves: a pinned sid beside bookworm must not add its own.
    const same = debian.filter((one) => one.release === base.release && one.pocket !== '')
    return {
      distribution: 'debian',
      suite: options.suite,
      sources: [base, ...same].map(({ uri, pocket }) => ({ uri, suite: options.suite + pocket, components: ['main'] })),
      signedBy: base.signedBy,
      kernelPackage,
      verified: options.architecture === 'amd64',
    }
  }
  const ubuntu = distributionSources(sources, ubuntuReleases)
  const ubuntuBase = ubuntu.find((one) => one.pocket === '')
  if (ubuntuBase !== undefined) {
    const same = ubuntu.filter((one) => one.release === ubuntuBase.release && one.pocket !== '')
    return {
      distribution: 'ubuntu',
      suite: ubuntuBase.release,
      sources: [ubuntuBase, ...same].map(({ uri, release, pocket }) => ({
        uri,
        suite: release + pocket,
        components: ['main', 'universe'],
      })),
      signedBy: ubuntuBase.signedBy,
      // The plain metapackage: it has the same kernel and modules on every Ubuntu architecture.
      kernelPackage: 'linux-image-generic',
      verified: false,
    }
  }
  throw fault('image-failed', 'No Debian or Ubuntu archive is configured on this machine.', {
    cause: `Of ${sources.length} apt sources none names a release with the component "main".`,
    remedy: 'Set BULKHEAD_DEBIAN_MIRROR to the address of a Debian mirror.',
  })
}

type Pocket = { uri: string; release: string; pocket: '' | '-updates' | '-security'; signedBy: string | null }

/** One per release and pocket, in the order of the files. */
function distributionSources(sources: readonly AptSource[], releases: readonly string[]): Pocket[] {
  const found: Pocket[] = []
  for (const source of sources) {
    const uri = source.uris[0]
    if (uri === undefined || !source.components.includes('main')) continue
    for (const suite of source.suites) {
      const [, release = '', pocket = ''] = /^([a-z]+)(-updates|-security)?$/.exec(suite.replace(/\/updates$/, '-security')) ?? []
      if (!releases.includes(release)) continue
      if (found.some((one) => one.release === release && one.pocket === pocket)) continue
      found.push({ uri, release, pocket: pocket as Pocket['pocket'], signedBy: source.signedBy })
    }
  }
  return found
}
