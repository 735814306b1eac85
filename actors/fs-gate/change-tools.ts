/** Changing files: write, edit, and what either would do. */
import { Buffer } from 'node:buffer'
import * as fs from 'node:fs'
import { type BodyOf, fault, type Limits, type ReplyOf } from '../../kernel/index.ts'
import { makeFolders, type Target, writeAtomically } from './atomic-write.ts'
import { unifiedDiff } from './diff.ts'
import { type Decoded, encode } from './encoding.ts'
import { hashNow, openFile, requireFile, sha256Of, wholeBytes } from './file-content.ts'
import { identityAt, identityOfAbsent } from './entry-state.ts'
import { type Gate, requireCovered, requireWritable } from './gate.ts'
import { openHeld, openPlace, type Scope, scoped } from './handles.ts'
import { limits } from './limits.ts'
import { codeOf } from './os-errors.ts'
import { requireUnprotected, ruleOf } from './protected.ts'
import type { protocol } from './protocol.ts'
import { decoded, decodeText, type Replacement, replaceText } from './text.ts'
import { previewDelete, previewMove, requireSame } from './tree-tools.ts'
import { type Found, type Missing, resolve } from './walk.ts'

type P = typeof protocol

export function writeFile(gate: Gate, body: BodyOf<P, 'write'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'write'>> {
  return changing(gate, body.path, grant, async (scope, place) => {
    const session = grant.session ?? null
    const content = Buffer.from(body.content)
    requireSize(content, body.path, limits.writeBytes)
    const expected = body.expect
    requireSame(body.path, body.identity, () => identityOf(place))
    if (place.kind === 'missing') {
      if (typeof expected === 'string') throw changed(gate, body.path, expected, null, body.content)
      const parent = makeFolders(gate, place, place.rest.slice(0, -1), scope, session)
      const target: Target = { parent, name: place.rest.at(-1) as string, parts: [...place.parts, ...place.rest], replaces: null }
      const sha256 = await writeAtomically(gate, target, content, () => undefined, scope, signal, session)
      return { sha256, bytes: content.length, created: true }
    }
    requireFile(place)
    if (expected === null) throw fault('already-exists', `${body.path} is already there.`, { rule: 'expected not to exist' })
    // Unchecked without a hash to compare with: then whatever is there is replaced, as asked.
    const check = () => {
      requireSame(body.path, body.identity, () => identityOf(place))
      if (expected !== undefined) requireUnchanged(gate, place, expected, body.path, body.content)
    }
    check()
    const sha256 = await writeAtomically(gate, replacing(place), content, check, scope, signal, session)
    return { sha256, bytes: content.length, created: false }
  })
}

export function editFile(gate: Gate, body: BodyOf<P, 'edit'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'edit'>> {
  const { path, expect, identity, ...change } = body
  return multiEdit(
    gate,
    { path, edits: [change], ...(expect === undefined ? {} : { expect }), ...(identity === undefined ? {} : { identity }) },
    grant,
    signal,
  )
}

export function multiEdit(
  gate: Gate,
  body: BodyOf<P, 'multi-edit'>,
  grant: Limits,
  signal: AbortSignal,
): Promise<ReplyOf<P, 'multi-edit'>> {
  return changing(gate, body.path, grant, async (scope, place) => {
    if (place.kind === 'missing') throw fault('not-found', `${body.path} does not exist.`)
    const session = grant.session ?? null
    requireSame(body.path, body.identity, () => identityOf(place))
    const { text, encoding, sha256: before } = await currentText(place, body.path, scope, signal)
    if (body.expect !== undefined && body.expect !== before) throw changed(gate, body.path, body.expect, text, null)
    const edited = replaceAllOf(text, body.edits, body.path)
    const content = encode(edited.text, encoding)
    if (!content) throw fault('not-text', `${body.path} is in ${encoding}, which has not every character of the new text.`)
    requireSize(content, body.path, limits.editBytes)
    const check = () => requireUnchanged(gate, place, before, body.path, edited.text)
    const sha256 = await writeAtomically(gate, replacing(place), content, check, scope, signal, session)
    return { sha256, replacements: edited.replacements, diff: unifiedDiff(place.parts.join('/'), text, edited.text) }
  })
}

/** Needs no right to write: it is what a member is shown before giving it. */
export function previewChange(gate: Gate, body: BodyOf<P, 'preview'>, grant: Limits, signal: AbortSignal): Promise<ReplyOf<P, 'preview'>> {
  if ('to' in body) return previewMove(gate, body, grant, signal)
  if ('remove' in body) return previewDelete(gate, body.path, grant, signal)
  return scoped(async (scope) => {
    const place = resolve(gate.root, body.path, scope)
    const parts = place.kind === 'found' ? place.parts : [...place.parts, ...place.rest]
    requireCovered(gate, parts, grant)
    const path = parts.join('/')
    const about = { path, identity: identityOf(place), protected: ruleOf(parts) }
    if (place.kind === 'missing') {
      if (!('content' in body)) throw fault('not-found', `${body.path} does not exist.`)
      return { ...about, diff: unifiedDiff(path, null, body.content), created: true }
    }
    requireFile(place)
    if ('content' in body && place.stat.size > limits.writeBytes)
      return { ...about, diff: `(replaces a file of ${place.stat.size} bytes)\n`, created: false }
    const before = await currentBytes(place, scope, signal)
    if (!('content' in body)) {
      const text = decodeText(before, body.path)
      return {
        ...about,
        diff: unifiedDiff(path, text, replaceAllOf(text, 'edits' in body ? body.edits : [body], body.path).text),
        created: false,
      }
    }
    const diff = isText(before)
      ? unifiedDiff(path, decodeText(before, body.path), body.content)
      : `(replaces a file of ${before.length} bytes that is not text)\n`
    return { ...about, diff, created: false }
  })
}

/** One after the other, each on what those before it left. */
function replaceAllOf(text: string, edits: readonly Replacement[], path: string): { text: string; replacements: number } {
  return edits.reduce(
    (done, edit) => {
      const next = replaceText(done.text, edit, path)
      return { text: next.text, replacements: done.replacements + next.replacements }
    },
    { text, replacements: 0 },
  )
}

/** Of what stands at a name now, or of where it would be made. */
function identityOf(place: Found | Missing): string {
  return place.kind === 'found' ? identityAt(place.parent, place.name) : identityOfAbsent(place.parent)
}

/** Changes to one place come one after the other. `work` gets the place resolved once its turn has come. */
async function changing<T>(
  gate: Gate,
  path: string,
  grant: Limits,
  work: (scope: Scope, place: Found | Missing) => Promise<T>,
): Promise<T> {
  requireWritable(gate, grant)
  return scoped((scope) => {
    const place = locate(gate, path, grant, scope)
    const key = keyOf(place)
    // Whoever had to wait looks again at what is there.
    if (gate.changes.isFree(key)) return gate.changes.run(key, () => work(scope, place))
    return gate.changes.run(key, () => scoped((later) => work(later, locate(gate, path, grant, later))))
  })
}

function locate(gate: Gate, path: string, grant: Limits, scope: Scope): Found | Missing {
  const place = resolve(gate.root, path, scope)
  const parts = place.kind === 'found' ? place.parts : [...place.parts, ...place.rest]
  requireCovered(gate, parts, grant)
  requireUnprotected(parts, grant)
  return place
}

/** The same for all spellings of one place. Folders that are still to be made count as one place with their parent. */
function keyOf(place: Found | Missing): string {
  const { dev, ino } = fs.fstatSync(place.parent)
  return `${dev}:${ino}/${place.kind === 'found' ? place.name : (place.rest[0] as string)}`
}

function requireSize(content: Buffer, path: string, most: number): void {
  if (content.length > most) throw fault('too-large', `${path} would have ${content.length} bytes.`, { rule: `at most ${most} bytes` })
}

function replacing({ parent, name, parts, stat }: Found): Target {
  return { parent, name, parts, replaces: stat }
}

function currentBytes(place: Found, scope: Scope, signal: AbortSignal): Promise<Buffer> {
  return wholeBytes(openFile(place, scope, limits.editBytes), limits.editBytes, signal)
}

async function currentText(place: Found, path: string, scope: Scope, signal: AbortSignal): Promise<Decoded & { sha256: string }> {
  const bytes = await currentBytes(place, scope, signal)
  return { ...decoded(bytes, path), sha256: sha256Of(bytes) }
}

/** Looks at the directory entry again: content with this hash must still be there. Throws `changed-since-read`. */
function requireUnchanged(gate: Gate, place: Found, expected: string, path: string, proposed: string): void {
  scoped((scope) => {
    let now: number
    try {
      now = scope.own(openPlace(place.parent, place.name))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') throw changed(gate, path, expected, null, proposed)
      throw error
    }
    const stat = fs.fstatSync(now)
    if (!stat.isFile() || stat.size > limits.readBytes) throw changed(gate, path, expected, null, proposed)
    const fd = scope.own(openHeld(now))
    if (hashNow(fd) === expected) return
    const bytes = stat.size > limits.editBytes ? null : fs.readFileSync(fd)
    throw changed(gate, path, expected, bytes && isText(bytes) ? decodeText(bytes, path) : null, proposed)
  })
}

/** With a diff of what changed since it was read when that text is remembered, else of what the change would do now. */
function changed(gate: Gate, path: string, expected: string, now: string | null, proposed: string | null) {
  const read = gate.recent.recall(expected)
  const rule = `expected sha256 ${expected}`
  if (now === null)
    return fault('changed-since-read', `${path} is no longer the file that was read.`, {
      cause: 'It was deleted, or replaced by something that is not text.',
      rule,
    })
  if (read !== null)
    return fault('changed-since-read', `${path} changed since it was read.`, {
      cause: `What changed since:\n${unifiedDiff(path, read, now, limits.causeDiffChars)}`,
      rule,
    })
  const cause =
    proposed === null
      ? `Its sha256 is now ${sha256Of(now)}.`
      : `The change, made on what is there now, would be:\n${unifiedDiff(path, now, proposed, limits.causeDiffChars)}`
  return fault('changed-since-read', `${path} changed since it was read.`, { cause, rule })
}

function isText(bytes: Uint8Array): boolean {
  try {
    decodeText(bytes, '')
    return true
  } catch {
    return false
  }
}
