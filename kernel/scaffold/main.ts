/** `new NAME [--in FOLDER]`: a new actor. `test FOLDER`: the tests of one outside the repository. */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { scaffold, ScaffoldError } from './scaffold.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
const usage = 'Usage: npm run new-actor -- NAME [--in FOLDER]\n       npm run test-actor -- FOLDER\n'

function create(name: string, parent: string | undefined): number {
  try {
    const folder = scaffold(name, parent ?? null)
    const next =
      parent === undefined
        ? `Its tests: npx vitest run --project unit actors/${name}\nTo start it with the daemon: add it to daemon/actors.ts\n`
        : `Its tests: npm run test-actor -- ${folder}\nTo let it run: bulkhead actor add ${folder}\n`
    process.stdout.write(`Made ${relative(process.cwd(), folder) || folder}.\n${next}`)
    return 0
  } catch (error) {
    if (!(error instanceof ScaffoldError)) throw error
    process.stderr.write(`new-actor: ${error.message}\n`)
    return 2
  }
}

/** They run as their author's code does, with all the author may do: nothing here is a jail but what the contract puts the actor into. */
function test(folder: string): Promise<number> {
  if (resolve(folder).startsWith(checkout)) {
    process.stderr.write(
      `test-actor: it is part of the repository. Its tests: npx vitest run --project unit ${relative(checkout, resolve(folder))}\n`,
    )
    return Promise.resolve(2)
  }
  const files = readdirSync(folder).flatMap((name) => (name.endsWith('.test.ts') ? [join(resolve(folder), name)] : []))
  if (files.length === 0) {
    process.stderr.write(`test-actor: there is no test in ${folder}.\n`)
    return Promise.resolve(2)
  }
  const imports = new URL('../outside-imports.ts', import.meta.url).href
  const child = spawn(process.execPath, ['--import', imports, '--test', ...files], { stdio: 'inherit' })
  return new Promise((done) => child.on('close', (code) => done(code ?? 1)))
}

const [verb, ...rest] = process.argv.slice(2)
const { values, positionals } = parseArgs({ args: rest, options: { in: { type: 'string' } }, allowPositionals: true })
const [what, ...more] = positionals
if (what === undefined || more.length > 0 || (verb !== 'new' && verb !== 'test') || (verb === 'test' && values.in !== undefined)) {
  process.stderr.write(usage)
  process.exitCode = 2
} else process.exitCode = verb === 'new' ? create(what, values.in) : await test(what)
