/** A table nobody has seen before, with its totals: other words, other separators, other numbers each time. */
import { randomInt } from 'node:crypto'

export type MadeUpTable = {
  csv: string
  /** Column names to ask for. */
  group: string
  amount: string
  /** In hundredths, by group. */
  totals: ReadonlyMap<string, number>
}

export type TableShape = { separator: ',' | ';' | '\t'; thousands: boolean; rows?: number }

const groups = ['branch', 'warehouse', 'team', 'country', 'channel']
const amounts = ['revenue', 'turnover', 'cost', 'payout']
const consonants = ['b', 'd', 'f', 'g', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z']
const vowels = ['a', 'e', 'i', 'o', 'u']
const fillers = ['invoice no', 'booked on', 'remark', 'clerk']

export function madeUpTable({ separator, thousands, rows = 60 }: TableShape): MadeUpTable {
  const group = pick(groups)
  const amount = pick(amounts)
  const names = Array.from({ length: 3 + randomInt(4) }, (_, index) => `${capital(syllables(2))} ${capital(syllables(1))}${index}`)
  const header = [fillers[0], group, fillers[1], fillers[2], amount, fillers[3]]
  const totals = new Map<string, number>()
  const lines = Array.from({ length: rows }, (_, index) => {
    const name = names[index % names.length] ?? ''
    const cents = randomInt(100, 9_000_000)
    totals.set(name, (totals.get(name) ?? 0) + cents)
    // A remark with the separator, a quote and sometimes a line break inside: only a real CSV parser gets past it.
    const remark = `see${separator} "note ${index}"${index % 7 === 0 ? '\nsecond line' : ''}`
    return [`R-${1000 + index}`, name, `2026-0${1 + (index % 9)}-1${index % 10}`, remark, decimal(cents, thousands), capital(syllables(2))]
  })
  const csv = [header, ...lines].map((line) => line.map((cell) => quoted(String(cell), separator)).join(separator)).join('\r\n')
  return { csv: `${csv}\r\n`, group, amount, totals }
}

/** `1,234.50` or `1234.50`. */
function decimal(cents: number, thousands: boolean): string {
  const units = String(Math.floor(cents / 100))
  return `${thousands ? units.replace(/\B(?=(\d{3})+$)/g, ',') : units}.${String(cents % 100).padStart(2, '0')}`
}

function quoted(cell: string, separator: string): string {
  return cell.includes('"') || cell.includes('\n') || cell.includes(separator) ? `"${cell.replaceAll('"', '""')}"` : cell
}

function syllables(count: number): string {
  return Array.from({ length: count }, () => `${pick(consonants)}${pick(vowels)}${pick(['', 'n', 'r', 'l'])}`).join('')
}

function capital(word: string): string {
  return `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`
}

function pick<T>(from: readonly T[]): T {
  return from[randomInt(from.length)] as T
}
