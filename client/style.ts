/** Colour and live lines, where the terminal and the member want them: not in pipes, not with NO_COLOR, not with TERM=dumb. */
import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

export type Style = {
  /** Lines may be redrawn. */
  live: boolean
  paint(format: Format, text: string): string
}

export function styleFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): Style {
  const live = stream.isTTY === true && env['TERM'] !== 'dumb'
  const colour = live && !env['NO_COLOR']
  return { live, paint: (format, text) => (colour ? styleText(format, text, { validateStream: false }) : text) }
}

export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}
