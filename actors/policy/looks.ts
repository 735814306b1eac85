/** Which look at the sources counts. Pure. */

export type Looked = {
  /** Fingerprint of the sources that are in force, null before there are any. */
  readonly inForce: string | null
  /** Whether the last look that found something new could use it. */
  readonly usable: boolean
}

export const notLooked: Looked = { inForce: null, usable: false }

/**
 * After a look that found other sources than those in force. `broken`: a managed one of them cannot be used. Somebody may be in the middle of
 * writing it: what was in force stays so until a second look says the same.
 */
export function looked(before: Looked, found: string, broken: boolean): Looked {
  return { inForce: broken && before.usable ? before.inForce : found, usable: !broken }
}
