/**
 * The manifest of a desktop extension, both generations (`dxt_version` and `manifest_version`), read as leniently as published ones need: of
 * the five official examples the strict schema takes one. And what it says to start.
 */
import { join, normalize } from 'node:path'
import { z } from 'zod'
import type { LaunchSpec } from '../mcp-server/protocol.ts'
import { expand, expandAll, expandArgs, type Values } from './variables.ts'

const override = z.looseObject({
  command: z.string().optional(),
  args: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
})
const configField = z.looseObject({
  type: z.enum(['string', 'number', 'boolean', 'directory', 'file']),
  title: z.string().optional(),
  description: z.string().optional(),
  required: z.boolean().optional(),
  default: z.unknown().optional(),
  multiple: z.boolean().optional(),
  sensitive: z.boolean().optional(),
  min: z.number().optional(),
  max: z.number().optional(),
})

export const extensionManifest = z
  .looseObject({
    manifest_version: z.string().optional(),
    dxt_version: z.string().optional(),
    name: z.string().min(1).max(200),
    display_name: z.string().max(200).optional(),
    version: z.string().min(1).max(100),
    description: z.string().default(''),
    author: z.looseObject({ name: z.string() }).optional(),
    server: z.looseObject({
      type: z.enum(['node', 'python', 'binary', 'uv']),
      entry_point: z.string().min(1),
      mcp_config: override.extend({ command: z.string(), platform_overrides: z.record(z.string(), override).optional() }).optional(),
    }),
    compatibility: z.looseObject({ platforms: z.array(z.string()).optional() }).optional(),
    user_config: z.record(z.string(), configField).optional(),
  })
  .refine(
    ({ manifest_version, dxt_version }) => manifest_version !== undefined || dxt_version !== undefined,
    'it names neither manifest_version nor dxt_version',
  )
export type ExtensionManifest = z.infer<typeof extensionManifest>

export type ConfigValue = string | number | boolean | string[]
type Config = Readonly<Record<string, ConfigValue>>

/** Given values brought to their types. `problems`: in words, per field. */
export function checkConfig(
  { user_config = {} }: ExtensionManifest,
  given: Readonly<Record<string, unknown>>,
): { config: Config; problems: string[] } {
  const config: Record<string, ConfigValue> = {}
  const problems = Object.keys(given)
    .filter((key) => !Object.hasOwn(user_config, key))
    .map((key) => `there is no setting ${key}`)
  for (const [key, field] of Object.entries(user_config)) {
    if (given[key] === undefined) continue
    const values = (Array.isArray(given[key]) ? given[key] : [given[key]]).map((value: unknown) => typed(value, field))
    const wrong = values.find((value) => value === null) === null
    if (wrong || (values.length > 1 && field.multiple !== true))
      problems.push(`${key} must be ${field.multiple === true ? 'one or more of type' : 'one'} ${field.type}`)
    else config[key] = field.multiple === true ? values.map(String) : (values[0] as ConfigValue)
  }
  return { config, problems }
}

function typed(value: unknown, { type, min, max }: z.infer<typeof configField>): ConfigValue | null {
  if (type === 'boolean') return value === true || value === 'true' ? true : value === false || value === 'false' ? false : null
  if (type === 'number') {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    return typeof number === 'number' && Number.isFinite(number) && number >= (min ?? -Infinity) && number <= (max ?? Infinity)
      ? number
      : null
  }
  return typeof value === 'string' && (type === 'string' || value.startsWith('/')) ? value : null
}

/** Settings it cannot start without, and that have neither a value nor a default. */
export function missingConfig({ user_config = {} }: ExtensionManifest, config: Config): string[] {
  return Object.entries(user_config).flatMap(([key, field]) =>
    field.required === true && config[key] === undefined && field.default === undefined ? [key] : [],
  )
}

/** What its manifest says to start, with the member's settings in place. Throws when it cannot be started here. */
export function extensionLaunch(
  manifest: ExtensionManifest,
  config: Config,
  { dir, base, network, platform }: { dir: string; base: LaunchSpec; network: boolean; platform: string },
): LaunchSpec {
  const { server, compatibility, user_config = {} } = manifest
  const platforms = compatibility?.platforms
  if (platforms && !platforms.includes(platform)) throw new Error(`it is for ${platforms.join(', ')}, not ${platform}`)
  if (server.type === 'uv') throw new Error('extensions of type uv are not supported yet')
  const told = server.mcp_config ?? standard(server.type, server.entry_point)
  const here = told.platform_overrides?.[platform] ?? {}
  const common: Record<string, string> = {
    __dirname: dir,
    HOME: base.data,
    DESKTOP: join(base.data, 'Desktop'),
    DOCUMENTS: join(base.data, 'Documents'),
    DOWNLOADS: join(base.data, 'Downloads'),
    pathSeparator: '/',
    '/': '/',
  }
  const places: Values = (name) => (Object.hasOwn(common, name) ? common[name] : undefined)
  // Defaults may use places; settings the member gave are taken as they are.
  const settings = Object.fromEntries(
    Object.entries(user_config).flatMap(([key, field]): [string, string | string[]][] => {
      const value = config[key] ?? (field.default as ConfigValue | undefined)
      if (value === undefined) return []
      const text = (one: unknown): string => (config[key] === undefined ? (expand(String(one), places) ?? '') : String(one))
      return [[key, Array.isArray(value) ? value.map(text) : text(value)]]
    }),
  )
  const setting = (name: string): string | string[] | undefined => {
    const [, key] = /^user_config\.(.+)$/.exec(name) ?? []
    return key === undefined ? undefined : Object.hasOwn(settings, key) ? settings[key] : undefined
  }
  const values: Values = (name) => {
    const value = setting(name)
    return Array.isArray(value) ? value.join(',') : (value ?? places(name))
  }
  const several = (name: string): readonly string[] | undefined => {
    const value = setting(name)
    return Array.isArray(value) ? value : undefined
  }
  const command = expand(here.command ?? told.command, values) ?? ''
  if (command === '') throw new Error('its command is empty')
  const folders = Object.entries(user_config).flatMap(([key, { type }]) => {
    const value = config[key]
    if ((type !== 'directory' && type !== 'file') || value === undefined) return []
    return (Array.isArray(value) ? value : [String(value)]).map((path) => ({
      path,
      mode: type === 'directory' ? ('rw' as const) : ('ro' as const),
    }))
  })
  return {
    ...base,
    command: server.type === 'python' && command === 'python' ? 'python3' : command,
    args: expandArgs(here.args ?? told.args ?? [], values, several),
    env: expandAll({ ...told.env, ...here.env }, values),
    network,
    folders,
    code: [dir],
  }
}

function standard(type: 'node' | 'python' | 'binary', entry: string): NonNullable<ExtensionManifest['server']['mcp_config']> {
  const file = `\${__dirname}/${entry}`
  if (type === 'binary') return { command: file, args: [] }
  return { command: type === 'node' ? 'node' : 'python3', args: [file] }
}

/** Where its entry point lies, inside the extension. Throws when it is elsewhere. */
export function entryPath({ server }: ExtensionManifest): string {
  const path = normalize(server.entry_point.replace(/^\$\{__dirname\}\//, ''))
  if (path.startsWith('/') || path === '..' || path.startsWith('../')) throw new Error('its entry point is not in it')
  return path
}
