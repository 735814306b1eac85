/** How well a column's name fits what someone calls it: plurals, order, abbreviations, synonyms, typing slips. Pure. */

/** 0 (no) to 100 (the same). From `good` on a name is taken as meant. */
export const good = 50

/** Words for the same thing; the closer to the front of the list, the better an answer to a question for the first. */
const concepts: readonly { asked: readonly string[]; columns: readonly string[] }[] = [
  {
    asked: ['sale', 'revenue', 'turnover', 'income', 'proceeds', 'taking', 'earning', 'money', 'amount', 'total', 'value', 'business'],
    columns: [
      'sale',
      'revenue',
      'turnover',
      'amount',
      'total',
      'income',
      'proceeds',
      'taking',
      'earning',
      'gmv',
      'net',
      'gross',
      'subtotal',
      'value',
      'sum',
      'umsatz',
      'betrag',
    ],
  },
  {
    asked: ['cost', 'expense', 'spending', 'spend', 'expenditure', 'outlay'],
    columns: [
      'cost',
      'expense',
      'expenditure',
      'spend',
      'spending',
      'outlay',
      'charge',
      'fee',
      'amount',
      'total',
      'value',
      'paid',
      'price',
    ],
  },
  {
    asked: ['payment', 'invoice', 'bill', 'donation', 'budget'],
    columns: ['payment', 'paid', 'invoice', 'donation', 'budget', 'amount', 'total', 'value', 'sum'],
  },
  { asked: ['profit', 'margin', 'gain'], columns: ['profit', 'margin', 'gain', 'earning', 'net'] },
  {
    asked: ['quantity', 'unit', 'piece', 'item', 'volume', 'number', 'stock'],
    columns: ['quantity', 'qty', 'unit', 'piece', 'volume', 'sold', 'count', 'stock', 'item', 'number', 'amount', 'menge'],
  },
  { asked: ['price'], columns: ['price', 'rate', 'cost', 'amount'] },
  { asked: ['salary', 'wage', 'pay'], columns: ['salary', 'wage', 'pay', 'compensation', 'income', 'earning'] },
  { asked: ['hour', 'time', 'duration'], columns: ['hour', 'duration', 'time', 'minute', 'spent'] },
  { asked: ['score', 'rating', 'grade', 'mark', 'point'], columns: ['score', 'rating', 'grade', 'mark', 'point', 'star', 'result'] },
  { asked: ['people', 'inhabitant', 'population'], columns: ['population', 'inhabitant', 'people', 'resident'] },
  {
    asked: ['region', 'area', 'territory', 'zone'],
    columns: ['region', 'area', 'territory', 'zone', 'market', 'district', 'location', 'state', 'province', 'country'],
  },
  { asked: ['location', 'place', 'site'], columns: ['location', 'place', 'site', 'city', 'town', 'branch', 'store', 'office', 'region'] },
  { asked: ['country', 'nation'], columns: ['country', 'nation', 'land'] },
  { asked: ['city', 'town'], columns: ['city', 'town', 'municipality', 'location'] },
  { asked: ['store', 'shop', 'branch', 'outlet'], columns: ['store', 'shop', 'branch', 'outlet', 'location'] },
  { asked: ['customer', 'client', 'buyer', 'account'], columns: ['customer', 'client', 'buyer', 'account', 'company', 'name'] },
  {
    asked: ['product', 'item', 'article', 'good', 'sku'],
    columns: ['product', 'item', 'article', 'sku', 'good', 'title', 'name', 'description'],
  },
  {
    asked: ['category', 'type', 'kind', 'class', 'group', 'sort'],
    columns: ['category', 'type', 'kind', 'class', 'group', 'segment', 'genre', 'department'],
  },
  { asked: ['department', 'team', 'division'], columns: ['department', 'dept', 'team', 'division', 'unit', 'group'] },
  {
    asked: ['seller', 'salesperson', 'rep', 'representative', 'agent', 'employee', 'person', 'salesman', 'who'],
    columns: ['seller', 'salesperson', 'rep', 'representative', 'agent', 'employee', 'staff', 'person', 'owner', 'name'],
  },
  { asked: ['supplier', 'vendor'], columns: ['supplier', 'vendor', 'manufacturer', 'company'] },
  { asked: ['status', 'state'], columns: ['status', 'state', 'stage'] },
  { asked: ['channel', 'source'], columns: ['channel', 'source', 'medium', 'platform'] },
  { asked: ['date', 'day'], columns: ['date', 'day', 'datum', 'timestamp', 'created', 'ordered'] },
]

const currencies = new Set(['usd', 'eur', 'gbp', 'chf', 'jpy', 'cad', 'aud', 'sek', 'nok', 'dkk', 'k'])
/** Numbers that name things rather than measure them. */
const naming = new Set([
  'id',
  'no',
  'nr',
  'number',
  'num',
  'code',
  'zip',
  'postcode',
  'plz',
  'phone',
  'tel',
  'year',
  'month',
  'day',
  'week',
  'lat',
  'lon',
  'latitude',
  'longitude',
  'index',
  'row',
  'key',
  'rank',
  'line',
  'uuid',
  'guid',
  'ssn',
  'isbn',
  'ean',
])

export function matchColumn(phrase: string, header: string): number {
  const asked = wordsOf(phrase)
  const named = wordsOf(header)
  if (asked.length === 0 || named.length === 0) return 0
  const shared = named.filter((word) => asked.includes(word)).length
  if (shared === named.length && shared === asked.length) return 100
  if (shared === named.length) return 92 - 2 * (asked.length - shared)
  if (shared === asked.length) return 90 - 4 * (named.length - shared)
  if (asked.join('') === named.join('')) return 98
  return Math.max(shared > 0 ? 60 : 0, ...asked.flatMap((one) => named.map((other) => wordMatch(one, other, named.length))))
}

/** Lower-case words, singular, without accents, currencies and camelCase. */
export function wordsOf(text: string): string[] {
  const words = text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '')
    .map(singular)
  const plain = words.filter((word) => !currencies.has(word))
  return plain.length > 0 ? plain : words
}

/** Whether a numeric column measures something, judged by its name. */
export function measures(header: string): boolean {
  const words = wordsOf(header)
  return !words.some((word) => naming.has(word)) || words.some((word) => word === 'amount' || word === 'total')
}

function wordMatch(asked: string, named: string, nameLength: number): number {
  const apart = nameLength - 1
  const synonym = Math.max(
    0,
    ...concepts.flatMap(({ asked: questions, columns }) => {
      const at = questions.includes(asked) ? columns.indexOf(named) : -1
      return at === -1 ? [] : [78 - at]
    }),
  )
  if (synonym > 0) return synonym - apart
  const [short, long] = asked.length < named.length ? [asked, named] : [named, asked]
  if (short.length >= 3 && long.startsWith(short)) return 66 - apart
  if (short.length >= 3 && short.length <= 5 && long.length >= 5 && isSkeleton(short, long)) return 56 - apart
  const slips = distance(asked, named)
  const swapped = slips === 2 && asked.length === named.length && letters(asked) === letters(named)
  return (slips === 1 && short.length >= 4) || (slips === 2 && short.length >= 7) || (swapped && short.length >= 5) ? 60 - apart : 0
}

/** `qty` for `quantity`, `amt` for `amount`: same first letter, the rest in order, ending alike. */
function isSkeleton(short: string, long: string): boolean {
  if (short[0] !== long[0] || short.at(-1) !== long.at(-1)) return false
  let at = 0
  for (const char of long) if (char === short[at]) at += 1
  return at === short.length
}

function letters(word: string): string {
  return Array.from(word).toSorted().join('')
}

function singular(word: string): string {
  if (word.length > 4 && word.endsWith('ies')) return `${word.slice(0, -3)}y`
  if (word.length > 4 && /(?:ss|x|z|ch|sh)es$/.test(word)) return word.slice(0, -2)
  return word.length > 3 && /[^su]s$/.test(word) && !word.endsWith('is') ? word.slice(0, -1) : word
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
