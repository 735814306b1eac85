/**
 * Messages of a connected folder's gate. Every path is relative to the folder, `/`-separated, '' = the folder itself; an absolute path
 * under the folder's real path is accepted too. Paths in replies are relative and free of symbolic links.
 *
 * All are legal in state `serving` only; before and after, the runtime refuses `not-now`, and `not-found` while the folder is gone.
 * Refusals common to all: `bad-path`, `outside-folder`, `symlink-escape`, `attenuated`, `not-found`, `io-failed`.
 */
import { z } from 'zod'
import type { Protocol } from '../../kernel/index.ts'
import { limits } from './limits.ts'

const path = z.string().max(limits.pathBytes)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const text = z.string().max(limits.writeBytes)
const replacement = { path, oldText: text.min(1), newText: text, replaceAll: z.boolean().optional() }
const edits = z
  .array(z.strictObject({ oldText: text.min(1), newText: text, replaceAll: z.boolean().optional() }))
  .min(1)
  .max(limits.editsAtOnce)
/** What stood there when the member was asked, from `preview`; the change is refused `changed-since-read` when something else does. */
const identity = z.string().max(8_192).optional()
const fileType = z.enum(['file', 'folder', 'symlink', 'special'])
const match = z.strictObject({
  path: z.string(),
  line: z.int().optional(),
  text: z.string().optional(),
  before: z.array(z.string()).optional(),
  after: z.array(z.string()).optional(),
  count: z.int().optional(),
})
const mediaTypes = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'application/pdf'] as const
export type MediaType = (typeof mediaTypes)[number]
/** Results to pass over, of those the same request would give. */
const skip = z.int().min(0).max(limits.walkEntries).optional()
/** With `truncated`: the `skip` that goes on after these. Missing then: there is more than one request may look at. */
const next = z.int().optional()
const label = z.string().min(1).max(200)
const undone = z.strictObject({
  /** null: nothing was done (a preview, or nothing left to do). */
  run: z.int().nullable(),
  /** Changes taken back. */
  undone: z.int(),
  steps: z.array(
    z.strictObject({
      do: z.enum(['remove', 'move', 'restore', 'attributes']),
      path: z.string(),
      from: z.string().optional(),
      diff: z.string().optional(),
    }),
  ),
  /** Steps in all; `truncated`: more than are named. */
  total: z.int(),
  truncated: z.boolean(),
  kept: z.array(
    z.strictObject({
      change: z.string(),
      path: z.string(),
      why: z.enum(['changed-later', 'in-the-way', 'not-empty', 'special', 'unknown', 'failed']),
      cause: z.string().optional(),
    }),
  ),
})
const connection = z.string().min(1).max(256)
const ninepFrame = z.instanceof(Uint8Array).refine((frame) => frame.length <= limits.msizeMax)

export const protocol = {
  /** The folder as connected. `root`: its real path on the device. */
  info: { body: z.strictObject({}), reply: z.strictObject({ root: z.string(), name: z.string(), mode: z.enum(['ro', 'rw']) }) },
  /**
   * Lines `offset` (from 1) to `offset + limit - 1` of a text file. `encoding` when it is not UTF-8. `sha256` and `size` are of the whole file, `lines` is its number of
   * lines, `truncated` says that lines after the window exist. With `media`, images and PDF files come as they are instead of `not-text`, and a
   * notebook as its cells, with its pictures; `as` then says so. `largePdf`: a PDF file for whoever reads it page by page, which may be larger. Refused: `not-a-file`, `not-text`, `too-large`.
   */
  read: {
    body: z.strictObject({
      path,
      offset: z.int().min(1).optional(),
      limit: z.int().min(1).max(1_000_000).optional(),
      media: z.boolean().optional(),
      largePdf: z.boolean().optional(),
    }),
    reply: z.strictObject({
      text: z.string(),
      sha256,
      lines: z.int(),
      truncated: z.boolean(),
      size: z.int(),
      encoding: z.string().optional(),
      as: z.enum(['image', 'pdf', 'notebook']).optional(),
      media: z
        .array(
          z.strictObject({
            type: z.enum(mediaTypes),
            data: z.instanceof(Uint8Array),
            width: z.int().optional(),
            height: z.int().optional(),
          }),
        )
        .optional(),
    }),
  },
  /** Entries of a folder down to `depth` (default 1), names relative to the connected folder, sorted. Refused: `not-a-folder`. */
  list: {
    body: z.strictObject({ path, depth: z.int().min(1).max(limits.listDepth).optional(), skip }),
    reply: z.strictObject({
      entries: z.array(z.strictObject({ name: z.string(), type: fileType, size: z.int(), mtimeMs: z.number() })),
      truncated: z.boolean(),
      next,
    }),
  },
  /** What is there. `path` is where it really is; `link` is a symbolic link's text, when the path itself names one. `mode`: permission bits. */
  stat: {
    body: z.strictObject({ path }),
    reply: z.strictObject({
      path: z.string(),
      type: fileType,
      size: z.int(),
      mtimeMs: z.number(),
      mode: z.int(),
      link: z.string().optional(),
    }),
  },
  /** Files whose path below `path` matches (`*`, `?`, `**`, `[…]`, `{a,b}`), newest first. Symbolic links are not followed. Refused: `bad-pattern`. */
  glob: {
    body: z.strictObject({
      pattern: z.string().min(1).max(limits.globChars),
      path: path.optional(),
      skip,
      limit: z.int().min(1).max(limits.globPaths).optional(),
    }),
    reply: z.strictObject({ paths: z.array(z.string()), truncated: z.boolean(), next }),
  },
  /**
   * Lines matching an RE2 expression, in a file or below a folder. `mode` content (default): line, text and context; files: path only;
   * count: matching lines per file. `glob` without `/` matches names at any depth. Refused: `bad-pattern`.
   */
  grep: {
    body: z.strictObject({
      pattern: z.string().min(1).max(limits.patternChars),
      path: path.optional(),
      glob: z.string().min(1).max(limits.globChars).optional(),
      ignoreCase: z.boolean().optional(),
      context: z.int().min(0).max(limits.grepContext).optional(),
      maxMatches: z.int().min(1).max(limits.grepMatchesMax).optional(),
      mode: z.enum(['content', 'files', 'count']).optional(),
      skip,
    }),
    reply: z.strictObject({ matches: z.array(match), truncated: z.boolean(), next, skipped: z.int() }),
    deadlineMs: 60_000,
  },
  /**
   * What `write`, `edit`, `multi-edit`, `move` or (`remove: true`) `delete` with the same body would do. `path`: where the change would really
   * land. `diff`: the difference, or the list of what goes. `identity`: what stands there now, to be handed on with the change. `protected`: the
   * rule, when the path needs an approval of its own. `mass`: how much moves along, when that does. Refused as they are.
   */
  preview: {
    body: z.union([
      z.strictObject({ path, content: text }),
      z.strictObject(replacement),
      z.strictObject({ path, edits }),
      z.strictObject({ path, to: path }),
      z.strictObject({ path, remove: z.literal(true) }),
    ]),
    reply: z.strictObject({
      path: z.string(),
      diff: z.string(),
      created: z.boolean(),
      identity: z.string(),
      protected: z.string().nullable(),
      mass: z.int().optional(),
    }),
    deadlineMs: 60_000,
  },
  /**
   * Replaces or creates a file, and its missing parent folders, all or nothing. `expect`: hash the file must have; null: it must not
   * exist. Refused: `read-only`, `protected-path`, `changed-since-read` (the cause has a diff), `already-exists`, `not-a-file`, `store-full`.
   */
  write: {
    body: z.strictObject({ path, content: text, expect: sha256.nullable().optional(), identity }),
    reply: z.strictObject({ sha256, bytes: z.int(), created: z.boolean() }),
  },
  /** Replaces one occurrence (or all) of a text; the file keeps its encoding, and CRLF where it has that throughout. Refused: as `write`, `no-match`, `ambiguous-match`, `not-text`, `too-large`. */
  edit: {
    body: z.strictObject({ ...replacement, expect: sha256.optional(), identity }),
    reply: z.strictObject({ sha256, replacements: z.int(), diff: z.string() }),
  },
  /** Several replacements in one file, one after the other, all or none. Refused as `edit`. */
  'multi-edit': {
    body: z.strictObject({ path, edits, expect: sha256.optional(), identity }),
    reply: z.strictObject({ sha256, replacements: z.int(), diff: z.string() }),
  },
  /**
   * Gives a file, link or folder another path in the folder; replaces nothing. Refused: as `write`, `not-found`, `symlink-escape`, `too-large`,
   * `mass-change` (unless the capability is for just that: `tools` mass).
   */
  move: {
    body: z.strictObject({ path, to: path, identity }),
    reply: z.strictObject({ path: z.string(), to: z.string() }),
    deadlineMs: 120_000,
  },
  /** Deletes a file, link or folder, with `recursive` also one that is not empty; it can be undone. Refused: as `write`, `not-found`, `too-large`. */
  delete: {
    body: z.strictObject({ path, recursive: z.boolean().optional(), identity }),
    reply: z.strictObject({ path: z.string(), files: z.int(), folders: z.int(), bytes: z.int() }),
    deadlineMs: 120_000,
  },
  /** What follows, from tools and from the workspace, belongs to this turn and call of the sender's session: so it can be undone together. One-way or not. */
  mark: { body: z.strictObject({ turn: label, call: label.nullable(), title: z.string().max(300) }), reply: z.strictObject({}) },
  /**
   * What others (programs on the device, other sessions) changed since this was last asked; the first time nothing, and the watch begins.
   * `more`: changes beyond those named. `partial`: the folder is too large to watch all of it.
   */
  others: {
    body: z.strictObject({}),
    reply: z.strictObject({
      changes: z.array(z.strictObject({ path: z.string(), what: z.enum(['changed', 'deleted']) })),
      more: z.int(),
      partial: z.boolean(),
    }),
  },
  /**
   * Changes of the folder by tools and by programs in the workspace, oldest first, the newest `limit` (default 200). `id` names one to
   * `undo`; so do `turn` and `call`. `size`: bytes kept. `source` workspace: by a program there, one entry a file and call.
   */
  changes: {
    body: z.strictObject({ session: label.optional(), turn: label.optional(), limit: z.int().min(1).max(limits.changesMax).optional() }),
    reply: z.strictObject({
      root: z.string(),
      name: z.string(),
      key: z.string(),
      changes: z.array(
        z.strictObject({
          id: z.string(),
          at: z.number(),
          session: z.string().nullable(),
          turn: z.string().nullable(),
          call: z.string().nullable(),
          title: z.string(),
          source: z.enum(['tool', 'workspace', 'undo', 'redo']),
          what: z.enum(['created', 'changed', 'deleted', 'moved', 'attributes']),
          path: z.string(),
          target: z.string().optional(),
          size: z.int().optional(),
          undone: z.boolean(),
        }),
      ),
      truncated: z.boolean(),
      canRedo: z.boolean(),
      usage: z.strictObject({ bytes: z.int(), quota: z.int(), changes: z.int() }),
    }),
  },
  /**
   * Takes back `what` (a change, a call, a turn) or everything after the point `to` (a change's id, or epoch ms). What someone changed later
   * is kept and named in `kept`, unless `force`. `preview`: says what it would do, with differences, and does nothing. Refused:
   * `read-only`, `nothing-to-undo`.
   */
  undo: {
    body: z.strictObject({
      what: label.optional(),
      to: z.union([label, z.number()]).optional(),
      session: label.optional(),
      preview: z.boolean().optional(),
      force: z.boolean().optional(),
    }),
    reply: undone,
    deadlineMs: limits.undoDeadlineMs,
  },
  /** Takes back the newest undo that has not been taken back. Refused as `undo`. */
  redo: {
    body: z.strictObject({ preview: z.boolean().optional(), force: z.boolean().optional() }),
    reply: undone,
    deadlineMs: limits.undoDeadlineMs,
  },
  /**
   * One 9P2000.L message of connection `conn` and its answer. `uid`: whom everything appears to belong to. `before`: messages that came ahead of it and
   * whose answers nobody waits for. What goes wrong inside 9P is answered inside 9P (Rlerror). Refused: `overloaded` (too many connections),
   * `read-only` never: that is EROFS.
   */
  ninep: {
    body: z.strictObject({
      conn: connection,
      uid: z.int().min(0).max(0xffff_fffe),
      frame: ninepFrame,
      before: z.array(ninepFrame).max(limits.framesBefore).optional(),
      /** The answer to a walk may be followed by the attributes of what was found, which a client asks for next. */
      ahead: z.boolean().optional(),
    }),
    reply: z.strictObject({ frame: z.instanceof(Uint8Array) }),
  },
  /** Ends a connection: its fids and open files are closed. Unknown ones are no error. */
  'ninep-close': { body: z.strictObject({ conn: connection }), reply: z.strictObject({}) },
} satisfies Protocol
