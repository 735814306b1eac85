/** Unified diffs for people and models, bounded in time and size. */
import { createTwoFilesPatch } from 'diff'
import { limits } from './limits.ts'

/** A unified diff with three lines of context; `before: null` = the file is new. '' when nothing differs. */
export function unifiedDiff(path: string, before: string | null, after: string, maxChars: number = limits.diffChars): string {
  if (before === after) return ''
  const oldName = before === null ? '/dev/null' : `a/${path}`
  const patch = createTwoFilesPatch(oldName, `b/${path}`, before ?? '', after, undefined, undefined, { context: 3, timeout: limits.diffMs })
  if (patch === undefined)
    return `--- ${oldName}\n+++ b/${path}\n(too different to show: ${lineCount(before ?? '')} lines before, ${lineCount(after)} after)\n`
  const body = patch.replace(/^=+\n/, '')
  if (body.length <= maxChars) return body
  return `${body.slice(0, body.lastIndexOf('\n', maxChars) + 1)}(the diff goes on)\n`
}

function lineCount(text: string): number {
  return text === '' ? 0 : text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
}
