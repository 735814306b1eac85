/** Exit codes: an interface scripts depend on. */
export const exitCodes = { done: 0, usage: 2, failed: 3, modelUnreachable: 4, interrupted: 130 } as const

export type Ended = { status: 'done' | 'refused' | 'failed' | 'cancelled'; error?: { code: string } | undefined }

/** 0 done, 3 refused or failed, 4 model unreachable, 130 interrupted. */
export function exitCode({ status, error }: Ended): number {
  if (status === 'done') return exitCodes.done
  if (status === 'cancelled') return exitCodes.interrupted
  return error?.code === 'model-unreachable' ? exitCodes.modelUnreachable : exitCodes.failed
}
