/** `bulkhead changes`, `undo`, `redo`: what was changed, and taking it back. */
import type { ReplyOf } from '../kernel/index.ts'
import type { protocol as fsGate } from '../actors/fs-gate/protocol.ts'
import type { Fault } from '../kernel/index.ts'
import type { Daemon } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { faultText } from './fault-text.ts'
import type { HistoryCommand } from './history-args.ts'
import { oneLine, printable } from './printable.ts'

type Listed = ReplyOf<typeof fsGate, 'changes'>
type Undone = ReplyOf<typeof fsGate, 'undo'> & { root: string; name: string }
type Reply<T> = { folders: T[]; failed: { root: string; error: Fault }[] }

const count = (changes: number): string => `${changes} ${changes === 1 ? 'change' : 'changes'}`

/** @returns the exit code: failed when something was kept that was to be taken back */
export async function history(daemon: Daemon, command: HistoryCommand, out: (text: string) => void): Promise<number> {
  const { verb, json, preview, force, ...rest } = command
  const params = verb === 'changes' ? rest : { ...rest, preview, force }
  if (verb === 'changes') {
    const reply = await daemon.call<Reply<Listed>>(verb, params)
    out(json ? `${JSON.stringify(reply)}\n` : printable([...reply.folders.map(listText), ...reply.failed.map(failedText)].join('')))
    return exitCodes.done
  }
  const reply = await daemon.call<Reply<Undone>>(verb, params)
  out(
    json
      ? `${JSON.stringify(reply)}\n`
      : printable([...reply.folders.map((folder) => undoneText(folder, command)), ...reply.failed.map(failedText)].join('')),
  )
  const whole = reply.failed.length === 0 && reply.folders.every(({ kept }) => kept.length === 0)
  return whole ? exitCodes.done : exitCodes.failed
}

/** What `undo` takes without a name: the newest turn of a session of which something can be taken back. */
export async function lastTurn(daemon: Daemon, session: string): Promise<string | null> {
  const { folders } = await daemon.call<Reply<Listed>>('changes', { session })
  const standing = folders.flatMap(({ changes }) => changes.filter(({ undone, turn }) => !undone && turn !== null))
  return standing.toSorted((a, b) => b.at - a.at)[0]?.turn ?? null
}

/** A path a line, the folder connected last first. */
export async function recentFolders(daemon: Daemon): Promise<string> {
  const { folders } = await daemon.call<Pick<Reply<{ root: string }>, 'folders'>>('folders/recent')
  return folders.map(({ root }) => oneLine(root)).join('\n') || 'No folder was connected for writing yet.'
}

const failedText = ({ root, error }: { root: string; error: Fault }): string => `${oneLine(root)}: ${faultText(error)}\n`

function listText({ root, changes, truncated, usage, canRedo }: Listed): string {
  if (changes.length === 0) return `${root}: nothing was changed.\n`
  const lines = [root, ...(truncated ? ['  (older changes are not shown)'] : [])]
  let group = ''
  for (const { id, at, turn, call, title, source, what, path, target, undone } of changes) {
    const next = `${turn ?? ''} ${call ?? ''}`
    if (next !== group) lines.push(`  ${turn ?? '(no turn)'}${call === null ? '' : `  ${call}`}  ${oneLine(title, 100)}`)
    group = next
    const where = target === undefined ? oneLine(path, 200) : `${oneLine(path, 200)} -> ${oneLine(target, 200)}`
    const by = source === 'workspace' ? ' (by a program)' : ''
    lines.push(
      `    ${id.padEnd(12)} ${new Date(at).toISOString().slice(0, 19)}  ${what.padEnd(10)} ${where}${by}${undone ? ' (undone)' : ''}`,
    )
  }
  lines.push(
    `  ${count(usage.changes)} kept, ${Math.ceil(usage.bytes / 1024)} KiB${canRedo ? '; bulkhead redo takes the last undo back' : ''}`,
  )
  return `${lines.join('\n')}\n`
}

const verbs = { remove: 'remove ', move: 'move   ', restore: 'restore', attributes: 'mode   ' } as const
const reasons: Readonly<Record<Undone['kept'][number]['why'], string>> = {
  'changed-later': 'changed since by someone else',
  'in-the-way': 'something else has its name now',
  'not-empty': 'holds something that was not there then',
  special: 'a special file cannot be made again',
  unknown: 'it is not known how the change left it',
  failed: 'could not be done',
}

function undoneText({ root, steps, total, truncated, kept, undone, run }: Undone, { verb, preview }: HistoryCommand): string {
  const lines: string[] = []
  if (preview) {
    lines.push(`${root}: ${verb} would`)
    for (const { do: what, path, from, diff } of steps) {
      lines.push(`  ${verbs[what]} ${from === undefined ? '' : `${oneLine(from, 200)} -> `}${oneLine(path, 200)}`)
      if (diff)
        lines.push(
          ...diff
            .trimEnd()
            .split('\n')
            .map((line) => `      ${line}`),
        )
    }
    if (truncated) lines.push(`  … ${total - steps.length} more`)
  } else
    lines.push(
      run === null
        ? `${root}: nothing was left to do.`
        : `${root}: ${verb === 'redo' ? `${count(undone)} of the undo taken back` : `${count(undone)} taken back`}, ${total} steps.`,
    )
  for (const { change, path, why, cause } of kept)
    lines.push(
      `  kept    ${oneLine(path, 200)}${change === '' ? '' : ` (${change})`}: ${reasons[why]}${cause === undefined ? '' : ` (${oneLine(cause, 200)})`}`,
    )
  return `${lines.join('\n')}\n`
}
