/** Tool servers that plugins bring: `plugin.json` and `.mcp.json`, in the shapes real ones have. */
import { readdir, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { asFault } from '../../kernel/index.ts'
import type { Definition } from './definition.ts'
import { bundledExtension } from './extension-store.ts'
import { maxInstalled } from './limits.ts'
import { type Place, unusable } from './places.ts'
import { fromEntry, readJson, serverEntry } from './settings-file.ts'
import { expand, expandAll, expandArgs } from './variables.ts'

export async function pluginServers(place: Place): Promise<Definition[]> {
  const names = (await readdir(place.plugins).catch(() => [])).filter((name) => !name.startsWith('.')).toSorted()
  const found: Definition[] = []
  for (const folder of names.slice(0, maxInstalled)) {
    try {
      found.push(...(await serversOf(folder, await realpath(join(place.plugins, folder)), place)))
    } catch (error) {
      const { message, cause = '' } = asFault(error)
      found.push(
        unusable(
          { name: `plugin_${folder}`, source: 'plugin', origin: `plugin ${folder}`, bundled: false, signature: null },
          place,
          message,
          cause,
        ),
      )
    }
  }
  return found
}

async function serversOf(folder: string, root: string, place: Place): Promise<Definition[]> {
  const manifest = (await readJson(join(root, '.claude-plugin', 'plugin.json'))) ?? (await readJson(join(root, 'plugin.json'))) ?? {}
  const plugin = typeof manifest['name'] === 'string' ? manifest['name'] : folder
  const declared = manifest['mcpServers']
  const listed: readonly unknown[] = declared === undefined ? [] : Array.isArray(declared) ? declared : [declared]
  const servers = new Map<string, unknown>()
  const bundles: string[] = []
  const take = (raw: Record<string, unknown> | null): void => {
    for (const [name, entry] of Object.entries(unwrapped(raw ?? {}))) servers.set(name, entry)
  }
  take(await readJson(join(root, '.mcp.json')))
  for (const one of listed) {
    if (typeof one === 'object' && one !== null) take(one as Record<string, unknown>)
    else if (typeof one === 'string' && /\.(?:mcpb|dxt)$/i.test(one)) bundles.push(one)
    else if (typeof one === 'string') take(await readJson(await inside(root, one)))
  }
  const origin = `plugin ${plugin}`
  const local = [...servers].map(([name, raw]): Definition => {
    const base = { name: `plugin_${plugin}_${name}`, source: 'plugin' as const, origin, bundled: false, signature: null }
    const parsed = serverEntry.safeParse(raw)
    if (!parsed.success) return unusable(base, place, 'Its entry is not right.', parsed.error.issues[0]?.message ?? '')
    const { command, args = [], env = {} } = parsed.data
    const { data } = place.launch(base.name)
    const values = (variable: string): string | undefined =>
      ({ CLAUDE_PLUGIN_ROOT: root, CLAUDE_PLUGIN_DATA: data, HOME: data })[variable] as string | undefined
    const definition = fromEntry(
      base,
      {
        ...parsed.data,
        ...(command === undefined ? {} : { command: expand(command, values) ?? command }),
        args: expandArgs(args, values, () => undefined),
        env: { CLAUDE_PLUGIN_ROOT: root, CLAUDE_PLUGIN_DATA: data, ...expandAll(env, values) },
        // A plugin cannot grant itself anything: `bulkhead` counts only in the member's own settings.
        bulkhead: {},
      },
      place,
    )
    return definition.problem
      ? definition
      : { ...definition, launch: { ...definition.launch, code: [...new Set([root, ...definition.launch.code])] } }
  })
  const bundled = await Promise.all(bundles.map(async (path) => bundledExtension(await inside(root, path), plugin, place)))
  return [...local, ...bundled]
}

/** `.mcp.json` is written in two ways: servers by name, or those under `mcpServers`. */
export function unwrapped(raw: Record<string, unknown>): Record<string, unknown> {
  const wrapped = raw['mcpServers']
  return typeof wrapped === 'object' && wrapped !== null && !Array.isArray(wrapped) ? (wrapped as Record<string, unknown>) : raw
}

/** A path a plugin names, inside the plugin after all links. */
async function inside(root: string, path: string): Promise<string> {
  const real = await realpath(join(root, path))
  if (!real.startsWith(`${root}${sep}`)) throw new Error(`${path} leads out of the plugin`)
  return real
}
