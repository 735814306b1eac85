/** What `bulkhead doctor` reports, and how its lines are made. */

/**
 * One requirement. `ok`: it is there; `missing`: something does not work without it, see `remedy`; `unverified`: nobody has
 * tried it on this platform; `info`: worth knowing, nothing to do.
 */
export type DoctorCheck = {
  name: string
  ok: boolean
  level: 'ok' | 'missing' | 'unverified' | 'info'
  detail: string
  remedy?: string
}

/** `ok`: nothing is `missing`. */
export type DoctorReport = { ok: boolean; checks: DoctorCheck[] }

export function ok(name: string, detail: string): DoctorCheck {
  return { name, ok: true, level: 'ok', detail }
}

export function info(name: string, detail: string, remedy?: string): DoctorCheck {
  return { name, ok: true, level: 'info', detail, ...(remedy === undefined ? {} : { remedy }) }
}

export function missing(name: string, detail: string, remedy: string): DoctorCheck {
  return { name, ok: false, level: 'missing', detail, remedy }
}
