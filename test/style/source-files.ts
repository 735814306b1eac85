import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, posix } from 'node:path'

export const root = join(import.meta.dirname, '..', '..')

export type Import = {
  /** A path from the root of the repository (`kernel/index.ts`), or the name as written for a package (`node:fs`). */
  target: string
  typeOnly: boolean
}
export type SourceFile = { path: string; text: string }

/** Every file of the repository that git knows or would know, as paths from its root. */
function repositoryFiles(): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
  return listed.split('\n').filter((path) => path !== '' && existsSync(join(root, path)))
}

export function sourceFiles(): SourceFile[] {
  return repositoryFiles()
    .filter((path) => /\.(ts|js|mjs|py|sh|css|html)$/.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

const statement = /^[ \t]*(?:import|export)\b(?:[^'"`;()]*?\bfrom)?\s*(['"])([^'"\n]+)\1/gm
const call = /\bimport\(\s*(['"])([^'"\n]+)\1/g

function specifiers(text: string): string[] {
  return [...text.matchAll(statement), ...text.matchAll(call)].flatMap((match) => match[2] ?? [])
}

/** What a TypeScript or JavaScript file imports. An import that stripping the types removes is type-only. */
export function importsOf({ path, text }: SourceFile): Import[] {
  const atRunTime = new Set(specifiers(path.endsWith('.ts') ? withoutTypes(path, text) : text))
  return [...new Set(specifiers(text))].map((name) => ({ target: resolve(path, name), typeOnly: !atRunTime.has(name) }))
}

function resolve(from: string, name: string): string {
  return name.startsWith('.') ? posix.normalize(posix.join(dirname(from), name)) : name
}

function withoutTypes(path: string, text: string): string {
  try {
    return stripTypeScriptTypes(text)
  } catch (error) {
    throw new Error(`Node cannot run ${path}`, { cause: error })
  }
}
