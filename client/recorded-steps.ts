/** A session's steps in the message log, for the commands that read it without a daemon. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fault } from '../kernel/index.ts'
import { type MessageLog, messageLogName, openMessageLog, type Span } from '../kernel/message-log.ts'
import type { Actor } from '../kernel/types.ts'
import { version } from '../kernel/version.ts'

const actorsDir = new URL('../actors/', import.meta.url)

/** Throws `no-such-session` when there is no log, or nothing of the session in it. */
export async function withRecordedSteps<Result>(
  home: string,
  session: string,
  read: (log: MessageLog, spans: Span[]) => Promise<Result>,
): Promise<Result> {
  const file = join(home, messageLogName)
  if (!existsSync(file)) throw fault('no-such-session', 'There is no message log yet.', { cause: file })
  const log = openMessageLog(file, { version, readOnly: true })
  try {
    const spans = log.spansOf(session)
    if (spans.length === 0) throw fault('no-such-session', `No step of ${session} is in the message log.`)
    return await read(log, spans)
  } finally {
    log.close()
  }
}

/** A module of an actor's folder; null when there is none. Kinds come from a file: only a folder's own name is one. */
async function moduleOf<Module>(kind: string, name: 'index' | 'model'): Promise<Module | null> {
  const url = new URL(`${kind}/${name}.ts`, actorsDir)
  if (!/^[a-z0-9-]+$/.test(kind) || !existsSync(url)) return null
  return (await import(url.href)) as Module
}

export const actorOf = async (kind: string): Promise<Actor | null> => (await moduleOf<{ actor: Actor }>(kind, 'index'))?.actor ?? null

export const modelModuleOf = <Module>(kind: string): Promise<Module | null> => moduleOf<Module>(kind, 'model')
