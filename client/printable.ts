/**
 * Text from models, pages, files and programs, made harmless for a terminal. A control sequence could redraw a question the member is
 * about to answer, and a bidirectional override could show a command as another one: both become visible.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for.
const harmful = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g

/** Keeps line ends and tabs; `\r\n` counts as a line end. */
export function printable(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(harmful, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`)
}

/** One line of at most `width` characters. */
export function oneLine(text: string, width = 100): string {
  const line = printable(text).replace(/\s+/g, ' ').trim()
  return line.length <= width ? line : `${line.slice(0, width - 1)}…`
}
