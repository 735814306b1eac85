/** Two daemons on one home, and what a daemon that was killed leaves lying about. No VM: none of it is about that. */
import { existsSync, mkdirSync, readdirSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type ScriptedServer, say, startScriptedServer, use } from '../harness/scripted-messages-server.ts'
import { treeOf } from '../harness/tree.ts'
import { isAlive, leftAfter } from '../harness/processes.ts'
import { type Home, openHome } from '../harness/product.ts'

const settleMs = 10_000

function open(): Home {
  const home = openHome({ env: { BULKHEAD_VM: 'off' } })
  onTestFinished(() => home.close())
  return home
}

/** Every socket below the runtime folder. */
function sockets(home: Home): string[] {
  const runtime = home.env['XDG_RUNTIME_DIR'] ?? ''
  return readdirSync(runtime, { recursive: true, withFileTypes: true, encoding: 'utf8' }).flatMap((entry) =>
    entry.isSocket() ? [join(entry.parentPath, entry.name)] : [],
  )
}

test('many start at once: one daemon serves them all, and it alone has the home', async () => {
  const home = open()
  const runs = await Promise.all(
    Array.from({ length: 4 }, (_, at) => home.prompt('list', ['--folder', home.folder(`f${at}`), '--approve', 'all'])),
  )
  for (const run of runs) expect(run.code, run.story).toBe(0)
  const pid = await home.daemonPid()
  const daemons = home.processes().filter(({ title }) => title.includes('daemon/main'))
  expect(daemons.map((one) => one.pid)).toEqual([pid])
})

test('sockets of a daemon that was killed, behind which nobody is, do not keep the next from serving', async () => {
  const home = open()
  const folder = home.folder('work')
  writeFileSync(join(folder, 'kept.txt'), 'kept\n')
  const first = await home.prompt('list', ['--session', 'same', '--folder', folder, '--approve', 'all'])
  expect(first.code, first.story).toBe(0)
  const before = home.processes()
  const left = sockets(home)
  expect(left.length).toBeGreaterThan(0)
  process.kill(await home.daemonPid(), 'SIGKILL')
  expect(await leftAfter(before, settleMs)).toEqual([])
  // What it listened on is still there, and nobody is behind it.
  expect(sockets(home)).toEqual(left)
  const second = await home.prompt('list', ['--session', 'same', '--folder', folder, '--approve', 'all'])
  expect(second.code, second.story).toBe(0)
  expect(second.stdout).toContain('kept.txt')
  expect(before.filter(isAlive)).toEqual([])
  expect((await home.inspect()).actors.every(({ state }) => state.startsWith('running') || state.startsWith('idle'))).toBe(true)
})

test('killed in the middle of a change: what was changed by then is taken back after a restart', async () => {
  const server: ScriptedServer = await startScriptedServer()
  onTestFinished(() => server.close())
  const home = openHome({ env: { BULKHEAD_VM: 'off', ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  onTestFinished(() => home.close())
  const folder = home.folder('work')
  mkdirSync(join(folder, 'tree'))
  for (let i = 0; i < 3_000; i += 1) writeFileSync(join(folder, 'tree', `f${i}`), `content ${i}\n`)
  const before = treeOf(folder)
  server.script([[say('hello')]])
  const first = await home.prompt('hello', ['--session', 'same', '--folder', folder, '--approve', 'all'])
  expect(first.code, first.story).toBe(0)
  const pid = await home.daemonPid()
  const running = home.processes()
  // The first name that goes: by then some hundred of them have been kept, and go one after the other.
  const begun = new Promise<void>((resolve) => {
    const watcher = watch(join(folder, 'tree'), (_, name) => {
      if (name === null || existsSync(join(folder, 'tree', name))) return
      watcher.close()
      process.kill(pid, 'SIGKILL')
      resolve()
    })
  })
  server.script([[use('Delete', { path: 'tree' })], [say('done')]])
  const run = home.start(['run', '--json', '--session', 'same', '--approve', 'all', 'delete it'])
  await begun
  await run.ended
  expect(await leftAfter(running, settleMs)).toEqual([])
  expect(Object.keys(treeOf(folder)).length).toBeLessThan(Object.keys(before).length)
  const undone = await home.call(['undo', '--to', '2000-01-01', '--folder', folder])
  expect(undone.code, undone.stdout + undone.stderr).toBe(0)
  expect(treeOf(folder)).toEqual(before)
})
