/** Names that a system takes for something else than a file of that name. Pure. */

/** Devices of Windows, with any extension and in any folder; the superscript digits count as digits there. */
const reserved = /^(con|prn|aux|nul|conin\$|conout\$|com[1-9\u00b9\u00b2\u00b3]|lpt[1-9\u00b9\u00b2\u00b3])\s*(\.|$)/i
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const impossible = /[\u0000-\u001f<>:"|?*\\/]/

/** Why a path may not have this component on that system; null: it may. Linux takes every name as it is. */
export function nameProblem(name: string, platform: string = process.platform): string | null {
  if (platform !== 'win32' || name === '.' || name === '..') return null
  if (name.includes(':')) return 'a name may not have a stream'
  if (impossible.test(name)) return 'a character no file name has here'
  if (/[. ]$/.test(name)) return 'a name may not end with a dot or a space'
  if (reserved.test(name)) return 'a name of a device'
  // The short form of another name, under which no rule would know it.
  return /^[^.]{1,6}~\d{1,6}(\..{0,3})?$/.test(name) ? 'a short name' : null
}
