/** The main job on many tables, computed by the Python it writes. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { practiceSession, rowsOf, sales } from './testing/session.ts'

const { session, converse, put, get, folder } = practiceSession()

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
    [
      'semicolons, decimal commas, BOM',
      'total the revenue by country and write report.md',
      { 'daten.csv': '\ufeffLand;Country;Revenue (EUR)\n1;Österreich;1.234,50 €\n2;Schweiz;10,25\n3;Österreich;0,5\n' },
      { Österreich: ['1235.00'], Schweiz: ['10.25'], 'Grand total': ['1245.25'] },
    ],
    [
      'quotes, thousands separators, currency signs',
      'Total the sales by region and write report.md',
      { 'x.csv': 'Region,Sales\n"North, upper","$1,200.10"\nSouth,"$2,000"\n"North, upper",($100.10)\n"So ""called""",$5\n' },
      { 'North, upper': ['1100'], South: ['2000'], 'So "called"': ['5'], 'Grand total': ['3105'] },
    ],
    [
      'tabs and whole numbers',
      'sum units per category and write report.md',
      { 'stock.tsv': 'sku\tCategory\tUnits\na\tBooks\t3\nb\tToys\t4\nc\tBooks\t5\n' },
      { Books: ['8'], Toys: ['4'], 'Grand total': ['12'] },
    ],
    [
      'no column called sales',
      'total the sales by region and write report.md',
      { 'a.csv': 'order_id,region,total_price\n1,N,2.5\n2,S,3.5\n' },
      { N: ['2.50'], S: ['3.50'] },
      /total_price/,
    ],
    [
      'ids are not summed',
      'total by team and write report.md',
      { 'a.csv': 'id,year,team,hours\n1,2024,x,5\n2,2024,y,6\n3,2025,x,1\n' },
      { x: ['6'], y: ['6'] },
    ],
    [
      'unit price times quantity',
      'total the revenue by product and write report.md',
      { 'a.csv': 'product,quantity,unit_price\nTea,2,1.50\nMilk,3,1\nTea,1,1.50\n' },
      { Tea: ['4.50'], Milk: ['3.00'] },
      /quantity × unit_price/,
    ],
    [
      'several files with the same columns',
      'total the sales by region and write report.md',
      { 'q1.csv': 'region,amount\nN,1\nS,2\n', 'deep/q2.csv': 'Region;Amount\nN;10,5\n', 'people.csv': 'name,age\nAda,36\n' },
      { N: ['11.50'], S: ['2.00'], 'Grand total': ['13.50'] },
      /deep\/q2\.csv/,
    ],
    [
      'the file whose name fits',
      'total the costs by region and write report.md',
      { 'sales.csv': 'region,amount\nN,1\n', 'costs.csv': 'region,amount\nN,7\n' },
      { N: ['7'] },
    ],
    [
      'a file named in the prompt',
      'total the amount by region in b.csv and write report.md',
      { 'a.csv': 'region,amount\nN,1\n', 'b.csv': 'region,amount\nN,7\n' },
      { N: ['7'] },
    ],
    [
      'average',
      'What is the average salary per department? Write it to report.md',
      { 'hr.csv': 'name,dept,salary\nA,IT,100\nB,IT,201\nC,HR,50\n' },
      { IT: ['150.50'], HR: ['50.00'] },
    ],
    [
      'count',
      'How many orders are there by status? Save the result as report.md',
      { 'o.csv': 'id,status\n1,open\n2,done\n3,open\n' },
      { open: ['2'], done: ['1'], 'Grand total': ['3'] },
    ],
    [
      'highest',
      'show the highest score by player and write report.md',
      { 's.csv': 'player,score\na,3\na,9\nb,4\n' },
      { a: ['9'], b: ['4'] },
    ],
    [
      'two measures',
      'total units and average price by product, then write report.md',
      { 's.csv': 'product,units,price\na,3,2\na,1,4\nb,4,1\n' },
      { a: ['4', '3.00'], b: ['4', '1.00'] },
    ],
    [
      'two groups',
      'total amount by region and product and write report.md',
      { 's.csv': 'region,product,amount\nN,t,1\nN,c,2\nN,t,3\n' },
      { N: ['c', '2'] },
    ],
    [
      'by month of a date column',
      'total sales by month and write report.md',
      { 's.csv': sales },
      { '2026-01': ['30.50'], '2026-02': ['6.25'] },
    ],
    [
      'a condition',
      'total the sales by product where region is North and write report.md',
      { 's.csv': sales },
      { Tea: ['10.50'], Coffee: ['5.25'] },
    ],
    [
      'a year',
      'total the amount by region for 2025 and write report.md',
      { 's.csv': 'date,region,amount\n31/12/2024,N,1\n13/01/2025,N,2\n01/02/2025,S,3\n' },
      { N: ['2'], S: ['3'], 'Grand total': ['5'] },
    ],
    ['which has the most', 'Which region has the highest sales? Write report.md', { 's.csv': sales }, { South: ['20.00'] }],
    [
      'totals inside the data',
      'total the amount by region and write report.md',
      { 's.csv': 'region,amount\nN,1\nS,2\nTotal,3\n' },
      { N: ['1'], S: ['2'], 'Grand total': ['3'] },
      /totals inside/,
    ],
    [
      'a title above the header',
      'total the amount by region and write report.md',
      { 's.csv': 'Sales report 2026,,\n,,\nregion,amount,note\nN,1,x\nS,2,y\n' },
      { N: ['1'], S: ['2'] },
    ],
    ['a typing slip', 'total the ammount by regoin and write report.md', { 's.csv': 'region,amount\nN,1\n' }, { N: ['1'] }],
    [
      'latin-1',
      'total the amount by city and write report.md',
      { 's.csv': Buffer.from('city,amount\nZürich,1\nZürich,2\n', 'latin1') },
      { Zürich: ['3'] },
    ],
    [
      'polite and long',
      'Hi! Could you please add up the amounts for each region in this folder, and then put the results into a file called report.md?',
      { 's.csv': 'region,amount\nN,1\nS,2\nN,4\n' },
      { N: ['5'], S: ['2'], 'Grand total': ['7'] },
    ],
    ['write first', 'Write a report of the total sales by region to report.md', { 's.csv': sales }, { South: ['20.00'], North: ['15.75'] }],
    ['no total, only by', 'sales by region, write report.md', { 's.csv': sales }, { South: ['20.00'] }],
    [
      'a file name with blanks and quotes',
      'total the sales by region and write report.md',
      { "o'brien & co 'x'.csv": sales },
      { South: ['20.00'] },
    ],
  ]
  test.each(tables)('%s', async (_, prompt, files, rows, says) => {
    for (const [name, content] of Object.entries(files)) put(name, content)
    const { text } = await converse(prompt, folder())
    expect(fs.existsSync(path.join(session.root, 'report.md')) ? '' : text).toBe('')
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
