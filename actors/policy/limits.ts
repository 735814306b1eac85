/** Every limit and default of policy, with its reason. */

/** Largest settings file that is read, bytes. A policy with a few hundred servers stays below a tenth of it. */
export const maxSettingsBytes = 1024 * 1024

/** How often the sources are looked at, ms. A look is a handful of `lstat` calls; an admin's change is in force within about this time. */
export const lookEveryMs = 1_000

/** Pause before the sources are read again after reading them crashed, ms. */
export const retryMs = 2_000

/** Requests that may wait for the first reading, which takes milliseconds. */
export const maxWaiting = 256

/** Actors and clients that may watch at a time. */
export const maxWatchers = 64

/** Entries of one list that are named when they are wrong. The rest is counted. */
export const maxNamed = 20

/** Longest piece of a wrong value that a warning repeats, characters: enough to find it, too little for a pasted secret file. */
export const maxQuoted = 80
