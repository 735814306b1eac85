/** `bulkhead` without a command: a conversation line by line, and what a member can do between the lines. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Home, openHome } from '../harness/product.ts'

let home: Home
let folder: string
beforeAll(() => {
  home = openHome()
  folder = home.folder('notes')
  writeFileSync(join(folder, 'plan.md'), 'The quince goes behind the shed.\n')
  writeFileSync(join(folder, 'todo.txt'), 'water the quince\n')
})
afterAll(() => home.close())

test('a change is asked for, shown, taken back and brought back without leaving the conversation', async () => {
  const run = home.start(['--folder', folder], { input: true })
  run.type('/undo\n')
  await run.printed(/changed nothing that could be taken back/)

  run.type('delete todo.txt\n')
  await run.printed(/Deletes 1 file, 17 bytes:\s+todo\.txt/)
  expect(existsSync(join(folder, 'todo.txt'))).toBe(true)
  run.type('1\n')
  await run.printed(/Done · 1 tool call/)
  expect(existsSync(join(folder, 'todo.txt'))).toBe(false)

  run.type('/changes\n')
  await run.printed(/deleted\s+todo\.txt/)
  run.type('/undo\n')
  await run.printed(/1 change taken back/)
  expect(readFileSync(join(folder, 'todo.txt'), 'utf8')).toBe('water the quince\n')
  run.type('/undo\n')
  await run.printed(/(?:changed nothing that could be taken back[^]*){2}/)
  run.type('/redo\n')
  await run.printed(/1 change of the undo taken back/)
  expect(existsSync(join(folder, 'todo.txt'))).toBe(false)
  run.type('/redo elsewhere\n')
  await run.printed(/\/redo takes the name of a folder/)

  run.type('/quit\n')
  const ended = await run.ended
  expect(ended.code, ended.story).toBe(0)
  expect(ended.stderr).toMatch(/Session s-\w+ stays: bulkhead --session s-\w+\n$/)
})

test('what may be done is listed and taken back: the next question of that kind is asked again', async () => {
  const run = home.start(['--folder', folder], { input: true })
  run.type('write "one" to a.txt\n')
  await run.printed(/2 Allow for this session/)
  run.type('2\n')
  await run.printed(/Wrote a\.txt/)
  run.type('write "two" to b.txt\n')
  await run.printed(/Wrote b\.txt/)
  run.type('/grants\n')
  const shown = await run.printed(/^ *\w+ {2}write in notes\/, by/m)
  const [, grant = ''] = /^ *(\w+) {2}write in notes\/, by/m.exec(shown) ?? []
  run.type(`/revoke ${grant}\n`)
  await run.printed(/Taken back\./)
  run.type('write "three" to c.txt\n')
  await run.printed(/(?:Bulkhead wants to: [^]*){2}/)
  run.type('3\n')
  await run.printed(/c\.txt was not written/)
  expect(existsSync(join(folder, 'c.txt'))).toBe(false)

  run.type('/frobnicate\n/approve perhaps\n/host\n')
  await run.printed(/no command \/frobnicate[^]*\/approve takes one of[^]*\/host takes a host/)
  run.closeInput()
  expect((await run.ended).code).toBe(0)
})

test('a folder is connected between the lines; those connected for writing lately are listed, the last first', async () => {
  const [garden, shed] = [home.folder('garden'), home.folder('shed')]
  writeFileSync(join(shed, 'tools.txt'), 'a rake\n')
  const run = home.start(['--folder', folder], { input: true })
  run.type('list the files\n')
  await run.printed(/Done ·/)
  run.type(`/folder ${garden}\n/folder ${shed}:ro\n`)
  await run.printed(/shed\/ \(read only\)/)
  // The processes of all three have opened them by then.
  run.type('list the files\n')
  await run.printed(/(?:Done ·[^]*){2}/)
  run.type('/folder\n')
  const shown = await run.printed(/(?:^ *\/.*\n)+^ *\/.*\/notes$/m)
  expect(shown.split('\n').map((line) => line.trim())).toEqual([garden, folder])
  run.type('/folder nowhere\n')
  await run.printed(/There is no folder/)
  run.closeInput()
  expect((await run.ended).code).toBe(0)
})
