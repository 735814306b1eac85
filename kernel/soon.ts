/**
 * Runs `task` after what runs now, as `queueMicrotask` does, for less: Node makes an async resource for each of those calls, which costs more
 * than most of what is deferred here. A task must not throw; what it throws all the same ends the process as an unhandled rejection.
 */
export function soon(task: () => void): void {
  void settled.then(task)
}

const settled = Promise.resolve()
