/** The machine's actions around saved memories that fail. */
import { enqueueActions } from 'xstate'
import { failuresWithoutSaving, retriesAtOnce } from './limits.ts'
import { base } from './machine-base.ts'
import { withCommands } from './machine-commands.ts'

export const withSnapshots = withCommands.extend({
  actions: {
    noteSaved: base.assign({ saved: true }),
    noteSaveFailure: enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({ failures: Math.max(context.failures, failuresWithoutSaving), pid: null })
      if ('error' in event && event.error) enqueue.assign({ lastError: event.error })
    }),
    /**
     * A saved memory that no VM becomes ready from, or that they keep dying from, is not tried again. That somebody killed one is no fault
     * of the memory, the first time.
     */
    discardFailed: base.enqueueActions(({ context, event, enqueue }) => {
      if (context.how !== 'restore' || context.lastError?.code === 'disk-full') return
      const killed = event.type === 'runVm.exited' && event.signal === 'SIGKILL' && context.failures === 1
      if (context.wasReady ? context.failures > retriesAtOnce : !killed)
        enqueue({ type: 'discard', params: { imageDir: context.imageDir, key: context.snapshotKey } })
    }),
  },
})
