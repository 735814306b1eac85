/** What changed, and taking it back: `changes`, `undo`, `redo`, `mark`. */
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { type BodyOf, fault, type Limits, type ReplyOf } from '../../kernel/index.ts'
import { tempPrefix } from './atomic-write.ts'
import { type Change, type ChangeStore, placeOf } from './change-store.ts'
import { unifiedDiff } from './diff.ts'
import { linkText, lstatAt, stampAt, type State } from './entry-state.ts'
import { type Gate, requireWritable } from './gate.ts'
import { at as inFolder, openHeld, openPlace, scoped } from './handles.ts'
import { limits } from './limits.ts'
import { codeOf, osFault } from './os-errors.ts'
import type { protocol } from './protocol.ts'
import { decodeText } from './text.ts'
import { type Plan, planUndo, type Restore } from './undo-plan.ts'
import { carryOut, Folders } from './undo-run.ts'

type P = typeof protocol
type UndoReply = ReplyOf<P, 'undo'>

/** Undo and redo of one folder do not overlap with each other or with a tool's change. */
const turnOf = 'history'

export async function markCall(gate: Gate, body: BodyOf<P, 'mark'>, grant: Limits): Promise<ReplyOf<P, 'mark'>> {
  gate.log.mark({ session: grant.session ?? null, turn: body.turn, call: body.call, title: body.title })
  return {}
}

export async function listChanges(gate: Gate, body: BodyOf<P, 'changes'>): Promise<ReplyOf<P, 'changes'>> {
  const { store } = gate.log
  const folder = { root: gate.root.path, name: gate.name, key: gate.key }
  if (!store) return { ...folder, changes: [], truncated: false, canRedo: false, usage: { bytes: 0, quota: limits.storeBytes, changes: 0 } }
  gate.log.flush()
  const limit = body.limit ?? limits.changesListed
  const found = store.changes({ run: null, session: body.session, turn: body.turn, limit: limit + 1 })
  const { bytes, changes } = store.usage()
  return {
    ...folder,
    changes: found.slice(-limit).map((change) => view(gate, change)),
    truncated: found.length > limit,
    canRedo: store.lastUndo() !== null,
    usage: { bytes, quota: limits.storeBytes, changes },
  }
}

export function undoChanges(gate: Gate, body: BodyOf<P, 'undo'>, grant: Limits, signal: AbortSignal): Promise<UndoReply> {
  const store = storeOf(gate, grant)
  return gate.changes.run(turnOf, async () => {
    gate.log.flush()
    await settleHistory(gate, signal)
    const wanted = chosen(gate, store, body)
    if (wanted.length === 0)
      throw fault('nothing-to-undo', 'There is nothing to undo.', { cause: `asked for: ${body.what ?? `back to ${body.to}`}` })
    return apply(
      gate,
      store,
      wanted,
      { kind: 'undo', what: body.what ?? `to ${body.to}`, preview: body.preview ?? false, force: body.force ?? false, again: [] },
      signal,
    )
  })
}

export function redoChanges(gate: Gate, body: BodyOf<P, 'redo'>, grant: Limits, signal: AbortSignal): Promise<UndoReply> {
  const store = storeOf(gate, grant)
  return gate.changes.run(turnOf, async () => {
    gate.log.flush()
    await settleHistory(gate, signal)
    const last = store.lastUndo()
    if (!last) throw fault('nothing-to-undo', 'No undo is left that could be taken back.')
    return apply(
      gate,
      store,
      store.changes({ run: last.id }),
      { kind: 'redo', what: last.what, preview: body.preview ?? false, force: body.force ?? false, again: [last.id] },
      signal,
    )
  })
}

/**
 * After a kill: files under names of their own go, an undo that was under way is taken back, and changes whose end was not noted are looked at. One that
 * is killed itself is taken back, with what it took back, by the next.
 */
export async function settleHistory(gate: Gate, signal: AbortSignal): Promise<void> {
  const { store } = gate.log
  if (!store) return
  const folders = new Folders(gate)
  try {
    for (const path of store.leftTemps()) {
      removeLeft(folders, path)
      store.forgetTemp(path)
    }
    gate.log.recover((path) => look(folders, path))
  } finally {
    folders.close()
  }
  const broken = store.brokenRuns()
  if (broken.length === 0) return
  const rows = broken.flatMap(({ id }) => store.changes({ run: id }))
  const run = store.startRun('redo', `of ${broken[0]?.what}`, Date.now())
  const plan = withDisk(gate, (disk) => planUndo(rows, disk))
  const { renewed } = await carryOut(gate, plan, run, 'redo', signal)
  store.finishRun(
    run,
    [],
    broken.map(({ id }) => id),
    renewed,
  )
}

/** It may have gone since it was noted. */
function removeLeft(folders: Folders, path: string): void {
  try {
    const { folder, name } = folders.entry(path)
    if (name.startsWith(tempPrefix) && lstatAt(folder, name)?.isFile()) fs.unlinkSync(inFolder(folder, name))
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) throw error
  }
}

async function apply(
  gate: Gate,
  store: ChangeStore,
  wanted: readonly Change[],
  how: { kind: 'undo' | 'redo'; what: string; preview: boolean; force: boolean; again: readonly number[] },
  signal: AbortSignal,
): Promise<UndoReply> {
  const plan = withDisk(gate, (disk) => planUndo(wanted, disk, how.force))
  await setImmediate()
  const kept = plan.kept.map(({ change, path, why }): UndoReply['kept'][number] => ({ change: idOf(gate, change), path, why }))
  const shown = shownSteps(plan)
  const told = { total: shown.length, truncated: shown.length > limits.undoStepsShown, undone: plan.done.length }
  if (how.preview)
    return { run: null, steps: withDisk(gate, (disk) => withDiffs(store, shown.slice(0, limits.undoStepsShown), disk)), kept, ...told }
  if (shown.length === 0 && plan.done.length === 0) return { run: null, steps: [], kept, ...told }
  const run = store.startRun(how.kind, how.what, Date.now())
  const { failed, renewed } = await carryOut(gate, plan, run, how.kind, signal)
  const lost = new Set(failed.map(({ path }) => path))
  const byId = new Map(wanted.map((change) => [change.id, change]))
  const failedIn = (change: Change | undefined) => change !== undefined && (lost.has(change.path) || lost.has(placeOf(change)))
  const done = lost.size === 0 ? plan.done : plan.done.filter((id) => !failedIn(byId.get(id)))
  gate.log.flush()
  store.finishRun(run, how.kind === 'undo' ? done : [], how.again, renewed)
  const failures = failed.map(({ path, error }): UndoReply['kept'][number] => {
    const { message, cause } = osFault(error, path)
    return { change: '', path, why: 'failed', cause: cause ?? message }
  })
  return {
    run,
    steps: shown.slice(0, limits.undoStepsShown).map(({ step }) => step),
    kept: [...kept, ...failures],
    ...told,
    undone: done.length,
  }
}

/** The changes meant, those that stand. */
function chosen(gate: Gate, store: ChangeStore, { what, to, session }: BodyOf<P, 'undo'>): Change[] {
  if (what !== undefined) {
    const id = numberOf(gate, what)
    if (id !== null) return store.changes({ id, run: null, standing: true })
    const byTurn = store.changes({ turn: what, run: null, standing: true })
    return byTurn.length > 0 ? byTurn : store.changes({ call: what, run: null, standing: true })
  }
  if (typeof to === 'number') return store.changes({ since: to, session, run: null, standing: true })
  if (to === undefined) return []
  const after = numberOf(gate, to)
  return after === null ? [] : store.changes({ after, session, run: null, standing: true })
}

/** The row a change's id names, when it is one of this folder. */
function numberOf(gate: Gate, id: string): number | null {
  const [key, number = '', ...more] = id.split('-')
  return key === gate.key && more.length === 0 && /^\d{1,15}$/.test(number) ? Number(number) : null
}

function idOf(gate: Gate, id: number): string {
  return `${gate.key}-${id}`
}

function view(gate: Gate, change: Change): ReplyOf<P, 'changes'>['changes'][number] {
  const { id, at, session, turn, call, title, source, path, target, before, undone } = change
  return {
    id: idOf(gate, id),
    at,
    session,
    turn,
    call,
    title,
    source,
    what: kindOf(change),
    path,
    ...(target === null ? {} : { target }),
    ...(before.kind === 'file' ? { size: before.size } : {}),
    undone: undone !== null,
  }
}

function kindOf({ op, before, after }: Change): ReplyOf<P, 'changes'>['changes'][number]['what'] {
  if (op === 'rename') return 'moved'
  if (before.kind === 'absent') return 'created'
  if (before.kind === 'attributes') return 'attributes'
  return after === 'absent' ? 'deleted' : 'changed'
}

type Shown = { step: UndoReply['steps'][number]; restore?: Restore }

function shownSteps(plan: Plan): Shown[] {
  return [
    ...plan.moves.map(({ from, path }): Shown => ({ step: { do: 'move', from, path } })),
    ...plan.restores.map((restore): Shown => ({ step: { do: 'restore', path: restore.path }, restore })),
    ...plan.removes.map(({ path }): Shown => ({ step: { do: 'remove', path } })),
    ...plan.attributes.map(({ path }): Shown => ({ step: { do: 'attributes', path } })),
  ]
}

/** What each restored text would show as a difference, within a size in all. */
function withDiffs(store: ChangeStore, shown: readonly Shown[], disk: Folders): UndoReply['steps'] {
  let room: number = limits.diffChars
  return shown.map(({ step, restore }) => {
    if (!restore || restore.state.kind !== 'file' || restore.state.size > limits.undoDiffBytes || room <= 0) return step
    const after = text(Buffer.concat([...store.read(restore.state.content)]))
    const before = restore.replaces ? currentText(disk, restore.path) : null
    if (after === null || (restore.replaces && before === null)) return step
    const diff = unifiedDiff(restore.path, before, after, Math.min(room, limits.causeDiffChars))
    room -= diff.length
    return { ...step, diff }
  })
}

function currentText(disk: Folders, path: string): string | null {
  return scoped((scope) => {
    const { folder, name } = disk.entry(path)
    const held = scope.own(openPlace(folder, name))
    const stat = fs.fstatSync(held)
    return stat.isFile() && stat.size <= limits.undoDiffBytes ? text(fs.readFileSync(scope.own(openHeld(held)))) : null
  })
}

function text(bytes: Uint8Array): string | null {
  try {
    return decodeText(bytes, '')
  } catch {
    return null
  }
}

function look(folders: Folders, path: string): { stamp: string; mtimeMs: number; same: (before: State) => boolean } {
  try {
    const { folder, name } = folders.entry(path)
    const stat = lstatAt(folder, name)
    if (!stat) return { stamp: 'absent', mtimeMs: 0, same: ({ kind }) => kind === 'absent' }
    const mode = Number(stat.mode & 0o777n)
    return {
      stamp: stampAt(folder, name),
      mtimeMs: Number(stat.mtimeNs / 1_000_000n),
      same: (before) =>
        ((before.kind === 'file' || before.kind === 'attributes') && before.mode === mode && before.mtimeNs === String(stat.mtimeNs)) ||
        (before.kind === 'symlink' && before.text === linkText(folder, name)),
    }
  } catch {
    return { stamp: 'absent', mtimeMs: 0, same: ({ kind }) => kind === 'absent' }
  }
}

function withDisk<T>(gate: Gate, work: (disk: Folders) => T): T {
  const disk = new Folders(gate)
  try {
    return work(disk)
  } finally {
    disk.close()
  }
}

function storeOf(gate: Gate, grant: Limits): ChangeStore {
  requireWritable(gate, grant)
  if (!gate.log.store) throw fault('nothing-to-undo', 'No changes are kept for this folder.')
  return gate.log.store
}
