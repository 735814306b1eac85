/**
 * Glob patterns as RE2 expressions, which match in linear time whatever a pattern asks. Pure.
 *
 *   *  within one name     **  any number of folders     ?  one character     [a-z] [!a-z]     {a,b}     \x  x itself
 */
import { RE2JS, RE2JSSyntaxException } from 're2js'
import { fault } from '../../kernel/index.ts'

/** Tests a `/`-separated relative path. Hidden names match like all others. Throws `bad-pattern`. */
export function globMatcher(pattern: string): (path: string) => boolean {
  const source = globSource(pattern)
  try {
    const compiled = RE2JS.compile(source, RE2JS.DOTALL)
    return (path) => compiled.testExact(path)
  } catch (error) {
    throw badPattern(pattern, error instanceof RE2JSSyntaxException ? error.message : undefined)
  }
}

export function badPattern(pattern: string, cause: string | undefined) {
  return fault('bad-pattern', `"${pattern}" is not a pattern that can be used.`, cause === undefined ? {} : { cause })
}

function globSource(pattern: string): string {
  const glob = pattern.startsWith('./') ? pattern.slice(2) : pattern
  let out = ''
  let braces = 0
  for (let i = 0; i < glob.length; i += 1) {
    const char = glob[i] as string
    if (char === '*') {
      const stars = /^\*+/.exec(glob.slice(i))?.[0].length ?? 1
      const wholeName = (i === 0 || '/{,'.includes(glob[i - 1] as string)) && [undefined, '/', '}', ','].includes(glob[i + stars])
      i += stars - 1
      if (stars < 2 || !wholeName) out += '[^/]*'
      else if (glob[i + 1] === '/') {
        out += '(?:[^/]+/)*'
        i += 1
      } else out += '.*'
    } else if (char === '?') out += '[^/]'
    else if (char === '[') {
      const set = classAt(glob, i)
      out += set.source
      i = set.end
    } else if (char === '{' && closes(glob, i)) {
      braces += 1
      out += '(?:'
    } else if (char === '}' && braces > 0) {
      braces -= 1
      out += ')'
    } else if (char === ',' && braces > 0) out += '|'
    else if (char === '\\' && i + 1 < glob.length) {
      i += 1
      out += RE2JS.quote(glob[i] as string)
    } else out += RE2JS.quote(char)
  }
  return out
}

/** A bracket expression as a class that never matches `/`; a `[` that nothing closes is itself. */
function classAt(glob: string, start: number): { source: string; end: number } {
  const found = /^\[([!^]?)(\]?[^\]/]*)\]/.exec(glob.slice(start))
  if (!found || found[2] === '') return { source: '\\[', end: start }
  const negated = found[1] !== ''
  const members = (found[2] as string).replace(/[\\[\]^&~]/g, '\\$&')
  return { source: negated ? `[^/${members}]` : `[${members}]`, end: start + (found[0] as string).length - 1 }
}

/** Whether the brace at `start` has its partner. */
function closes(glob: string, start: number): boolean {
  let depth = 0
  for (let i = start; i < glob.length; i += 1) {
    if (glob[i] === '\\') i += 1
    else if (glob[i] === '{') depth += 1
    else if (glob[i] === '}') {
      depth -= 1
      if (depth === 0) return true
    }
  }
  return false
}
