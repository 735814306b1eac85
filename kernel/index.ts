/** The kernel's face for actors: words and faults, nothing that runs. The daemon imports `kernel.ts` and its neighbours directly. */
export { asFault, type ErrorCode, fault, isFault } from './errors.ts'
export { noRequest } from './no-request.ts'
export type * from './types.ts'
