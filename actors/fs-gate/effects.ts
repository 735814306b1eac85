/** What a gate does to the disk, as Effect programs around the I/O files of this folder. */
import * as Effect from 'effect/Effect'
import { type BodyOf, type Effects, type Fault, fault } from '../../kernel/index.ts'
import { editFile, multiEdit, previewChange, writeFile } from './change-tools.ts'
import { closeGate, type Gate, type Mode, openGate } from './gate.ts'
import type { TaskParams } from './machine.ts'
import { NinepConnections } from './ninep-connections.ts'
import { listChanges, markCall, redoChanges, settleHistory, undoChanges } from './history-tools.ts'
import { osFault } from './os-errors.ts'
import type { protocol } from './protocol.ts'
import { listFolder, readFile, statPath, tellOthers } from './read-tools.ts'
import { globFiles, grepFiles } from './search-tools.ts'
import { deletePath, movePath } from './tree-tools.ts'
import { storePlace } from './store-place.ts'
import { isGone } from './walk.ts'

type Served = { gate: Gate; ninep: NinepConnections }
type Outcome = { type: string; [key: string]: unknown }

/** Open folders. Handles stay here, out of the machines' contexts, which know them by number. */
const open = new Map<number, Served>()
let opened = 0

/** The effect of one kind of request: `work` gets the gate, the body, what the capability allows, and a signal for cancels. */
// oxlint-disable-next-line typescript/no-explicit-any -- the body's type is each work's own.
function task<Body extends Record<string, any>>(
  work: (gate: Gate, body: Body, grant: TaskParams<Body>['grant'], signal: AbortSignal) => Promise<unknown>,
) {
  return {
    outcomes: ['done', 'failed'],
    run: ({ gate, body, grant }: TaskParams<Body>): Effect.Effect<Outcome> =>
      Effect.promise(async (signal) => {
        const served = open.get(gate)
        if (!served) return { type: 'failed', error: notOpen() }
        try {
          return { type: 'done', reply: await work(served.gate, body, grant, signal) }
        } catch (error) {
          const gone = isGone(served.gate.root)
          return { type: 'failed', error: gone ? folderGone(served.gate.name) : osFault(error, pathOf(body)), ...(gone ? { gone } : {}) }
        }
      }),
  }
}

/** A task that changes the folder: it waits until the step that asked for it is in the log. */
// oxlint-disable-next-line typescript/no-explicit-any
function change<Body extends Record<string, any>>(work: Parameters<typeof task<Body>>[0]) {
  return { ...task(work), outside: true } as const
}

export const effects = {
  openFolder: {
    outcomes: ['opened', 'failed'],
    run: ({ root, name, mode, changes }: { root: string; name: string; mode: Mode; changes: string | null }) =>
      Effect.promise(async (signal): Promise<Outcome> => {
        try {
          const gate = openGate(root, name, mode, storePlace({ root, changes }))
          await settleHistory(gate, signal)
          opened += 1
          open.set(opened, { gate, ninep: new NinepConnections(gate) })
          return { type: 'opened', gate: opened, root: gate.root.path }
        } catch (error) {
          return { type: 'failed', error: osFault(error, root) }
        }
      }),
  },
  closeFolder: {
    outcomes: ['closed'],
    run: ({ gate }: { gate: number }) =>
      Effect.sync((): Outcome => {
        const served = open.get(gate)
        open.delete(gate)
        served?.ninep.closeAll()
        if (served) closeGate(served.gate)
        return { type: 'closed' }
      }),
  },
  readFile: task(readFile),
  listFolder: task(listFolder),
  statPath: task(statPath),
  globFiles: task(globFiles),
  grepFiles: task(grepFiles),
  previewChange: task(previewChange),
  writeFile: change(writeFile),
  editFile: change(editFile),
  multiEdit: change(multiEdit),
  movePath: change(movePath),
  deletePath: change(deletePath),
  markCall: task(markCall),
  tellOthers: task(tellOthers),
  listChanges: task(listChanges),
  undoChanges: change(undoChanges),
  redoChanges: change(redoChanges),
  serveNinep: {
    outcomes: ['done', 'failed'],
    run: ({ gate, body, grant, from }: TaskParams<BodyOf<typeof protocol, 'ninep'>>) =>
      Effect.sync((): Outcome => {
        const served = open.get(gate)
        if (!served) return { type: 'failed', error: notOpen() }
        const frame = served.ninep.answer(body, grant, from)
        return 'code' in frame ? { type: 'failed', error: frame } : { type: 'done', reply: { frame } }
      }),
  },
  closeNinep: {
    outcomes: ['done'],
    run: ({ gate, body, from }: TaskParams<{ conn: string }>) =>
      Effect.sync((): Outcome => {
        open.get(gate)?.ninep.close(body.conn, from)
        return { type: 'done', reply: {} }
      }),
  },
} satisfies Effects

function pathOf(body: Record<string, unknown>): string {
  const { path } = body
  return typeof path === 'string' ? path : ''
}

function notOpen(): Fault {
  return fault('not-now', 'The folder is being opened again.', { retryAfterMs: 1_000 })
}

function folderGone(name: string): Fault {
  return fault('not-found', `The connected folder ${name} was deleted.`, { remedy: 'Restore the folder, or connect another.' })
}
