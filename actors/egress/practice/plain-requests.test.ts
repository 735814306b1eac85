/** Whole requests other than tables, with tools that really run, and what happens when one is refused. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { fakeTools, type ToolAnswer } from './testing/fake-tools.ts'
import { practiceSession, rowsOf, sales, tools } from './testing/session.ts'

const named = (name: string) => ({ name, description: name, input_schema: { type: 'object' as const } })
const { session, converse, put, get, folder } = practiceSession()

describe('what is refused or missing', () => {
  const refusing = (tool: string, code: string, message: string) => (name: string) =>
    name === tool ? { text: `${message}\nCode: ${code}\nRemedy: Retry later.`, isError: true } : undefined

  test('no workspace: no figures of its own, nothing written', async () => {
    put('s.csv', sales)
    const { text, calls } = await converse(
      'total the sales by region and write report.md',
      folder('rw', refusing('Bash', 'workspace-unavailable', 'The workspace VM is not running.')),
    )
    expect(text).toMatch(/workspace-unavailable/)
    expect(text).toMatch(/not written/)
    expect(calls.map(({ name }) => name)).not.toContain('Write')
  })

  test('Write refused: the figures are told all the same', async () => {
    put('s.csv', sales)
    const denied = await converse(
      'total the sales by region and write report.md',
      folder('rw', refusing('Write', 'denied', 'The member said no.')),
    )
    expect(denied.text).toMatch(/\| South \| 20\.00 \|[\s\S]*not written: The member said no\. \(denied\)/)
    const readOnly = await converse('total the sales by region and write report.md', folder('ro'))
    expect(readOnly.text).toMatch(/not written: .*read-only/)
  })

  test('a tool that is not offered', async () => {
    put('s.csv', sales)
    const { text } = await converse(
      'run `ls`',
      folder(),
      [],
      tools.filter(({ name }) => name !== 'Bash'),
    )
    expect(text).toMatch(/Bash is not available/)
  })

  test.each(['read /etc/passwd', 'read ../x', 'show me the file ../../etc/shadow'])('%s goes to the gate as it is', async (prompt) => {
    const { text, calls } = await converse(prompt, folder())
    expect(calls[0]?.input['file_path']).toBe(prompt.split(' ').at(-1))
    expect(text).toMatch(/outside-folder/)
  })

  test('what it does not understand or cannot do, it says', async () => {
    expect((await converse('Flibber the wotsit', folder())).text).toMatch(/did not understand "Flibber the wotsit"/)
    expect((await converse('write a haiku about the sea to poem.txt', folder())).text).toMatch(/cannot write a haiku/)
  })
})

describe('plain requests', () => {
  test('delete, each file by itself: what is refused is told, and the next is asked for all the same', async () => {
    for (const name of ['a.txt', 'b.txt', 'c.txt']) put(name, name)
    const tool = folder('rw', (name, { path: file }) => {
      if (name !== 'Delete') return undefined
      if (String(file).endsWith('b.txt')) return { text: 'The member said no.\nCode: denied', isError: true }
      fs.rmSync(String(file))
      return { text: 'Deleted.', isError: false }
    })
    const { text, calls } = await converse('delete a.txt, b.txt and c.txt', tool, [], [...tools, named('Delete')])
    expect(calls.map(({ name }) => name)).toEqual(['Delete', 'Delete', 'Delete'])
    expect(text).toMatch(/Deleted a\.txt, c\.txt\..*\nb\.txt was not deleted: The member said no\. \(denied\)/)
    expect(fs.readdirSync(session.root)).toEqual(['b.txt'])
  })

  test('move, into a folder under its own name', async () => {
    put('a.txt', 'x')
    const tool = folder('rw', (name) => (name === 'Move' ? { text: 'Moved.', isError: false } : undefined))
    const { text, calls } = await converse('move a.txt to old/', tool, [], [...tools, named('Move')])
    expect(calls).toEqual([
      { name: 'Move', input: { path: path.join(session.root, 'a.txt'), new_path: path.join(session.root, 'old/a.txt') } },
    ])
    expect(text).toMatch(/Moved a\.txt to old\/a\.txt\./)
  })

  test('list', async () => {
    put('a.csv', 'x')
    put('sub/b.txt', 'y')
    expect((await converse('list the files', folder())).text).toMatch(/2 files:\n\n- a\.csv\n- sub\/b\.txt/)
    expect((await converse('What csv files are there?', folder())).text).toMatch(/1 file:\n\n- a\.csv/)
    expect((await converse('show me all *.txt', folder())).text).toMatch(/- sub\/b\.txt/)
    expect((await converse('what is in the folder?', folder())).text).toMatch(/2 files/)
    expect((await converse('list the files in sub', folder())).calls[0]?.input['path']).toBe(path.join(session.root, 'sub'))
  })

  test('read, several at once', async () => {
    put('a.txt', 'alpha\n')
    put('b.md', '# Beta\n')
    const { text, calls } = await converse('Read a.txt and b.md', folder())
    expect(calls.map(({ name }) => name)).toEqual(['Read', 'Read'])
    expect(text).toMatch(/alpha[\s\S]*# Beta/)
    expect((await converse('show the first 2 lines of a.txt', folder())).calls[0]?.input['limit']).toBe(2)
    expect((await converse("what's in a.txt?", folder())).text).toMatch(/alpha/)
    expect((await converse('show me the contents of the file a.txt', folder())).text).toMatch(/alpha/)
  })

  test('search', async () => {
    put('a.txt', 'one\nfind (me) here\n')
    put('b.md', 'find (me) too\n')
    expect((await converse('search for "find (me)"', folder())).text).toMatch(
      /2 lines in 2 files:\n\n- a\.txt:2: find \(me\) here\n- b\.md:1/,
    )
    expect((await converse('find mentions of (me) in *.md', folder())).text).toMatch(/1 line in 1 file/)
    expect((await converse('which files contain here?', folder())).text).toMatch(/a\.txt:2/)
    expect((await converse('search a.txt for nothing-like-it', folder())).text).toMatch(/does not occur/)
    expect((await converse('search for one and write hits.md', folder())).calls.map(({ name }) => name)).toEqual(['Grep', 'Write'])
  })

  test.each([
    ['run `ls -la`', 'ls -la', undefined],
    ['Run the command "echo hi" please', 'echo hi', undefined],
    ['run echo "a b" | wc -c', 'echo "a b" | wc -c', undefined],
    ["execute the command: python3 -c 'print(1)'", "python3 -c 'print(1)'", undefined],
    ['run `sleep 60` with a timeout of 5 seconds', 'sleep 60', 5_000],
    ['`uname -a`', 'uname -a', undefined],
    ['please run ```\nset -e\necho 1\n```', 'set -e\necho 1', undefined],
  ])('%s', async (prompt, command, timeout) => {
    const { calls } = await converse(
      prompt,
      folder('rw', () => ({ text: 'x\n[exit code 0, cwd /]', isError: false })),
    )
    expect(calls).toHaveLength(1)
    expect(calls[0]?.input).toMatchObject({ command, ...(timeout ? { timeout } : {}) })
  })

  test('run a command and write its output; a failing one is told', async () => {
    const { text } = await converse('run `echo hello` and write the output to out.md', folder())
    expect(get('out.md')).toContain('hello')
    expect(text).toMatch(/Wrote out\.md/)
    expect((await converse('run `exit 3`', folder())).text).toMatch(/exit code 3/)
  })

  test('run a script of the folder', async () => {
    put('hello.py', 'print("from the script")\n')
    expect((await converse('run hello.py', folder())).text).toMatch(/from the script/)
    put('n.txt', 'a\nb\n')
    expect((await converse('count the lines in n.txt', folder())).text).toMatch(/2 /)
  })

  test('fetch', async () => {
    const web = (name: string): ToolAnswer | undefined =>
      name === 'WebFetch'
        ? { text: 'https://example.com/ answered 200 (text/html): Example\n--- untrusted content ---\n# Example Domain', isError: false }
        : undefined
    const { text, calls } = await converse('fetch https://example.com/ and write page.md', folder('rw', web))
    expect(calls[0]).toMatchObject({ name: 'WebFetch', input: { url: 'https://example.com/' } })
    expect(text).toMatch(/Example Domain/)
    expect(get('page.md')).toMatch(/# Example Domain/)
    expect((await converse('download example.com', folder('rw', web))).calls[0]?.input['url']).toBe('https://example.com')
    expect(
      (
        await converse(
          'fetch https://evil.example/x',
          folder('rw', () => ({
            text: 'evil.example is not allowed.\nCode: egress-denied\nRule: hosts: none\nRemedy: Ask.',
            isError: true,
          })),
        )
      ).text,
    ).toMatch(/egress-denied/)
  })

  test.each([
    ['write "hello" to notes.txt', 'notes.txt', 'hello'],
    ['write hello world to notes.txt', 'notes.txt', 'hello world'],
    ['create a file notes.txt with the text "a, b and write c.md"', 'notes.txt', 'a, b and write c.md'],
    ["create notes/x.txt containing 'hi there'", 'notes/x.txt', 'hi there'],
    ['save `x = 1` in sub/a.py', 'sub/a.py', 'x = 1'],
  ])('%s', async (prompt, name, content) => {
    await converse(prompt, folder())
    expect(get(name)).toBe(content)
  })

  test('edit', async () => {
    put('a.txt', 'red green red\n')
    expect((await converse('replace "green" with "blue" in a.txt', folder())).text).toMatch(/1 replacement/)
    expect(get('a.txt')).toBe('red blue red\n')
    await converse('in a.txt, change red to black', folder())
    expect(get('a.txt')).toBe('black blue black\n')
    expect((await converse('replace purple with x in a.txt', folder())).text).toMatch(/was not changed: .*no-match/)
  })

  test('summarise', async () => {
    put('a.md', '# Plan\n\nWe build a boat for the lake. It floats.\n\n## Costs\n')
    put('t.csv', sales)
    const { text, calls } = await converse('Summarise the files and write summary.md', folder())
    expect(calls.map(({ name }) => name)).toEqual(['Glob', 'Read', 'Read', 'Write'])
    expect(text).toMatch(/a\.md\*\*: 5 lines.*Headings: Plan; Costs\. It begins: "We build a boat for the lake\."/)
    expect(get('summary.md')).toMatch(/t\.csv\*\*: a table of 4 rows with the columns date, region, product, amount/)
    expect((await converse('summarize a.md', folder())).calls).toHaveLength(1)
  })

  test('several requests in one prompt', async () => {
    put('a.txt', 'alpha\n')
    const { calls } = await converse('List the files. Then read a.txt, search for alpha and run `echo done`.', folder())
    expect(calls.map(({ name }) => name)).toEqual(['Glob', 'Read', 'Grep', 'Bash'])
  })

  test('several folders', async () => {
    const other = fs.mkdtempSync(path.join(os.tmpdir(), 'practice-'))
    fs.writeFileSync(path.join(other, 'z.csv'), 'region,amount\nN,100\n')
    put('s.csv', 'region,amount\nN,1\n')
    const two = fakeTools([
      { name: 'data', root: other, mode: 'ro' },
      { name: 'sales', root: session.root, mode: 'rw' },
    ])
    const { calls } = await converse('total the amount by region and write report.md', two)
    expect(calls.at(-1)?.input['file_path']).toBe(path.join(session.root, 'report.md'))
    expect(rowsOf(get('report.md'))).toMatchObject({ N: ['101'] })
    expect((await converse('read sales/s.csv', two)).text).toMatch(/N,1/)
    expect((await converse('read s.csv', two)).text).toMatch(/N,1/)
    fs.rmSync(other, { recursive: true })
  })
})

test('a tool that is named', async () => {
  const echo = { name: 'mcp__notes__echo', description: 'Echo', input_schema: { type: 'object' as const } }
  const fake = folder('rw', (name, input) => (name === echo.name ? { text: `echo ${JSON.stringify(input)}`, isError: false } : undefined))
  const ask = (prompt: string) => converse(prompt, fake, [], [...tools, echo])
  expect(await ask('Use tool mcp__notes__echo with message="hello, you", times=2')).toMatchObject({
    calls: [{ name: echo.name, input: { message: 'hello, you', times: 2 } }],
    text: expect.stringContaining('echo {"message"'),
  })
  const json = await ask('use the tool echo with {"message": "a, b", "deep": {"x": [1]}}')
  expect(json.calls).toEqual([{ name: echo.name, input: { message: 'a, b', deep: { x: [1] } } }])
  expect((await ask('please call tool echo')).calls).toEqual([{ name: echo.name, input: {} }])
  expect((await ask('use tool nothing with a=1')).text).toContain('There is no tool nothing')
})
