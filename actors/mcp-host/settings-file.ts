/** `settings.json` of the member: servers under `mcpServers` in the shape every MCP client knows, what else is in it untouched. */
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { fault } from '../../kernel/index.ts'
import { codeRoots, type Definition } from './definition.ts'
import { maxJsonBytes } from './limits.ts'
import { type Place, unusable } from './places.ts'
import type { ManagedServer } from './state.ts'

export const toolMode = z.enum(['allow', 'ask', 'blocked'])

/** `bulkhead` is ours: what the server may reach besides its own folder. */
export const serverEntry = z.looseObject({
  type: z.string().optional(),
  command: z.string().min(1).max(4096).optional(),
  args: z.array(z.string().max(32_768)).max(256).optional(),
  env: z.record(z.string(), z.string()).optional(),
  url: z.string().optional(),
  disabled: z.boolean().optional(),
  bulkhead: z
    .looseObject({
      network: z.boolean().optional(),
      folders: z
        .array(z.object({ path: z.string().startsWith('/'), mode: z.enum(['ro', 'rw']) }))
        .max(32)
        .optional(),
    })
    .optional(),
})
export type ServerEntry = z.infer<typeof serverEntry>

export type Settings = {
  [key: string]: unknown
  mcpServers?: Record<string, unknown>
  mcpTools?: Record<string, unknown>
  webSearch?: unknown
}

export async function readSettings(home: string): Promise<Settings> {
  const value = await readJson(join(home, 'settings.json'))
  return value === null ? {} : (value as Settings)
}

/** Atomic: a reader sees the old file or the new one. */
export async function changeSettings(home: string, change: (settings: Settings) => Settings): Promise<void> {
  await writeJson(join(home, 'settings.json'), change(await readSettings(home)))
}

export function settingsServers({ mcpServers = {} }: Settings, place: Place): Definition[] {
  return Object.entries(mcpServers).flatMap(([name, raw]) => {
    const parsed = serverEntry.safeParse(raw)
    const base = { name, source: 'settings' as const, origin: 'settings.json', bundled: false, signature: null }
    if (!parsed.success) return [unusable(base, place, 'Its entry in settings.json is not right.', z.prettifyError(parsed.error))]
    if (parsed.data.disabled === true) return []
    return [fromEntry(base, parsed.data, place)]
  })
}

/** Servers that managed policy brings. */
export function managedServers(entries: readonly ManagedServer[], place: Place): Definition[] {
  return entries.map((entry) => {
    const { name, toolPolicy: _, ...raw } = entry
    const base = { name, source: 'managed' as const, origin: 'managed policy', bundled: false, signature: null }
    const parsed = serverEntry.safeParse(raw)
    if (!parsed.success) return unusable(base, place, 'Its entry in managedMcpServers is not right.', z.prettifyError(parsed.error))
    return fromEntry(base, parsed.data, place)
  })
}

/** A server entry as settings and plugins have it. */
export function fromEntry(
  base: Pick<Definition, 'name' | 'source' | 'origin' | 'bundled' | 'signature'>,
  entry: ServerEntry,
  place: Place,
): Definition {
  const { command, args = [], env = {}, bulkhead = {} } = entry
  if (command === undefined)
    return unusable(
      base,
      place,
      'It is not a local server.',
      entry.url === undefined ? 'it names no command' : 'servers reached over the network are not supported yet',
    )
  const { network = false, folders = [] } = bulkhead
  return {
    ...base,
    problem: null,
    launch: {
      ...place.launch(base.name),
      command,
      args,
      env,
      network,
      folders: folders.map(({ path, mode }) => ({ path, mode })),
      code: codeRoots(command, args),
    },
  }
}

/** A JSON object in a file; null when there is none. Throws `bad-settings`. */
export async function readJson(path: string): Promise<Record<string, unknown> | null> {
  let text: string
  try {
    if ((await stat(path)).size > maxJsonBytes)
      throw fault('bad-settings', `${path} is too large.`, { cause: `more than ${maxJsonBytes} bytes` })
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (error) {
    throw fault('bad-settings', `${path} is not JSON.`, { cause: error instanceof Error ? error.message : String(error) })
  }
  throw fault('bad-settings', `${path} is not a JSON object.`)
}

export async function writeJson(path: string, value: unknown): Promise<void> {
  // The home folder itself is there, and not this process's to make.
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch(() => {})
  await writeFile(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
  await rename(`${path}.new`, path)
}
