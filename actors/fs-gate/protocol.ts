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
const fileType = z.enum(['file', 'folder', 'symlink', 'special'])
const match = z.strictObject({
  path: z.string(),
  line: z.int().optional(),
  text: z.string().optional(),
  before: z.array(z.string()).optional(),
  after: z.array(z.string()).optional(),
  count: z.int().optional(),
})
const connection = z.string().min(1).max(256)

export const protocol = {
  /** The folder as connected. `root`: its real path on the device. */
  info: { body: z.strictObject({}), reply: z.strictObject({ root: z.string(), name: z.string(), mode: z.enum(['ro', 'rw']) }) },
  /**
   * Lines `offset` (from 1) to `offset + limit - 1` of a UTF-8 file. `sha256` and `size` are of the whole file, `lines` is its number of
   * lines, `truncated` says that lines after the window exist. Refused: `not-a-file`, `not-text`, `too-large`.
   */
  read: {
    body: z.strictObject({ path, offset: z.int().min(1).optional(), limit: z.int().min(1).max(1_000_000).optional() }),
    reply: z.strictObject({ text: z.string(), sha256, lines: z.int(), truncated: z.boolean(), size: z.int() }),
  },
  /** Entries of a folder down to `depth` (default 1), names relative to the connected folder, sorted. Refused: `not-a-folder`. */
  list: {
    body: z.strictObject({ path, depth: z.int().min(1).max(limits.listDepth).optional() }),
    reply: z.strictObject({
      entries: z.array(z.strictObject({ name: z.string(), type: fileType, size: z.int(), mtimeMs: z.number() })),
      truncated: z.boolean(),
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
    body: z.strictObject({ pattern: z.string().min(1).max(limits.globChars), path: path.optional() }),
    reply: z.strictObject({ paths: z.array(z.string()), truncated: z.boolean() }),
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
    }),
    reply: z.strictObject({ matches: z.array(match), truncated: z.boolean(), skipped: z.int() }),
    deadlineMs: 60_000,
  },
  /** What `write` or `edit` with the same body would do. `path`: where the change would really land. Refused as they are. */
  preview: {
    body: z.union([z.strictObject({ path, content: text }), z.strictObject(replacement)]),
    reply: z.strictObject({ path: z.string(), diff: z.string(), created: z.boolean() }),
  },
  /**
   * Replaces or creates a file, and its missing parent folders, all or nothing. `expect`: hash the file must have; null: it must not
   * exist. Refused: `read-only`, `changed-since-read` (the cause has a diff), `already-exists`, `not-a-file`.
   */
  write: {
    body: z.strictObject({ path, content: text, expect: sha256.nullable().optional() }),
    reply: z.strictObject({ sha256, bytes: z.int(), created: z.boolean() }),
  },
  /** Replaces one occurrence (or all) of a text. Refused: as `write`, `no-match`, `ambiguous-match`, `not-text`, `too-large`. */
  edit: {
    body: z.strictObject({ ...replacement, expect: sha256.optional() }),
    reply: z.strictObject({ sha256, replacements: z.int(), diff: z.string() }),
  },
  /**
   * One 9P2000.L message of connection `conn` and its answer. `uid`: whom everything appears to belong to. What goes wrong inside 9P is
   * answered inside 9P (Rlerror). Refused: `overloaded` (too many connections), `read-only` never: that is EROFS.
   */
  ninep: {
    body: z.strictObject({
      conn: connection,
      uid: z.int().min(0).max(0xffff_fffe),
      frame: z.instanceof(Uint8Array).refine((frame) => frame.length <= limits.msizeMax),
    }),
    reply: z.strictObject({ frame: z.instanceof(Uint8Array) }),
  },
  /** Ends a connection: its fids and open files are closed. Unknown ones are no error. */
  'ninep-close': { body: z.strictObject({ conn: connection }), reply: z.strictObject({}) },
} satisfies Protocol
