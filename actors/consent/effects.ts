/** Consent's only contact with the world: chance for session names, and the time of a decision. */
import { randomBytes } from 'node:crypto'
import * as Effect from 'effect/Effect'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EffectContext, Effects } from '../../kernel/index.ts'
import { maxKnownFolders, policyRetryMs, retryMs } from './limits.ts'
import type { KnownFolder } from './state.ts'

/** Crockford's alphabet without look-alikes: names are read aloud and typed. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

export const effects = {
  /** A new session name (40 random bits: unique, and not guessable by counting) and the time, epoch ms. */
  mint: {
    outcomes: ['done'],
    run: () =>
      Effect.sync(() => ({
        type: 'done',
        name: `s-${[...randomBytes(8)].map((byte) => alphabet[byte % 32]).join('')}`,
        at: Date.now(),
      })),
  },
  /** The folders that have a store of changes, the one connected last first. */
  recall: {
    outcomes: ['done'],
    run: (_params: unknown, { params }: EffectContext) =>
      Effect.promise(async () => ({ type: 'done', folders: await knownFolders((params as { changes?: unknown }).changes) })),
  },
  /** Waits a moment before a task is tried again. */
  pause: { outcomes: ['done'], run: () => Effect.as(Effect.sleep(retryMs), { type: 'done' }) },
  /** Waits before policy is asked again. */
  rest: { outcomes: ['done'], run: () => Effect.as(Effect.sleep(policyRetryMs), { type: 'done' }) },
  /** The time, epoch ms. */
  stamp: { outcomes: ['done'], run: () => Effect.sync(() => ({ type: 'done', at: Date.now() })) },
} satisfies Effects

/** What is no record of a folder is passed over. */
async function knownFolders(dir: unknown): Promise<KnownFolder[]> {
  if (typeof dir !== 'string') return []
  const keys = await readdir(dir).catch(() => [])
  const read = keys.map(async (key): Promise<KnownFolder[]> => {
    try {
      const { root, name, at } = JSON.parse(await readFile(join(dir, key, 'folder.json'), 'utf8')) as Record<string, unknown>
      return typeof root === 'string' && typeof name === 'string' && typeof at === 'number' ? [{ key, root, name, at }] : []
    } catch {
      return []
    }
  })
  return (await Promise.all(read))
    .flat()
    .toSorted((a, b) => b.at - a.at)
    .slice(0, maxKnownFolders)
}
