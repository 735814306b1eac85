/**
 * What a bench says: figures with their peers and targets, as one JSON document or as a table.
 *
 *   value, min, max   of this product; value is the median
 *   peer              the same moment's measurement of something to compare with; ratio = value / peer
 *   target, met       what was promised, and whether this run kept it
 */
import { availableParallelism, cpus, release, totalmem } from 'node:os'

export type Figure = {
  name: string
  unit: string
  /** null: not measured, `why` says why. */
  value: number | null
  min: number | null
  max: number | null
  peer: { name: string; value: number } | null
  ratio: number | null
  target: string
  better: 'lower' | 'higher'
  met: boolean
  why?: string
}

export type Machine = { platform: string; arch: string; kernel: string; cpu: string; cpus: number; memoryMiB: number; node: string }
export type Report = { bench: string; machine: Machine; runs: number; figures: readonly Figure[] }

/** What was promised: in words, and as a question to the measurement. */
export type Target = { text: string; better: Figure['better']; keeps(value: number, ratio: number | null): boolean }
/** `why` is set when a sample could not be taken; the values are those taken before. */
export type Samples = { values: readonly number[]; why: string | null }
export type FigureSpec = { name: string; unit: string; target: Target; own: Samples; peer?: { name: string; samples: Samples } }

export function atMost(limit: number, unit: string): Target {
  return { text: `at most ${limit} ${unit}`, better: 'lower', keeps: (value) => value <= limit }
}

/** A figure to know, of which nothing was promised. */
export const reported: Target = { text: 'reported', better: 'lower', keeps: () => true }

export function atMostTimesPeer(factor: number): Target {
  return { text: `at most ${factor} × the peer`, better: 'lower', keeps: (_, ratio) => ratio !== null && ratio <= factor }
}

export function atLeastTimesPeer(factor: number): Target {
  return { text: `at least ${factor} × the peer`, better: 'higher', keeps: (_, ratio) => ratio !== null && ratio >= factor }
}

export function figure({ name, unit, target, own, peer }: FigureSpec): Figure {
  const { text, better, keeps } = target
  const said = { name, unit, target: text, better }
  if (own.values.length === 0)
    return { ...said, value: null, min: null, max: null, peer: null, ratio: null, met: false, why: own.why ?? 'no sample was taken' }
  const value = median(own.values)
  const compared = peer && peer.samples.values.length > 0 ? { name: peer.name, value: rounded(median(peer.samples.values)) } : null
  const ratio = compared && compared.value !== 0 ? rounded(value / compared.value) : null
  const why = own.why ?? (peer && !compared ? `${peer.name}: ${peer.samples.why ?? 'no sample was taken'}` : null)
  const spread = { min: rounded(Math.min(...own.values)), max: rounded(Math.max(...own.values)) }
  return {
    ...said,
    value: rounded(value),
    ...spread,
    peer: compared,
    ratio,
    met: own.why === null && keeps(value, ratio),
    ...(why === null ? {} : { why }),
  }
}

export function machine(): Machine {
  return {
    platform: process.platform,
    arch: process.arch,
    kernel: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: availableParallelism(),
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    node: process.versions.node,
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? (sorted[Math.floor(middle)] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** Three significant digits: more would claim more than a few runs can know. */
function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

export function table({ bench, machine: on, runs, figures }: Report): string {
  const head = ['figure', 'median', 'min', 'max', 'unit', 'peer', 'ratio', 'target', '']
  const rows = figures.map(({ name, value, min, max, unit, peer, ratio, target, met, why }) => [
    name,
    shown(value),
    shown(min),
    shown(max),
    unit,
    peer ? `${peer.value} ${peer.name}` : '',
    ratio === null ? '' : `${ratio} ×`,
    target,
    `${met ? 'met' : 'not met'}${why === undefined ? '' : `: ${why}`}`,
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return [
    `${bench}: ${runs} runs on ${on.cpus} × ${on.cpu}, ${on.memoryMiB} MiB, ${on.platform} ${on.kernel}, Node ${on.node}`,
    line(head),
    ...rows.map(line),
  ].join('\n')
}

function shown(value: number | null): string {
  return value === null ? '-' : String(value)
}
