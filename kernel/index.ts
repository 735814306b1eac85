/** The kernel's face for actors: words, faults and trace context, nothing that runs. The daemon imports `kernel.ts` and its neighbours directly. */
export { asFault, type ErrorCode, fault, isFault } from './errors.ts'
export { newTrace, spanUnder, traceparent } from './trace.ts'
export { noRequest } from './no-request.ts'
export type * from './types.ts'
