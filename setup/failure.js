/**
 * How set-up reports what went wrong: the product's error shape (`kernel/types.ts` Fault), in plain JavaScript, because set-up
 * runs before anything that can read TypeScript is installed.
 *
 * @typedef {{ code: string, message: string, cause?: string, remedy: string }} SetupFault
 */

/** A step that could not be completed. `code` is one of `kernel/errors.ts`. */
export class SetupFailure extends Error {
  /**
   * @param {string} message
   * @param {{ code?: string, cause?: string, remedy: string }} more
   */
  constructor(message, { code = 'setup-failed', cause, remedy }) {
    super(message)
    this.name = 'SetupFailure'
    /** @type {SetupFault} */
    this.fault = { code, message, ...(cause ? { cause } : {}), remedy }
  }
}

/**
 * @param {unknown} thrown
 * @param {string} step what was being done, for errors nobody foresaw
 * @returns {SetupFault}
 */
export function asSetupFault(thrown, step) {
  if (thrown instanceof SetupFailure) return thrown.fault
  const cause = thrown instanceof Error ? thrown.message : String(thrown)
  return { code: 'setup-failed', message: `${step} failed.`, cause, remedy: 'See the cause; then run `npm start -- setup` again.' }
}

/**
 * The fault as lines for a terminal.
 * @param {SetupFault} fault
 */
export function faultText(fault) {
  const cause = fault.cause ? `\n  Cause: ${indent(fault.cause)}` : ''
  return `${fault.message} [${fault.code}]${cause}\n  What to do: ${indent(fault.remedy)}`
}

/** @param {string} text */
function indent(text) {
  return text.trimEnd().replaceAll('\n', '\n    ')
}
