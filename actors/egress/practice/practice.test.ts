/** The practice model through the real SDK: wire format, and whole tasks with tools that really run. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type FakeTools, fakeTools, type ToolAnswer } from './fake-tools.ts'
import { startPracticeModel } from './server.ts'

const toolNames = ['Read', 'Write', 'Edit', 'Glob', 'Grep', 'Bash', 'WebFetch']
const tools = toolNames.map((name) => ({ name, description: name, input_schema: { type: 'object' as const } }))

let practice: Awaited<ReturnType<typeof startPracticeModel>>
let client: Anthropic
let root: string

beforeAll(async () => {
  practice = await startPracticeModel()
  client = new Anthropic({ baseURL: practice.baseUrl, apiKey: practice.key, maxRetries: 0 })
})
afterAll(() => practice.close())
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'practice-'))
})
afterEach(() => fs.rmSync(root, { recursive: true }))

type Ran = { text: string; calls: { name: string; input: Record<string, unknown> }[]; messages: Anthropic.MessageParam[] }

async function converse(prompt: string, fake: FakeTools, before: Anthropic.MessageParam[] = [], only = tools): Promise<Ran> {
  const messages: Anthropic.MessageParam[] = [...before, { role: 'user', content: prompt }]
  const calls: Ran['calls'] = []
  for (let round = 0; round < 20; round += 1) {
    const answer = await client.messages.stream({ model: 'any', max_tokens: 32_000, system: [{ type: 'text', text: fake.system }], tools: only, messages }).finalMessage()
    messages.push({ role: 'assistant', content: answer.content })
    const uses = answer.content.filter((block) => block.type === 'tool_use')
    expect(answer.stop_reason).toBe(uses.length > 0 ? 'tool_use' : 'end_turn')
    if (uses.length === 0) return { text: answer.content.map((block) => (block.type === 'text' ? block.text : '')).join(''), calls, messages }
    messages.push({
      role: 'user',
      content: uses.map(({ id, name, input }) => {
        calls.push({ name, input: input as Record<string, unknown> })
        const { text, isError } = fake.run(name, input as Record<string, unknown>)
        return { type: 'tool_result', tool_use_id: id, content: text, is_error: isError }
      }),
    })
  }
  throw new Error('it does not come to an end')
}

const put = (name: string, content: string | Buffer) => {
  fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
  fs.writeFileSync(path.join(root, name), content)
}
const get = (name: string) => fs.readFileSync(path.join(root, name), 'utf8')
const folder = (mode: 'rw' | 'ro' = 'rw', override?: (name: string, input: Record<string, unknown>) => ToolAnswer | undefined) => fakeTools([{ name: 'sales', root, mode }], override)
/** Rows of the first table of a report: first cell -> the others. */
const rowsOf = (markdown: string) =>
  Object.fromEntries(markdown.split('\n').filter((line) => line.startsWith('| ')).slice(1).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim().replaceAll('*', ''))).map(([key, ...values]) => [key, values]))

const sales = 'date,region,product,amount\n2026-01-02,North,Tea,10.50\n2026-01-03,South,Tea,20\n2026-02-01,North,Coffee,5.25\n2026-02-02,East,Tea,1\n'

describe('wire format', () => {
  test('not streamed', async () => {
    const answer = await client.messages.create({ model: 'm', max_tokens: 1000, messages: [{ role: 'user', content: 'help' }] })
    expect(answer).toMatchObject({ type: 'message', role: 'assistant', model: 'bulkhead-practice', stop_reason: 'end_turn', stop_sequence: null, content: [{ type: 'text' }] })
    expect(answer.usage.input_tokens).toBeGreaterThan(0)
    expect(answer._request_id).toMatch(/^req_/)
  })

  test('streamed: events in the order and shape of the API, and the same message in the end', async () => {
    const events: Anthropic.MessageStreamEvent[] = []
    put('ünï "x".csv', sales)
    const request = { model: 'm', max_tokens: 1000, system: folder().system, tools, messages: [{ role: 'user' as const, content: 'replace "ä\n😀" with "\\"ö" in ünï.md' }] }
    const stream = client.messages.stream(request)
    stream.on('streamEvent', (event) => events.push(structuredClone(event)))
    const whole = await stream.finalMessage()
    expect(events.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1])).toEqual(['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop'])
    expect(events[0]).toMatchObject({ message: { content: [], stop_reason: null } })
    const plain = await client.messages.create(request)
    expect(whole.content).toEqual(plain.content)
    expect(whole.stop_reason).toBe('tool_use')
  })

  test('errors have the API\'s shape', async () => {
    const bad = new Anthropic({ baseURL: practice.baseUrl, apiKey: 'wrong', maxRetries: 0 })
    await expect(bad.messages.create({ model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] })).rejects.toMatchObject({ status: 401, error: { error: { type: 'authentication_error' } } })
    await expect(client.messages.create({ model: 'm', max_tokens: 1, messages: [] })).rejects.toMatchObject({ status: 400, error: { error: { type: 'invalid_request_error' } } })
    const orphan: Anthropic.MessageParam[] = [{ role: 'user', content: 'x' }, { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'Read', input: {} }] }, { role: 'user', content: 'y' }]
    await expect(client.messages.create({ model: 'm', max_tokens: 1, messages: orphan })).rejects.toThrow(/tool_use.*without.*tool_result/)
    await expect(client.get('/v1/nothing')).rejects.toMatchObject({ status: 404 })
  })

  test('models and token counts', async () => {
    const [model] = (await client.models.list()).data
    expect(model?.id).toBe('bulkhead-practice')
    expect((await client.messages.countTokens({ model: 'm', messages: [{ role: 'user', content: 'hello there' }] })).input_tokens).toBeGreaterThan(0)
  })

  test('max_tokens cuts the text and says so', async () => {
    const answer = await client.messages.create({ model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'help' }] })
    expect(answer.stop_reason).toBe('max_tokens')
  })
})

describe('the main job', () => {
  test('total the sales by region and write report.md', async () => {
    put('sales.csv', sales)
    const { text, calls } = await converse('Total the sales by region and write report.md', folder())
    expect(calls.map(({ name }) => name)).toEqual(['Glob', 'Read', 'Bash', 'Write'])
    expect(rowsOf(get('report.md'))).toMatchObject({ South: ['20.00'], North: ['15.75'], East: ['1.00'], 'Grand total': ['36.75'] })
    expect(get('report.md')).toMatch(/^# Total sales by region\n/)
    expect(get('report.md')).toContain('`sales.csv`: 4 rows read, 4 counted')
    expect(text).toMatch(/practice model/)
    expect(text).toMatch(/report\.md/)
  })

  const tables: [what: string, prompt: string, files: Record<string, string | Buffer>, rows: Record<string, string[]>, says?: RegExp][] = [
    ['semicolons, decimal commas, BOM', 'total the revenue by country and write report.md', { 'daten.csv': '\ufeffLand;Country;Revenue (EUR)\n1;Österreich;1.234,50 €\n2;Schweiz;10,25\n3;Österreich;0,5\n' }, { Österreich: ['1235.00'], Schweiz: ['10.25'], 'Grand total': ['1245.25'] }],
    ['quotes, thousands separators, currency signs', 'Total the sales by region and write report.md', { 'x.csv': 'Region,Sales\n"North, upper","$1,200.10"\nSouth,"$2,000"\n"North, upper",($100.10)\n"So ""called""",$5\n' }, { 'North, upper': ['1100'], South: ['2000'], 'So "called"': ['5'], 'Grand total': ['3105'] }],
    ['tabs and whole numbers', 'sum units per category and write report.md', { 'stock.tsv': 'sku\tCategory\tUnits\na\tBooks\t3\nb\tToys\t4\nc\tBooks\t5\n' }, { Books: ['8'], Toys: ['4'], 'Grand total': ['12'] }],
    ['no column called sales', 'total the sales by region and write report.md', { 'a.csv': 'order_id,region,total_price\n1,N,2.5\n2,S,3.5\n' }, { N: ['2.50'], S: ['3.50'] }, /total_price/],
    ['ids are not summed', 'total by team and write report.md', { 'a.csv': 'id,year,team,hours\n1,2024,x,5\n2,2024,y,6\n3,2025,x,1\n' }, { x: ['6'], y: ['6'] }],
    ['unit price times quantity', 'total the revenue by product and write report.md', { 'a.csv': 'product,quantity,unit_price\nTea,2,1.50\nMilk,3,1\nTea,1,1.50\n' }, { Tea: ['4.50'], Milk: ['3.00'] }, /quantity × unit_price/],
    ['several files with the same columns', 'total the sales by region and write report.md', { 'q1.csv': 'region,amount\nN,1\nS,2\n', 'deep/q2.csv': 'Region;Amount\nN;10,5\n', 'people.csv': 'name,age\nAda,36\n' }, { N: ['11.50'], S: ['2.00'], 'Grand total': ['13.50'] }, /deep\/q2\.csv/],
    ['the file whose name fits', 'total the costs by region and write report.md', { 'sales.csv': 'region,amount\nN,1\n', 'costs.csv': 'region,amount\nN,7\n' }, { N: ['7'] }],
    ['a file named in the prompt', 'total the amount by region in b.csv and write report.md', { 'a.csv': 'region,amount\nN,1\n', 'b.csv': 'region,amount\nN,7\n' }, { N: ['7'] }],
    ['average', 'What is the average salary per department? Write it to report.md', { 'hr.csv': 'name,dept,salary\nA,IT,100\nB,IT,201\nC,HR,50\n' }, { IT: ['150.50'], HR: ['50.00'] }],
    ['count', 'How many orders are there by status? Save the result as report.md', { 'o.csv': 'id,status\n1,open\n2,done\n3,open\n' }, { open: ['2'], done: ['1'], 'Grand total': ['3'] }],
    ['highest', 'show the highest score by player and write report.md', { 's.csv': 'player,score\na,3\na,9\nb,4\n' }, { a: ['9'], b: ['4'] }],
    ['two measures', 'total units and average price by product, then write report.md', { 's.csv': 'product,units,price\na,3,2\na,1,4\nb,4,1\n' }, { a: ['4', '3.00'], b: ['4', '1.00'] }],
    ['two groups', 'total amount by region and product and write report.md', { 's.csv': 'region,product,amount\nN,t,1\nN,c,2\nN,t,3\n' }, { N: ['c', '2'] }],
    ['by month of a date column', 'total sales by month and write report.md', { 's.csv': sales }, { '2026-01': ['30.50'], '2026-02': ['6.25'] }],
    ['a condition', 'total the sales by product where region is North and write report.md', { 's.csv': sales }, { Tea: ['10.50'], Coffee: ['5.25'] }],
    ['a year', 'total the amount by region for 2025 and write report.md', { 's.csv': 'date,region,amount\n31/12/2024,N,1\n13/01/2025,N,2\n01/02/2025,S,3\n' }, { N: ['2'], S: ['3'], 'Grand total': ['5'] }],
    ['which has the most', 'Which region has the highest sales? Write report.md', { 's.csv': sales }, { South: ['20.00'] }],
    ['totals inside the data', 'total the amount by region and write report.md', { 's.csv': 'region,amount\nN,1\nS,2\nTotal,3\n' }, { N: ['1'], S: ['2'], 'Grand total': ['3'] }, /totals inside/],
    ['a title above the header', 'total the amount by region and write report.md', { 's.csv': 'Sales report 2026,,\n,,\nregion,amount,note\nN,1,x\nS,2,y\n' }, { N: ['1'], S: ['2'] }],
    ['a typing slip', 'total the ammount by regoin and write report.md', { 's.csv': 'region,amount\nN,1\n' }, { N: ['1'] }],
    ['latin-1', 'total the amount by city and write report.md', { 's.csv': Buffer.from('city,amount\nZürich,1\nZürich,2\n', 'latin1') }, { Zürich: ['3'] }],
    ['polite and long', 'Hi! Could you please add up the amounts for each region in this folder, and then put the results into a file called report.md?', { 's.csv': 'region,amount\nN,1\nS,2\nN,4\n' }, { N: ['5'], S: ['2'], 'Grand total': ['7'] }],
    ['write first', 'Write a report of the total sales by region to report.md', { 's.csv': sales }, { South: ['20.00'], North: ['15.75'] }],
    ['no total, only by', 'sales by region, write report.md', { 's.csv': sales }, { South: ['20.00'] }],
    ['a file name with blanks and quotes', 'total the sales by region and write report.md', { "o'brien & co 'x'.csv": sales }, { South: ['20.00'] }],
  ]
  test.each(tables)('%s', async (_, prompt, files, rows, says) => {
    for (const [name, content] of Object.entries(files)) put(name, content)
    const { text } = await converse(prompt, folder())
    expect(fs.existsSync(path.join(root, 'report.md')) ? '' : text).toBe('')
    expect(rowsOf(get('report.md'))).toMatchObject(rows)
    if (says) expect(get('report.md')).toMatch(says)
  })

  test('rows that cannot be read are counted and named', async () => {
    put('s.csv', 'region,amount\nN,1\nS,n/a\nN,\nS\nN,5k\nS,2\n')
    await converse('total the amount by region and write report.md', folder())
    expect(rowsOf(get('report.md'))).toMatchObject({ N: ['1'], S: ['2'], 'Grand total': ['3'] })
    expect(get('report.md')).toMatch(/skipped as unreadable: 4 .*s\.csv line 3: amount is 'n\/a', not a number/)
  })

  test('sums are exact', async () => {
    put('s.csv', `region,amount\n${'N,0.1\n'.repeat(30)}N,9007199254740993\n`)
    await converse('total the amount by region and write report.md', folder())
    expect(rowsOf(get('report.md'))).toMatchObject({ N: ['9007199254740996'] })
  })

  test('no fitting column: says which there are, writes nothing', async () => {
    put('s.csv', 'name,age\nAda,36\n')
    const { text, calls } = await converse('total the sales by flavour and write report.md', folder())
    expect(text).toMatch(/"flavour".*\n- s\.csv: name, age/)
    expect(calls.map(({ name }) => name)).toEqual(['Glob', 'Read'])
  })

  test('follow-ups use what was asked before', async () => {
    put('s.csv', sales)
    const fake = folder()
    const first = await converse('total the sales by region', fake)
    expect(first.text).toMatch(/\| South \| 20\.00 \|/)
    const second = await converse('and by product?', fake, first.messages)
    expect(second.text).toMatch(/\| Tea \| 31\.50 \|/)
    const third = await converse('now write that to products.md', fake, second.messages)
    expect(third.calls.map(({ name }) => name)).toEqual(['Write'])
    expect(rowsOf(get('products.md'))).toMatchObject({ Tea: ['31.50'], Coffee: ['5.25'] })
    const fourth = await converse('what about the average?', fake, third.messages)
    expect(fourth.text).toMatch(/\| Tea \| 10\.50 \|/)
  })
})

describe('what is refused or missing', () => {
  const refusing = (tool: string, code: string, message: string) => (name: string) => (name === tool ? { text: `${message}\nCode: ${code}\nRemedy: Retry later.`, isError: true } : undefined)

  test('no workspace: no figures of its own, nothing written', async () => {
    put('s.csv', sales)
    const { text, calls } = await converse('total the sales by region and write report.md', folder('rw', refusing('Bash', 'workspace-unavailable', 'The workspace VM is not running.')))
    expect(text).toMatch(/workspace-unavailable/)
    expect(text).toMatch(/not written/)
    expect(calls.map(({ name }) => name)).not.toContain('Write')
  })

  test('Write refused: the figures are told all the same', async () => {
    put('s.csv', sales)
    const denied = await converse('total the sales by region and write report.md', folder('rw', refusing('Write', 'denied', 'The member said no.')))
    expect(denied.text).toMatch(/\| South \| 20\.00 \|[\s\S]*not written: The member said no\. \(denied\)/)
    const readOnly = await converse('total the sales by region and write report.md', folder('ro'))
    expect(readOnly.text).toMatch(/not written: .*read-only/)
  })

  test('a tool that is not offered', async () => {
    put('s.csv', sales)
    const { text } = await converse('run `ls`', folder(), [], tools.filter(({ name }) => name !== 'Bash'))
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
  test('list', async () => {
    put('a.csv', 'x')
    put('sub/b.txt', 'y')
    expect((await converse('list the files', folder())).text).toMatch(/2 files:\n\n- a\.csv\n- sub\/b\.txt/)
    expect((await converse('What csv files are there?', folder())).text).toMatch(/1 file:\n\n- a\.csv/)
    expect((await converse('show me all *.txt', folder())).text).toMatch(/- sub\/b\.txt/)
    expect((await converse('what is in the folder?', folder())).text).toMatch(/2 files/)
    expect((await converse('list the files in sub', folder())).calls[0]?.input['path']).toBe(path.join(root, 'sub'))
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
    expect((await converse('search for "find (me)"', folder())).text).toMatch(/2 lines in 2 files:\n\n- a\.txt:2: find \(me\) here\n- b\.md:1/)
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
    const { calls } = await converse(prompt, folder('rw', () => ({ text: 'x\n[exit code 0, cwd /]', isError: false })))
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
    const web = (name: string): ToolAnswer | undefined => (name === 'WebFetch' ? { text: 'https://example.com/ answered 200 (text/html): Example\n--- untrusted content ---\n# Example Domain', isError: false } : undefined)
    const { text, calls } = await converse('fetch https://example.com/ and write page.md', folder('rw', web))
    expect(calls[0]).toMatchObject({ name: 'WebFetch', input: { url: 'https://example.com/' } })
    expect(text).toMatch(/Example Domain/)
    expect(get('page.md')).toMatch(/# Example Domain/)
    expect((await converse('download example.com', folder('rw', web))).calls[0]?.input['url']).toBe('https://example.com')
    expect((await converse('fetch https://evil.example/x', folder('rw', () => ({ text: 'evil.example is not allowed.\nCode: egress-denied\nRule: hosts: none\nRemedy: Ask.', isError: true })))).text).toMatch(/egress-denied/)
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
    const two = fakeTools([{ name: 'data', root: other, mode: 'ro' }, { name: 'sales', root, mode: 'rw' }])
    const { calls } = await converse('total the amount by region and write report.md', two)
    expect(calls.at(-1)?.input['file_path']).toBe(path.join(root, 'report.md'))
    expect(rowsOf(get('report.md'))).toMatchObject({ N: ['101'] })
    expect((await converse('read sales/s.csv', two)).text).toMatch(/N,1/)
    expect((await converse('read s.csv', two)).text).toMatch(/N,1/)
    fs.rmSync(other, { recursive: true })
  })
})
