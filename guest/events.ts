/**
 * What happens in sessions, as the guest tells the host of it: for the record and for endpoint tools, which cannot look inside. Every word of it is
 * the guest's claim. Used on both sides, so it depends on nothing.
 */

/** What each kind says. Texts are cut to `maxEventText`. */
export const eventFields = {
  /** A program started. `command`: its words, as far as they were still there to be read. */
  process_start: { pid: 'number', path: 'string', command: 'string' },
  /** It ended; `code` or `signal`, as the case was. */
  process_exit: { pid: 'number', code: 'number', signal: 'string' },
  /** The filter refused a system call. `killed`: and the process was ended for it. */
  syscall_denied: { pid: 'number', program: 'string', syscall: 'string', killed: 'boolean' },
  /** A command was ended for want of memory. */
  out_of_memory: {},
  /** A program asked for the address of a name. No connection yet; nothing left the machine. */
  name_lookup: { name: 'string' },
  /** A connection to where nothing can be. All others are the host's to allow or refuse. */
  connection_refused: { address: 'string', port: 'number' },
  /** So many datagrams went to where nobody listens since the last time; none left the machine. */
  datagrams_refused: { count: 'number' },
} as const satisfies Record<string, Readonly<Record<string, 'number' | 'string' | 'boolean'>>>

export type GuestEventName = keyof typeof eventFields
export type GuestEvent = { name: GuestEventName; attributes: Record<string, string | number | boolean> }

export const maxEventText = 256

/** The event rebuilt of what is known of its kind, or null if it is none. Characters that a terminal or a log could take for orders are left out. */
export function parseGuestEvent(value: unknown): GuestEvent | null {
  const { name, attributes } = (value ?? {}) as { name?: unknown; attributes?: unknown }
  if (typeof name !== 'string' || !Object.hasOwn(eventFields, name) || typeof attributes !== 'object' || attributes === null) return null
  const fields: Readonly<Record<string, string>> = eventFields[name as GuestEventName]
  const known: GuestEvent['attributes'] = {}
  for (const [field, kind] of Object.entries(fields)) {
    const given = Object.hasOwn(attributes, field) ? (attributes as Record<string, unknown>)[field] : undefined
    if (typeof given === 'string' && kind === 'string') known[field] = shown(given)
    if (typeof given === 'boolean' && kind === 'boolean') known[field] = given
    if (typeof given === 'number' && kind === 'number' && Number.isSafeInteger(given) && given >= 0) known[field] = given
  }
  return { name: name as GuestEventName, attributes: known }
}

function shown(text: string): string {
  return text
    .slice(0, maxEventText)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ')
}
