/** What the image builder takes from the machine it runs on: package sources, keyrings, proxy settings, architecture. */
import { access, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { debianSuite } from '../../guest/image/recipe.ts'
import { fault } from '../../kernel/index.ts'
import { type Archive, type AptSource, chooseArchive, parseAptSources } from './image-sources.ts'

/** An archive with everything resolved: plain addresses, and a keyring file that exists. */
export type ResolvedArchive = Archive & { keyring: string }

const aptDir = '/etc/apt'
const keyrings = {
  debian: ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg'],
  ubuntu: ['/usr/share/keyrings/ubuntu-archive-keyring.gpg'],
}

/** This machine's architecture in Debian's words. */
export function debianArchitecture(): string {
  const names: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' }
  const name = names[process.arch]
  if (name === undefined) throw fault('image-failed', `There is no workspace image for ${process.arch} machines.`)
  return name
}

/**
 * Where this machine's image comes from. `mirror` defaults to BULKHEAD_DEBIAN_MIRROR. With a `keyDir` the result can be
 * built from: a key written inside a source is put there as a file, and a missing keyring rejects with `image-failed`.
 */
export async function chosenArchive(mirror: string | undefined, keyDir: string | null): Promise<ResolvedArchive> {
  const archive = chooseArchive(await readAptSources(), {
    suite: debianSuite,
    architecture: debianArchitecture(),
    mirror: mirror ?? process.env.BULKHEAD_DEBIAN_MIRROR,
  })
  if (keyDir === null) return { ...archive, keyring: '' }
  const sources = await Promise.all(archive.sources.map(async (source) => ({ ...source, uri: await plainAddress(source.uri) })))
  return { ...archive, sources, keyring: await keyringFile(archive, keyDir) }
}

async function readAptSources(): Promise<AptSource[]> {
  const parts = await readdir(join(aptDir, 'sources.list.d')).catch(() => [])
  const paths = [
    'sources.list',
    ...parts
      .filter((name) => /\.(list|sources)$/.test(name))
      .toSorted()
      .map((name) => join('sources.list.d', name)),
  ]
  const texts = await Promise.all(paths.map((path) => readFile(join(aptDir, path), 'utf8').catch(() => '')))
  return paths.flatMap((path, index) => parseAptSources(path, texts[index] ?? ''))
}

/** `mirror+file:/path` names a list of mirrors; its first is taken, as the list does not exist for the tools inside the new tree. */
async function plainAddress(uri: string): Promise<string> {
  if (!uri.startsWith('mirror+file:')) return uri
  const text = await readFile(uri.slice('mirror+file:'.length).replace(/^\/+/, '/'), 'utf8')
  const first = text
    .split('\n')
    .map((line) => line.split(/[\t #]/)[0] ?? '')
    .find((word) => word !== '')
  return first ?? uri
}

async function keyringFile(archive: Archive, keyDir: string): Promise<string> {
  if (archive.signedBy?.includes('BEGIN PGP')) {
    const path = join(keyDir, 'archive-key.asc')
    await writeFile(path, `${archive.signedBy}\n`)
    return path
  }
  const candidates = [...(archive.signedBy?.startsWith('/') ? [archive.signedBy] : []), ...keyrings[archive.distribution]]
  for (const path of candidates)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path
  throw fault('image-failed', `The keys of the ${archive.distribution} archive are missing.`, {
    cause: `Looked for ${candidates.join(', ')}.`,
    remedy: `Install the package ${archive.distribution}-archive-keyring.`,
  })
}
