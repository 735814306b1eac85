/** Asks a folder of code what actor it is, in a process without any power, and believes what it says only as far as the schema goes. */
import { spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { z } from 'zod'
import { fault } from '../../kernel/errors.ts'
import { findJail, jailArgs } from '../../kernel/jail.ts'
import { codePaths, permissionArgs } from '../../kernel/placement-process.ts'
import { describeHeapMiB, describeMs, maxDescriptionBytes } from './limits.ts'
import { type Description, description, ownFolder } from './description.ts'

const program = fileURLToPath(new URL('describe-entry.ts', import.meta.url))

/** The file an actor's folder is entered by. */
export const entryName = 'index.ts'

/** Throws `bad-actor`. */
export async function describe(code: string): Promise<Description> {
  const entry = pathToFileURL(join(code, entryName)).href
  const said = await ask(entry)
  let value: unknown
  try {
    value = JSON.parse(said)
  } catch {
    throw bad('It says nothing that could be read.')
  }
  const parsed = description.safeParse(value)
  if (!parsed.success) throw bad(z.prettifyError(parsed.error))
  return parsed.data
}

export const bad = (cause: string) => fault('bad-actor', 'The folder is no actor that can be added.', { cause })

async function ask(entry: string): Promise<string> {
  const readable = [...codePaths(entry), program]
  const jail = await findJail()
  const node = [
    ...permissionArgs({}, readable),
    '--disallow-code-generation-from-strings',
    '--disable-warning=SecurityWarning',
    '--disable-warning=ExperimentalWarning',
    `--max-old-space-size=${describeHeapMiB}`,
    program,
    entry,
    ownFolder,
  ]
  const jailed = 'bwrap' in jail ? [...jailArgs({ permissions: {}, code: readable }), process.execPath] : []
  const child = spawn('bwrap' in jail ? jail.bwrap : process.execPath, [...jailed, ...node], {
    env: {},
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    timeout: describeMs,
    killSignal: 'SIGKILL',
  })
  let said = ''
  let complaint = ''
  let tooMuch = false
  const answer = child.stdio[3] as NodeJS.ReadableStream
  answer.setEncoding('utf8')
  answer.on('data', (text: string) => {
    said += text
    if (said.length <= maxDescriptionBytes) return
    tooMuch = true
    said = ''
    child.kill('SIGKILL')
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-4_000)
  })
  const status = await new Promise<number | string | null>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code ?? signal))
  })
  if (tooMuch) throw bad(`What it says of itself is longer than ${maxDescriptionBytes} bytes.`)
  if (status !== 0) throw bad(`It cannot be loaded: ${errorLine(complaint) ?? `ended with ${status}`}`)
  return said
}

/** The line of Node's report that says what happened. */
function errorLine(complaint: string): string | null {
  return complaint.split('\n').find((line) => /^\w*Error\b|^\[?\w*Error/.test(line.trim())) ?? (complaint.trim().slice(0, 300) || null)
}
