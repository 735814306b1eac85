/** Settings as JSON. */

/** A JSON object, flat. A byte order mark is forgiven, comments are not. Throws an Error that says what is wrong. */
export function parseJsonSettings(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
  return asRecord(value, 'it is not a JSON object')
}

export function asRecord(value: unknown, otherwise: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) throw new Error(otherwise)
  return Object.fromEntries(Object.entries(value))
}
