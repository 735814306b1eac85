/** Installed extensions: `extensions/<id>/` as it was packed, and `extensions/<id>.json` with what the member decided about it. */
import { createHash, X509Certificate } from 'node:crypto'
import { access, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { asFault, type Fault, fault, isFault } from '../../kernel/index.ts'
import { readEntry, unpack } from './archive.ts'
import type { Definition, SignatureState } from './definition.ts'
import {
  checkConfig,
  type ConfigValue,
  entryPath,
  extensionLaunch,
  type ExtensionManifest,
  extensionManifest,
  missingConfig,
} from './extension-manifest.ts'
import { bundle, maxInstalled, maxJsonBytes } from './limits.ts'
import { type Place, unusable } from './places.ts'
import { readJson, writeJson } from './settings-file.ts'
import { splitBundle, verifySignature, withoutComment } from './signature.ts'

const record = z.strictObject({
  id: z.string(),
  version: z.string(),
  sha256: z.string(),
  signature: z.strictObject({
    state: z.enum(['none', 'broken', 'untrusted', 'trusted']),
    publisher: z.string().nullable(),
    detail: z.string(),
  }),
  config: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])),
  network: z.boolean(),
})
type Record_ = z.infer<typeof record>

export type Wanted = { config: Readonly<Record<string, unknown>>; network: boolean }

/** @param publishers folder of the certificates the administrator trusts. @param required says which rule wants a trusted signature, or null */
export async function installExtension(
  path: string,
  wanted: Wanted,
  place: Place,
  publishers: string,
  required: Fault | null,
): Promise<{ id: string; version: string; signature: SignatureState; missing: string[] }> {
  if (dirname(path) !== place.incoming)
    throw fault('bad-extension', 'Extensions are installed from the incoming folder only.', { rule: place.incoming })
  try {
    return await installBundle(path, null, wanted, place, publishers, required)
  } finally {
    await rm(path, { force: true })
  }
}

async function installBundle(path: string, as: string | null, wanted: Wanted, place: Place, publishers: string, required: Fault | null) {
  if ((await stat(path)).size > bundle.maxBytes) throw bad(`it is larger than ${bundle.maxBytes / 1024 / 1024} MiB`)
  const bytes = await readFile(path)
  const split = splitBundle(bytes)
  const signature = verifySignature(split, await trustedPublishers(publishers), new Date())
  if (required && signature.state !== 'trusted') throw { ...required, cause: signature.detail }
  // A signature that does not fit is worse than none: somebody changed something.
  if (signature.state === 'broken') throw bad(signature.detail)
  const zip = withoutComment(split.content)
  const manifest = parseManifest(await readEntry(zip, 'manifest.json', maxJsonBytes))
  const { config, problems } = checkConfig(manifest, wanted.config)
  if (problems.length > 0) throw fault('bad-settings', `The settings of ${manifest.name} are not right.`, { cause: problems.join('; ') })
  const id = as ?? extensionId(manifest.name)
  const staging = join(place.extensions, `.${id}.new`)
  await rm(staging, { recursive: true, force: true })
  await mkdir(staging, { recursive: true, mode: 0o700 })
  try {
    await unpack(zip, staging)
    await access(join(staging, entryOf(manifest))).catch(() => {
      throw bad(`its entry point ${manifest.server.entry_point} is not in it`)
    })
    const target = join(place.extensions, id)
    await rm(target, { recursive: true, force: true })
    await rename(staging, target)
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
  const kept: Record_ = {
    id,
    version: manifest.version,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    signature,
    config: config as Record<string, ConfigValue>,
    network: wanted.network,
  }
  await writeJson(join(place.extensions, `${id}.json`), kept)
  return { id, version: manifest.version, signature, missing: missingConfig(manifest, config) }
}

export async function removeExtension(id: string, place: Place): Promise<void> {
  if (extensionId(id) !== id || (await readJson(join(place.extensions, `${id}.json`))) === null)
    throw fault('not-found', `There is no extension ${id}.`, { remedy: 'See `bulkhead extension list`.' })
  await rm(join(place.extensions, `${id}.json`), { force: true })
  await rm(join(place.extensions, id), { recursive: true, force: true })
}

export async function installedExtensions(place: Place): Promise<Definition[]> {
  const names = (await readdir(place.extensions).catch(() => []))
    .filter((name) => /^[^.].*\.json$/.test(name) && !name.startsWith('plugin.'))
    .toSorted()
  return Promise.all(names.slice(0, maxInstalled).map((name) => definitionOf(basename(name, '.json'), 'extension', place)))
}

/** An extension that lies packed in a plugin: unpacked once per content, under a name of its own. */
export async function bundledExtension(path: string, plugin: string, place: Place): Promise<Definition> {
  const id = `plugin.${extensionId(plugin)}.${extensionId(basename(path).replace(/\.\w+$/, ''))}`
  try {
    const sha256 = createHash('sha256')
      .update(await readFile(path))
      .digest('hex')
    const known = record.safeParse(await readJson(join(place.extensions, `${id}.json`)))
    // What the administrator requires of signatures is asked of the server that comes of it, like of any other.
    if (!known.success || known.data.sha256 !== sha256) await installBundle(path, id, { config: {}, network: false }, place, '', null)
    return { ...(await definitionOf(id, 'plugin', place)), bundled: true }
  } catch (error) {
    const { message, cause = '' } = asFault(error)
    return unusable({ name: id, source: 'plugin', origin: `plugin ${plugin}`, bundled: true, signature: null }, place, message, cause)
  }
}

async function definitionOf(id: string, source: 'extension' | 'plugin', place: Place): Promise<Definition> {
  const dir = join(place.extensions, id)
  const base = { name: id, source, origin: `extension ${id}`, bundled: false, signature: null }
  try {
    const kept = record.parse(await readJson(join(place.extensions, `${id}.json`)))
    const manifest = parseManifest(await readFile(join(dir, 'manifest.json')))
    const known = { ...base, origin: `extension ${manifest.display_name ?? manifest.name} ${kept.version}`, signature: kept.signature }
    const missing = missingConfig(manifest, kept.config)
    if (missing.length > 0)
      return unusable(known, place, 'It needs settings.', `install it again with ${missing.map((key) => `--config ${key}=…`).join(' ')}`)
    const launch = extensionLaunch(manifest, kept.config, {
      dir,
      base: place.launch(id),
      network: kept.network,
      platform: process.platform,
    })
    return { ...known, launch, problem: null }
  } catch (error) {
    return unusable(
      base,
      place,
      'It cannot be started.',
      isFault(error) ? (error.cause ?? error.message) : error instanceof Error ? error.message : String(error),
    )
  }
}

function parseManifest(bytes: Buffer | null): ExtensionManifest {
  if (bytes === null) throw bad('it has no manifest.json')
  let raw: unknown
  try {
    raw = JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, ''))
  } catch (error) {
    throw bad(`its manifest.json is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  const parsed = extensionManifest.safeParse(raw)
  if (!parsed.success) throw bad(`its manifest.json is not right: ${z.prettifyError(parsed.error).slice(0, 1_000)}`)
  return parsed.data
}

function entryOf(manifest: ExtensionManifest): string {
  try {
    return entryPath(manifest)
  } catch (error) {
    throw bad(error instanceof Error ? error.message : String(error))
  }
}

async function trustedPublishers(folder: string): Promise<X509Certificate[]> {
  const names = folder === '' ? [] : await readdir(folder).catch(() => [])
  const read = names.filter((name) => name.endsWith('.pem')).map(async (name) => new X509Certificate(await readFile(join(folder, name))))
  const settled = await Promise.allSettled(read)
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
}

function extensionId(name: string): string {
  return (
    name
      .toLowerCase()
      .replace(/[^a-z0-9-]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60) || 'extension'
  )
}

function bad(cause: string): Fault {
  return fault('bad-extension', 'The extension cannot be installed.', { cause })
}
