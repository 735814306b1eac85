/** What the host's machine cannot do itself: read and write the member's settings, install, and hand calls on with their progress. */
import { mkdir, rm } from 'node:fs/promises'
import * as Effect from 'effect/Effect'
import { asFault, type EffectContext, type Effects, type Fault, fault, isFault } from '../../kernel/index.ts'
import type { Definition } from './definition.ts'
import { installedExtensions, installExtension, removeExtension } from './extension-store.ts'
import { type Place, placeOf } from './places.ts'
import { pluginServers } from './plugins.ts'
import { hostParams } from './protocol.ts'
import {
  changeSettings,
  managedServers,
  readJson,
  readSettings,
  type Settings,
  settingsServers,
  toolMode,
  writeJson,
} from './settings-file.ts'
import type { Change, Context, Loaded, ManagedServer } from './state.ts'

type Outcome = { type: string; [key: string]: unknown }

/** Whatever touches the files does so one after another. */
let last: Promise<unknown> = Promise.resolve()

function inOrder<T>(work: () => Promise<T>): Promise<T> {
  const turn = last.then(work)
  last = turn.catch(() => {})
  return turn
}

export const effects = {
  /** Everything that is configured. What cannot be read is left out and told in the log. */
  load: {
    outcomes: ['done'],
    run: ({ managed }: { managed: readonly ManagedServer[] }, context: EffectContext) =>
      Effect.promise(() => inOrder(async () => ({ type: 'done', loaded: await load(managed, place(context), context) }))),
  },
  /** Carries a change out and reads everything anew. `ticket`: the request it is for, which does not interrupt it. */
  change: {
    outcomes: ['done', 'failed'],
    run: ({ ticket, change, managed }: { ticket: number; change: Change; managed: readonly ManagedServer[] }, context: EffectContext) =>
      Effect.promise(() =>
        inOrder(async (): Promise<Outcome> => {
          try {
            const body = await perform(change, place(context), context)
            return { type: 'done', ticket, change, body, loaded: await load(managed, place(context), context) }
          } catch (error) {
            return { type: 'failed', ticket, error: plainFault(error) }
          }
        }),
      ),
  },
  savePins: {
    outcomes: ['done', 'failed'],
    run: ({ pins }: { pins: Context['pins'] }, context: EffectContext) =>
      Effect.promise(() =>
        inOrder(() => writeJson(place(context).pins, { pins })).then(
          () => ({ type: 'done' }),
          (error: unknown) => {
            context.log('error', `what was approved could not be kept: ${plainFault(error).cause ?? ''}`)
            return { type: 'failed' }
          },
        ),
      ),
  },
  pause: { outcomes: ['done'], run: ({ ms }: { ms: number }) => Effect.as(Effect.sleep(ms), { type: 'done' }) },
  /** A call, handed on to the server's actor; its progress goes to whoever called. */
  relay: {
    outcomes: ['done', 'failed'],
    run: (
      { request, slot, tool, input }: { request: number; slot: number; tool: string; input: Record<string, unknown> },
      context: EffectContext,
    ) =>
      context
        .request(
          slot,
          'call',
          { tool, input },
          { deadlineMs: null, onPart: (part) => context.part(request, { type: 'progress', text: (part as { text: string }).text }) },
        )
        .pipe(
          Effect.match({
            onSuccess: ({ body }): Outcome => ({ type: 'done', body }),
            onFailure: (error): Outcome => ({
              type: 'failed',
              error:
                error.code === 'actor-down'
                  ? fault('server-unavailable', 'The tool server ended.', { cause: error.cause ?? error.message })
                  : error,
            }),
          }),
        ),
  },
} satisfies Effects

const place = ({ params }: EffectContext): Place => placeOf(hostParams.parse(params))

async function load(managed: readonly ManagedServer[], at: Place, context: EffectContext): Promise<Loaded> {
  for (const folder of [at.plugins, at.extensions, at.incoming]) await mkdir(folder, { recursive: true, mode: 0o700 }).catch(() => {})
  const told = (what: string) => (error: unknown) => {
    const { message, cause } = plainFault(error)
    context.log('error', `${what}: ${message} ${cause ?? ''}`)
    return null
  }
  const settings: Settings = (await readSettings(at.home).catch(told('settings'))) ?? {}
  const found = [
    ...managedServers(managed, at),
    ...settingsServers(settings, at),
    ...((await pluginServers(at).catch(told('plugins'))) ?? []),
    ...((await installedExtensions(at).catch(told('extensions'))) ?? []),
  ]
  // Of two by one name the first counts: the organization's before the member's, and what the member wrote before what came with something.
  const definitions = found.filter(({ name }, index) => found.findIndex((other) => other.name === name) === index)
  await Promise.all(definitions.map(({ launch }: Definition) => mkdir(launch.data, { recursive: true, mode: 0o700 })))
  const modes = Object.fromEntries(
    Object.entries(settings.mcpTools ?? {}).flatMap(([tool, raw]) => {
      const mode = toolMode.safeParse(raw)
      return mode.success ? [[tool, mode.data] as const] : []
    }),
  )
  const kept = await readJson(at.pins).catch((error: unknown) => {
    told('approved definitions')(error)
    return 'unreadable' as const
  })
  const pins = kept === null || kept === 'unreadable' ? {} : ((kept['pins'] ?? {}) as Loaded['pins'])
  const { webSearch = null } = settings
  if (webSearch !== null && typeof webSearch !== 'string') context.log('warn', 'settings: `webSearch` is no name of a tool.')
  const search = typeof webSearch === 'string' ? webSearch : null
  return { definitions, modes, search, pins, pinsKnown: kept !== 'unreadable' }
}

async function perform(change: Change, at: Place, context: EffectContext): Promise<unknown> {
  switch (change.do) {
    case 'add': {
      const { name, command, args, env, network, folders } = change
      const entry = {
        command,
        args,
        ...(Object.keys(env).length > 0 ? { env } : {}),
        ...(network || folders.length > 0 ? { bulkhead: { network, folders } } : {}),
      }
      await changeSettings(at.home, (settings) => ({ ...settings, mcpServers: { ...settings.mcpServers, [name]: entry } }))
      return {}
    }
    case 'remove': {
      await changeSettings(at.home, (settings) => ({
        ...settings,
        mcpServers: Object.fromEntries(Object.entries(settings.mcpServers ?? {}).filter(([name]) => name !== change.name)),
      }))
      return {}
    }
    case 'tool-mode':
      await changeSettings(at.home, (settings) => ({ ...settings, mcpTools: { ...settings.mcpTools, [change.tool]: change.mode } }))
      return {}
    case 'install': {
      const { publishersDir } = hostParams.parse(context.params)
      const { id, version, signature, missing } = await installExtension(change.path, change, at, publishersDir, change.required)
      return { id, version, signature: signature.detail, missing }
    }
    case 'remove-extension':
      await removeExtension(change.id, at)
      await rm(at.launch(change.id).data, { recursive: true, force: true })
      return {}
    default:
      return change satisfies never
  }
}

/** As plain data: what was thrown may be an Error that carries a fault. */
function plainFault(error: unknown): Fault {
  if (!isFault(error)) {
    const { resource } = (error ?? {}) as { resource?: string }
    if (!(error instanceof Error)) return asFault(error)
    return fault('io-failed', 'It could not be read or written.', {
      cause: resource === undefined ? error.message : `${error.message} (${resource})`,
    })
  }
  const { code, message, cause, remedy, rule, retryAfterMs } = error
  return {
    code,
    message,
    remedy,
    ...(cause === undefined ? {} : { cause }),
    ...(rule === undefined ? {} : { rule }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}
