/**
 * A new actor from the template beside this file, which is an actor itself: checked, linted and tested with everything else. Only names and
 * where things are imported from differ.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const template = fileURLToPath(new URL('./template', import.meta.url))

export class ScaffoldError extends Error {}

/** Where the template's imports come from, inside the repository and outside. */
const inside: readonly (readonly [string, string])[] = [
  ["'../../index.ts'", "'../../kernel/index.ts'"],
  ["'../../testing/contract.ts'", "'../../kernel/testing/contract.ts'"],
  ["'../../../checker/index.ts'", "'../../checker/index.ts'"],
]
const outside: readonly (readonly [string, string])[] = [
  ["'../../index.ts'", "'bulkhead'"],
  ["'../../testing/contract.ts'", "'bulkhead/testing'"],
  ["'../../../checker/index.ts'", "'bulkhead/checker'"],
  ["'vitest'", "'node:test'"],
]

/**
 * @param parent folder to make it in; null: `actors/` of the repository
 * @returns the folder
 */
export function scaffold(name: string, parent: string | null): string {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || name.length < 2 || name.length > 40)
    throw new ScaffoldError(`${name} is no name for an actor: small letters, digits and single hyphens, beginning with a letter, 2 to 40.`)
  const folder = resolve(parent ?? join(root, 'actors'), name)
  if (existsSync(folder)) throw new ScaffoldError(`${folder} is there already.`)
  mkdirSync(folder, { recursive: true })
  for (const file of readdirSync(template)) {
    const text = readFileSync(join(template, file), 'utf8')
    const named = text.replaceAll(/\bsample\b/g, name).replaceAll(/\bSample\b/g, name[0]?.toUpperCase() + name.slice(1))
    writeFileSync(
      join(folder, file),
      (parent === null ? inside : outside).reduce((now, [from, to]) => now.replaceAll(from, to), named),
    )
  }
  if (parent !== null) {
    writeJson(join(folder, 'package.json'), { name, private: true, type: 'module' })
    writeJson(join(folder, 'tsconfig.json'), editorSettings)
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  }
  return folder
}

/** For editors and `tsc`: the packages are Bulkhead's own, through the link beside it, which stays behind when the actor is added. */
const editorSettings = {
  extends: join(root, 'tsconfig.json'),
  compilerOptions: {
    typeRoots: [join(root, 'node_modules', '@types')],
    paths: {
      bulkhead: [join(root, 'kernel', 'index.ts')],
      'bulkhead/testing': [join(root, 'kernel', 'testing', 'contract.ts')],
      'bulkhead/checker': [join(root, 'checker', 'index.ts')],
    },
  },
  include: ['*.ts', join(root, 'kernel', '*.d.ts')],
  exclude: [],
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}
