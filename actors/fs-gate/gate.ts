/** A connected folder while it is open, and what a capability to it allows. */
import { fault, type Limits } from '../../kernel/index.ts'
import { close, openRoot, whereIs } from './handles.ts'
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
  /** Texts as they were read, by hash. */
  readonly recent: RecentTexts
  /** Changes to one place, one after the other. */
  readonly changes: Serial
}

/** Opens the folder at `path`. Throws the system's error. */
export function openGate(path: string, name: string, mode: Mode): Gate {
  const fd = openRoot(path)
  try {
    const real = whereIs(fd)
    if (real === null) throw fault('not-found', `${path} was deleted.`)
    return { root: { fd, path: real }, name, mode, syscalls: syscallsFor(real), recent: new RecentTexts(), changes: new Serial() }
  } catch (error) {
    close(fd)
    throw error
  }
}

export function closeGate(gate: Gate): void {
  close(gate.root.fd)
}

/** The mode left when gate and capability both have their say. */
export function modeFor(gate: Gate, limits: Limits): Mode {
  return gate.mode === 'ro' || limits.mode === 'ro' ? 'ro' : 'rw'
}

/** Throws `read-only`. */
export function requireWritable(gate: Gate, limits: Limits): void {
  if (gate.mode === 'ro') throw fault('read-only', `${gate.name} is connected read-only.`, { rule: `folder ${gate.name}: mode ro` })
  if (limits.mode === 'ro') throw fault('read-only', `This grant only reads ${gate.name}.`, { rule: 'grant: mode ro' })
}

/** Throws `attenuated` unless the capability covers the place (canonical components). */
export function requireCovered(gate: Gate, parts: readonly string[], limits: Limits): void {
  if (limits.path === undefined) return
  if (within(parts, limitParts(gate, limits))) return
  throw fault('attenuated', `${parts.join('/') || 'The folder'} is not covered by this grant.`, {
    cause: 'The path, with symbolic links resolved, lies elsewhere.',
    rule: `grant: path ${limits.path}`,
  })
}

/** The limit as components; a limit that is itself no good path covers nothing. */
export function limitParts(gate: Gate, limits: Limits): string[] {
  const parts = componentsOf(limits.path ?? '', gate.root.path)
  if (parts.includes('..')) throw fault('attenuated', 'The grant names no place.', { rule: `grant: path ${limits.path ?? ''}` })
  return parts
}
