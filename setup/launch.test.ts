import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { pinnedNode } from './pinned-node.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bulkhead-launch-'))
  const path = pinnedNode(root)?.path ?? ''
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(process.execPath, path)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** A process that launches a script, as `bin/bulkhead` does. */
function launching(script: string, ...args: string[]): ChildProcess & { text: () => string } {
  const path = join(root, 'script.mjs')
  writeFileSync(path, script)
  const begin = `
    const { launch } = await import(${JSON.stringify(join(import.meta.dirname, 'launch.js'))})
    process.exit(await launch(${JSON.stringify(root)}, ${JSON.stringify(path)}, ${JSON.stringify(args)}))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', begin], { stdio: ['pipe', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => void (text += chunk.toString()))
  return Object.assign(child, { text: () => text })
}

async function codeOf(child: ChildProcess): Promise<unknown> {
  const [code] = (await once(child, 'close')) as [unknown]
  return code
}

test('arguments, output and exit code pass through', async () => {
  const child = launching('console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7', 'two words', '', '--json')
  expect(await codeOf(child)).toBe(7)
  expect(child.text()).toBe('["two words","","--json"]\n')
})

test('input passes through', async () => {
  const child = launching('process.stdin.pipe(process.stdout)')
  child.stdin?.end('typed')
  expect(await codeOf(child)).toBe(0)
  expect(child.text()).toBe('typed')
})

test('the exit code after a signal is 128 plus its number', async () => {
  expect(await codeOf(launching("process.kill(process.pid, 'SIGKILL')"))).toBe(137)
})

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s is passed on, and the script decides what comes of it', async (name) => {
  const child = launching(`process.on('${name}', () => process.exit(42)); console.log('ready'); setInterval(() => {}, 1000)`)
  await once(child.stdout ?? child, 'data')
  child.kill(name)
  expect(await codeOf(child)).toBe(42)
})
