/** What a session changed can be listed and taken back by the member: changes by tools, and by a shell in the workspace. */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Home, openHome } from '../harness/product.ts'
import { type ScriptedServer, say, startScriptedServer, use } from '../harness/scripted-messages-server.ts'
import { treeOf } from '../harness/tree.ts'

let home: Home
let server: ScriptedServer
let folder: string
beforeAll(async () => {
  server = await startScriptedServer()
  home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  folder = home.folder('work')
})
afterAll(async () => {
  await home.close()
  await server.close()
})

type Changes = {
  folders: { root: string; changes: { id: string; turn: string; call: string; what: string; path: string; source: string }[] }[]
}
const changes = async (): Promise<Changes['folders'][number]> => {
  const { stdout, code, stderr } = await home.call(['changes', '--folder', folder, '--json'])
  expect(code, stderr).toBe(0)
  return (JSON.parse(stdout) as Changes).folders[0] as Changes['folders'][number]
}

test('a turn of tools and of a shell is undone, redone, and undone again after the daemon restarted', async () => {
  for (let i = 0; i < 40; i += 1) {
    mkdirSync(join(folder, `tree/d${i % 5}`), { recursive: true })
    writeFileSync(join(folder, `tree/d${i % 5}/f${i}`), `content ${i}\n`.repeat(i), { mode: i % 2 === 0 ? 0o644 : 0o755 })
  }
  writeFileSync(join(folder, 'a.txt'), 'alpha\n')
  const before = treeOf(folder)
  server.script([
    [use('Edit', { file_path: 'a.txt', old_string: 'alpha', new_string: 'ALPHA' }, 'toolu_edit')],
    [use('Write', { file_path: 'new/b.txt', content: 'b\n' }, 'toolu_write')],
    [
      use(
        'Bash',
        { command: 'mv tree/d1 moved && chmod 600 moved/* && rm -rf tree && echo made > by-shell && echo more >> a.txt' },
        'toolu_bash',
      ),
    ],
    [say('done')],
  ])
  const run = await home.prompt('go', ['--folder', folder, '--approve', 'all'])
  expect(run.code, run.story).toBe(0)
  const after = treeOf(folder)
  expect(Object.keys(after)).toEqual(expect.arrayContaining(['by-shell', 'moved/f1', 'new/b.txt']))

  const { changes: rows } = await changes()
  const [turn] = new Set(rows.map((row) => row.turn))
  expect(new Set(rows.map(({ call, source }) => `${call} ${source}`))).toEqual(
    new Set(['toolu_edit tool', 'toolu_write tool', 'toolu_bash workspace']),
  )
  const preview = await home.call(['undo', turn ?? '', '--preview'])
  expect(preview.stdout).toContain('+alpha')
  expect(treeOf(folder)).toEqual(after)
  const undone = await home.call(['undo', turn ?? ''])
  expect(undone.code, undone.stdout + undone.stderr).toBe(0)
  expect(treeOf(folder)).toEqual(before)
  const redone = await home.call(['redo', '--folder', folder])
  expect(redone.code, redone.stdout + redone.stderr).toBe(0)
  expect(treeOf(folder)).toEqual(after)

  await home.call(['daemon', 'stop'])
  writeFileSync(join(folder, 'by-shell'), 'mine now\n')
  const kept = await home.call(['undo', turn ?? ''])
  expect(kept.code, 'what was kept is said').toBe(3)
  expect(kept.stdout).toMatch(/kept +by-shell .*changed since/)
  rmSync(join(folder, 'by-shell'))
  expect(treeOf(folder)).toEqual(before)
  // What was kept has gone meanwhile: that it is as it was before is put on record, and then there is nothing left.
  const again = await home.call(['undo', turn ?? ''])
  expect([again.code, again.stdout]).toEqual([0, expect.stringContaining('0 steps')])
  expect((await home.call(['undo', turn ?? ''])).code).toBe(3)
  expect(treeOf(folder)).toEqual(before)
})

test('one change by its id, a call by its id', async () => {
  writeFileSync(join(folder, 'c.txt'), 'first\n')
  server.script([
    [use('Write', { file_path: 'c.txt', content: 'second\n' }, 'toolu_1')],
    [use('Bash', { command: 'chmod 700 c.txt; truncate -s 3 c.txt' }, 'toolu_2')],
    [say('done')],
  ])
  const run = await home.prompt('go', ['--folder', folder, '--approve', 'all'])
  expect(run.code, run.story).toBe(0)
  expect(readFileSync(join(folder, 'c.txt'), 'utf8')).toBe('sec')
  const undone = await home.call(['undo', 'toolu_2'])
  expect(undone.code, undone.stdout + undone.stderr).toBe(0)
  expect(readFileSync(join(folder, 'c.txt'), 'utf8')).toBe('second\n')
  expect(statSync(join(folder, 'c.txt')).mode & 0o777).toBe(0o644)
  const row = (await changes()).changes.find(({ call }) => call === 'toolu_1')
  expect((await home.call(['undo', row?.id ?? ''])).code).toBe(0)
  expect(readFileSync(join(folder, 'c.txt'), 'utf8')).toBe('first\n')
})
