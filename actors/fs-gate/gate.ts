/** A connected folder while it is open, and what a capability to it allows. */
import { basename } from 'node:path'
import { fault, type Limits } from '../../kernel/index.ts'
import { ChangeLog } from './change-log.ts'
import { ChangeStore } from './change-store.ts'
import { FolderSyncs } from './folder-syncs.ts'
import type { FolderWatch } from './folder-watch.ts'
import { close, openRoot, whereIs } from './handles.ts'
import { KnownFolders } from './known-folders.ts'
import { limits } from './limits.ts'
import { componentsOf, within } from './path.ts'
import { RecentTexts } from './recent-texts.ts'
import { Serial } from './serial.ts'
import { type Syscalls, syscallsFor } from './syscalls.ts'
import type { Root } from './walk.ts'

export type Mode = 'ro' | 'rw'

export type Gate = {
  readonly root: Root
  readonly name: string
  readonly mode: Mode
  readonly syscalls: Syscalls
  readonly folderSyncs: FolderSyncs
  /** Texts as they were read, by hash. */
  readonly recent: RecentTexts
  /** Changes to one place, one after the other. */
  readonly changes: Serial
  readonly log: ChangeLog
  /** Files (device and inode) that got a protected name from the workspace: not written by it any more, however it opened them before. */
  readonly sealed: Set<string>
  /** Started when it is first asked what others changed. */
  watch: FolderWatch | null
  /** First part of the ids of its changes; the same in every session. */
  readonly key: string
}

/** Opens the folder at `path`. `store`: where its changes are kept; null: nowhere. Throws the system's error. */
export function openGate(path: string, name: string, mode: Mode, store: string | null = null): Gate {
  const fd = openRoot(path)
  try {
    const real = whereIs(fd)
    if (real === null) throw fault('not-found', `${path} was deleted.`)
    // A folder that is only read changes nothing, and its process may not write.
    const log = new ChangeLog(store === null || mode === 'ro' ? null : new ChangeStore(store, { root: path, name }))
    const key = store === null ? '' : basename(store).slice(0, limits.keyChars)
    const root = { fd, path: real, known: new KnownFolders() }
    const syscalls = syscallsFor(real)
    return {
      root,
      name,
      mode,
      syscalls,
      folderSyncs: new FolderSyncs(root, syscalls),
      recent: new RecentTexts(),
      changes: new Serial(),
      log,
      sealed: new Set(),
      watch: null,
      key,
    }
  } catch (error) {
    close(fd)
    throw error
  }
}

export function closeGate(gate: Gate): void {
  gate.watch?.close()
  gate.folderSyncs.flush()
  gate.log.close()
  gate.root.known.clear()
  close(gate.root.fd)
}

/** The mode left when gate and capability both have their say. */
export function modeFor(gate: Gate, granted: Limits): Mode {
  return gate.mode === 'ro' || granted.mode === 'ro' ? 'ro' : 'rw'
}

/** Throws `read-only`. */
export function requireWritable(gate: Gate, granted: Limits): void {
  if (gate.mode === 'ro') throw fault('read-only', `${gate.name} is connected read-only.`, { rule: `folder ${gate.name}: mode ro` })
  if (granted.mode === 'ro') throw fault('read-only', `This grant only reads ${gate.name}.`, { rule: 'grant: mode ro' })
}

/** Throws `attenuated` unless the capability covers the place (canonical components). */
export function requireCovered(gate: Gate, parts: readonly string[], granted: Limits): void {
  if (granted.path === undefined) return
  if (within(parts, limitParts(gate, granted))) return
  throw fault('attenuated', `${parts.join('/') || 'The folder'} is not covered by this grant.`, {
    cause: 'The path, with symbolic links resolved, lies elsewhere.',
    rule: `grant: path ${granted.path}`,
  })
}

/** The limit as components; a limit that is itself no good path covers nothing. */
export function limitParts(gate: Gate, granted: Limits): string[] {
  const parts = componentsOf(granted.path ?? '', gate.root.path)
  if (parts.includes('..')) throw fault('attenuated', 'The grant names no place.', { rule: `grant: path ${granted.path ?? ''}` })
  return parts
}
