/** The forms settings come in beside JSON, each to a flat record of values. Throws an Error that says what is wrong. */
import { parse } from 'plist'
import { asRecord } from './settings-json.ts'

type Values = Record<string, unknown>

/** A property list, XML or binary, whose root is a dictionary. */
export function parsePlistSettings(bytes: Uint8Array): Values {
  const binary = Buffer.from(bytes.subarray(0, 6)).toString('latin1') === 'bplist'
  return asRecord(
    parse(
      binary
        ? bytes
        : Buffer.from(bytes)
            .toString('utf8')
            .replace(/^\uFEFF/, ''),
    ),
    'its root is not a dictionary',
  )
}

/**
 * The values directly under `key` (`HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Bulkhead`) of a registry export. Texts and DWORDs are read;
 * an expandable text counts as being there but cannot be read (its variables are the member's), which makes its key wrong; the rest is
 * invisible. `null`: no such values.
 */
export function parseRegistrySettings(bytes: Uint8Array, key: string): Values | null {
  const buffer = Buffer.from(bytes)
  const wide = buffer[0] === 0xff && buffer[1] === 0xfe
  const text = buffer.toString(wide ? 'utf16le' : 'utf8').replace(/^\uFEFF/, '')
  if (!/^(Windows Registry Editor Version 5\.00|REGEDIT4)\r?\n/.test(text)) throw new Error('it is not a registry export')
  const values = new Map<string, unknown>()
  let inside = false
  // A backslash at the end of a line continues it (long hex values).
  for (const line of text.replaceAll(/\\\r?\n\s*/g, '').split(/\r?\n/)) {
    const section = /^\[(-?)(.*)\]\s*$/.exec(line)
    if (section) inside = section[1] === '' && section[2]?.toLowerCase() === key.toLowerCase()
    const entry = inside ? /^"((?:[^"\\]|\\.)*)"=(.*)$/.exec(line) : null
    if (!entry) continue
    const [, name = '', data = ''] = entry
    const value = registryValue(data.trim())
    if (value !== undefined) values.set(unescaped(name), value)
  }
  return values.size === 0 ? null : Object.fromEntries(values)
}

function registryValue(data: string): unknown {
  const text = /^"((?:[^"\\]|\\.)*)"$/.exec(data)
  if (text) return unescaped(text[1] ?? '')
  const number = /^dword:([0-9a-f]{1,8})$/i.exec(data)
  if (number) return Number.parseInt(number[1] ?? '', 16)
  return /^hex\(2\):/i.test(data) ? { expandable: true } : undefined
}

const unescaped = (text: string): string => text.replaceAll(/\\(.)/g, '$1')
