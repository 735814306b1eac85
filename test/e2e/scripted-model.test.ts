/** Whatever speaks the Messages API is the model: scripted calls run, alone and together, and their results and failures go back to it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Home, openHome, type PromptEnd } from '../harness/product.ts'
import {
  type RecordedRequest,
  type ScriptedServer,
  say,
  startScriptedServer,
  toolResults,
  use,
} from '../harness/scripted-messages-server.ts'

let home: Home
let server: ScriptedServer
let folder: string
let sent: number
beforeAll(async () => {
  server = await startScriptedServer()
  home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  folder = home.folder('work')
  writeFileSync(join(folder, 'a.txt'), 'alpha\nbeta\n')
  writeFileSync(join(folder, 'b.txt'), 'gamma\n')
})
afterAll(async () => {
  await home.close()
  await server.close()
})
beforeEach(() => {
  sent = server.requests.length
})

const go = (...args: string[]): Promise<PromptEnd> => home.prompt('go', ['--folder', folder, '--approve', 'all', ...args])
/** The n-th request of this test. */
const request = (n: number): RecordedRequest => server.requests[sent + n] as RecordedRequest
const resultOf = (n: number, id: string) => toolResults(request(n)).get(id)

test('each tool does its work', async () => {
  server.script([
    [use('Read', { file_path: 'a.txt' }, 'toolu_read')],
    [use('Glob', { pattern: '*.txt' }, 'toolu_glob')],
    [use('Grep', { pattern: 'gam+a', output_mode: 'content' }, 'toolu_grep')],
    [use('Edit', { file_path: 'a.txt', old_string: 'beta', new_string: 'BETA' }, 'toolu_edit')],
    [use('Write', { file_path: join(folder, 'new.txt'), content: 'written\n' }, 'toolu_write')],
    [use('Bash', { command: 'cat a.txt new.txt && python3 -c "print(2**100)" && id -u && pwd' }, 'toolu_bash')],
    [say('All done.')],
  ])
  const run = await go()
  expect(run.code, run.story).toBe(0)
  expect(run.result).toMatchObject({ status: 'done', text: 'All done.', toolCalls: 6 })
  expect(resultOf(1, 'toolu_read')?.text).toMatch(/1\talpha[^]*2\tbeta/)
  expect(resultOf(2, 'toolu_glob')?.text).toMatch(/a\.txt/)
  expect(resultOf(3, 'toolu_grep')?.text).toMatch(/b\.txt:1:gamma/)
  expect(readFileSync(join(folder, 'a.txt'), 'utf8')).toBe('alpha\nBETA\n')
  expect(readFileSync(join(folder, 'new.txt'), 'utf8')).toBe('written\n')
  const bash = resultOf(6, 'toolu_bash')
  expect(bash).toMatchObject({ isError: false, text: expect.stringContaining('alpha\nBETA\nwritten\n1267650600228229401496703205376\n') })
  expect(bash?.text, 'an unprivileged user of its own').toMatch(/\n[2-5]\d{4}\n/)
  expect(bash?.text).toMatch(/\/sessions\/[\w-]+\/mnt\/work/)
})

test('several calls in one turn are all answered in the next request, in order, and a failing one fails alone', async () => {
  const calls = [
    use('Read', { file_path: 'a.txt' }),
    use('Read', { file_path: 'missing.txt' }),
    use('Bash', { command: 'echo one > made-by-vm.txt; echo two; exit 7' }),
    use('Read', { file_path: 'b.txt' }),
    use('Frobnicate', {}),
    use('Read', { path: 'wrong field' }),
  ]
  server.script([[say('Looking.'), ...calls], [say('Seen.')]])
  const run = await go()
  expect(run.result).toMatchObject({ status: 'done', text: 'Seen.', toolCalls: calls.length })
  const ids = calls.map((call) => (call.type === 'tool_use' ? call.id : ''))
  expect([...toolResults(request(1)).keys()]).toEqual(ids)
  const results = ids.map((id) => resultOf(1, id))
  expect(results.map((result) => result?.isError)).toEqual([false, true, true, false, true, true])
  expect(results[1]?.text).toMatch(/Code: not-found[^]*Remedy: /)
  expect(results[2]?.text).toMatch(/two[^]*exit code 7/)
  expect(results[4]?.text).toMatch(/Code: unknown-tool/)
  expect(results[5]?.text).toMatch(/Code: bad-input/)
  expect(readFileSync(join(folder, 'made-by-vm.txt'), 'utf8')).toBe('one\n')
})

test('a file that changed since it was read is not overwritten', async () => {
  const file = join(folder, 'shared.txt')
  writeFileSync(file, 'first\n')
  server.script([
    [use('Read', { file_path: 'shared.txt' })],
    () => {
      writeFileSync(file, 'changed by the member\n')
      return [use('Write', { file_path: 'shared.txt', content: 'by the model\n' }, 'toolu_late')]
    },
    [say('ok')],
  ])
  await go()
  expect(readFileSync(file, 'utf8')).toBe('changed by the member\n')
  expect(resultOf(2, 'toolu_late')).toMatchObject({ isError: true, text: expect.stringContaining('Code: changed-since-read') })
})

test('an overloaded API is tried again, and the member sees one answer', async () => {
  server.script([{ status: 529, error: 'overloaded_error', message: 'Overloaded' }, [say('Now it works.')]])
  const run = await go()
  expect(run.result).toMatchObject({ status: 'done', text: 'Now it works.' })
})

test('the model is told the folders, the tools and the model name it was asked for', async () => {
  server.script([[say('ok')]])
  await go('--model', 'claude-made-up-9')
  const { body } = request(0)
  expect(body.model).toBe('claude-made-up-9')
  expect(JSON.stringify(body.system)).toContain(folder)
  expect(body.tools?.map(({ name }) => name).toSorted()).toEqual([
    'Bash',
    'BashOutput',
    'Delete',
    'Edit',
    'Glob',
    'Grep',
    'KillShell',
    'List',
    'Move',
    'MultiEdit',
    'Present',
    'Read',
    'WebFetch',
    'WebSearch',
    'Write',
  ])
  expect(body.stream).toBe(true)
})
