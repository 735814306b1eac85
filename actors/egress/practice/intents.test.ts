import { describe, expect, test } from 'vitest'
import { readIntents } from './intents.ts'

const region = { do: 'tabulate', question: { measures: [{ op: 'sum', words: 'sales' }], groups: ['region'], where: [] } }
const report = { do: 'save', file: 'report.md' }

describe('one job in many words', () => {
  test.each([
    'Total the sales by region and write report.md',
    'total sales per region, then write report.md',
    'Please sum up the sales for each region and save the result to report.md.',
    'Could you add up the sales by region? Then put the totals in report.md',
    'Summarize the sales by region and write report.md',
    'Calculate the total of the sales grouped by region. Write it into report.md.',
    'Using Python, total the sales by region and write report.md',
    'Total the sales by region in examples/sales and write report.md',
    'Total the sales by region in the folder and write the report as report.md in the folder',
    'total the sales by region, sorted by total, and write it into report.md as a markdown table',
    'Write report.md with the total sales by region',
    'Write a report of the total sales by region to report.md',
    'Make a report about sales by region and store it in a file named report.md',
    'Look at the data, give me a breakdown of sales by region and write report.md',
    'Do the following:\n1. total the sales by region\n2. write report.md',
    'Total "sales" by "region" and write "report.md"',
    'total the `sales` by `region` and write `report.md`',
  ])('%s', (prompt) => {
    expect(readIntents(prompt, []).filter((intent) => intent.do !== 'look')).toMatchObject([region, report])
  })
})

test('a name that could be cut into names in many ways is looked at once, not in all of them', () => {
  for (const piece of ['.a-.a', 'a.a-/a', 'a.b~c.d', 'a.a/'])
    expect(readIntents(`delete ${piece.repeat(40)} (all)`, [])).toMatchObject([{ do: 'unknown' }])
})

test.each([
  [
    'Total the amount_eur by cost_center and write out/report.md',
    [{ question: { measures: [{ words: 'amount_eur' }], groups: ['cost_center'] } }, { file: 'out/report.md' }],
  ],
  ['Read sales.csv and total the sales by region', [{ do: 'read' }, { do: 'tabulate', question: { files: ['sales.csv'] } }]],
  [
    'Please analyze sales.csv and write a summary of revenue per product to summary.md',
    [{ do: 'look' }, { do: 'tabulate', question: { files: ['sales.csv'], groups: ['product'] } }, { do: 'save', file: 'summary.md' }],
  ],
  ['How many rows are in sales.csv?', [{ question: { measures: [{ op: 'count' }], groups: [], files: ['sales.csv'] } }]],
  ['what is the total revenue in 2024?', [{ question: { measures: [{ op: 'sum', words: 'revenue' }], groups: [], year: 2024 } }]],
  ['Top 3 customers by revenue', [{ question: { groups: ['customers'], top: { n: 3, order: 'most' } } }]],
  [
    'Which product sold the fewest units?',
    [{ question: { measures: [{ op: 'sum', words: 'units' }], groups: ['product'], top: { n: 1, order: 'least' } } }],
  ],
  [
    'total sales by region where status is "fully paid"',
    [{ question: { where: [{ words: 'status', test: 'is', value: 'fully paid' }], groups: ['region'] } }],
  ],
  [
    'total sales where units is greater than 5 by region',
    [{ question: { where: [{ words: 'units', test: '>', value: '5' }], groups: ['region'] } }],
  ],
  [
    'total sales by region for product Tea',
    [{ question: { where: [{ words: 'product', value: 'Tea', guessed: true }], groups: ['region'] } }],
  ],
  [
    'count the orders and total the sales by region',
    [{ question: { measures: [{ op: 'count' }, { op: 'sum', words: 'sales' }], groups: ['region'] } }],
  ],
  ['use bash to run `id`', [{ do: 'run', command: 'id' }]],
  ['Run `false` and then list the files', [{ do: 'run', command: 'false' }, { do: 'list' }]],
  [
    'run `echo "write x.md"` and write out.md',
    [
      { do: 'run', command: 'echo "write x.md"' },
      { do: 'save', file: 'out.md' },
    ],
  ],
  ['search for "total by region"', [{ do: 'search', pattern: 'total by region' }]],
  ['find all lines containing error in app.log', [{ do: 'search', pattern: 'error', path: 'app.log' }]],
  ['search for /colou?r/ in *.md', [{ do: 'search', pattern: 'colou?r', glob: '*.md' }]],
  ['find files named *.csv', [{ do: 'list', pattern: '**/*.csv' }]],
  [
    'fetch https://example.com/a?b=c, then write it to page.md',
    [
      { do: 'fetch', url: 'https://example.com/a?b=c' },
      { do: 'save', file: 'page.md' },
    ],
  ],
  ['Fetch https://example.com and summarise it', [{ do: 'fetch' }, { do: 'look' }]],
  ['Search the web for quince recipes', [{ do: 'web-search', query: 'quince recipes' }]],
  [
    'search online for "red wine" and write it to wine.md',
    [
      { do: 'web-search', query: 'red wine' },
      { do: 'save', file: 'wine.md' },
    ],
  ],
  ['look up quinces on the web', [{ do: 'web-search', query: 'quinces' }]],
  [
    'Write a summary of notes.txt to s.md',
    [
      { do: 'summarise', files: ['notes.txt'] },
      { do: 'save', file: 's.md' },
    ],
  ],
  ['summarize all the markdown files', [{ do: 'summarise', files: ['*.md'] }]],
  ['read a.txt and summarise it', [{ do: 'read' }, { do: 'summarise', files: ['a.txt'] }]],
  ['edit notes.txt and replace a with b', [{ do: 'look' }, { do: 'edit', file: 'notes.txt', from: 'a', to: 'b' }]],
  ['Create hello.txt with the content: Hello, world', [{ do: 'write', file: 'hello.txt', content: 'Hello, world' }]],
  ['Write "x" to /tmp/evil.txt', [{ do: 'write', file: '/tmp/evil.txt' }]],
  ['write "x" to ../evil.txt', [{ do: 'write', file: '../evil.txt' }]],
  ['cat ./a/b.txt', [{ do: 'read', files: ['./a/b.txt'] }]],
  ['Read "my notes.txt"', [{ do: 'read', files: ['my notes.txt'] }]],
  [
    'open the file data/notes.txt and show it',
    [
      { do: 'read', files: ['data/notes.txt'] },
      { do: 'read', files: ['data/notes.txt'] },
    ],
  ],
  ['Delete a.txt', [{ do: 'delete', files: ['a.txt'] }]],
  ['please remove the files a.txt, sub/b.csv and "my notes.md"', [{ do: 'delete', files: ['a.txt', 'sub/b.csv', 'my notes.md'] }]],
  ['delete the folder drafts', [{ do: 'delete', files: ['drafts'] }]],
  ['delete everything', [{ do: 'unknown' }]],
  ['remove the duplicates from sales.csv', [{ do: 'unknown' }]],
  ['Rename a.txt to b.txt', [{ do: 'move', from: 'a.txt', to: 'b.txt' }]],
  [
    'move sub/a.txt into archive/ and delete b.txt',
    [
      { do: 'move', from: 'sub/a.txt', to: 'archive/' },
      { do: 'delete', files: ['b.txt'] },
    ],
  ],
  ['What is 2+2?', [{ do: 'unknown' }]],
  ['', []],
])('%s', (prompt, intents) => {
  const read = readIntents(prompt, [])
  expect(read).toMatchObject(intents)
  expect(read).toHaveLength(intents.length)
})
