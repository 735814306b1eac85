/**
 * The workspace as a conversation meets it: the production supervisor, a client that runs a command, a client that reads files through a gate
 * that knows nothing of the VM, and a kernel between them that may revoke, time out and restart.
 */
import { model as supervisor } from '../../actors/vm-supervisor/model.ts'
import { asking, asks, gate } from '../stand-ins.ts'
import { defineSystem, type SystemModel } from '../system.ts'

/** What a command may be answered; anything else would be a word its caller does not know. */
const known = [
  'reply',
  'workspace-unavailable',
  'exec-failed',
  'no-such-session',
  'cancelled',
  'interrupted',
  'internal',
  'actor-down',
  'revoked',
  'overloaded',
  'deadline',
]

export function system(size: 'small' | 'full'): SystemModel {
  const full = size === 'full'
  return defineSystem({
    system: `the workspace and its clients${full ? ', with restarts' : ''}`,
    actors: {
      supervisor: {
        model: {
          ...supervisor,
          // The session's own client sends the command; attach and what members do stay around it.
          stimuli: supervisor.stimuli.filter(({ name }) => ['attach', ...(full ? ['restart'] : [])].includes(name)),
        },
      },
      shell: {
        model: asking('shell', 'workspace', 'exec', { command: 'true' }),
        grants: { workspace: { to: 'supervisor', limits: { session: 's' } } },
      },
      reader: { model: asking('reader', 'folder', 'read', {}), grants: { folder: { to: 'gate' } } },
      gate: { model: gate() },
    },
    // One step of the supervisor tells of two of its states: a mailbox of one would never have room for it.
    mailbox: 2,
    faults: {
      revocations: { 'the workspace': { holder: 'shell', slot: 'workspace' } },
      ...(full ? { crashes: { times: 1, of: ['supervisor'] } } : {}),
    },
    always: {
      'a command is answered once at most, in words its caller knows': (view) => {
        const { answers } = asks(view, 'shell')
        return answers.length <= 1 && answers.every((answer) => known.includes(answer))
      },
      'a command that waits is known to the supervisor, or on its way': (view) => {
        const { asked, answers } = asks(view, 'shell')
        if (asked === answers.length) return true
        const underway = view.waiting('supervisor').length + view.waiting('shell').length
        return underway > 0 || view.actor('supervisor').open.length > 0
      },
    },
    steps: {
      'file requests are served in every state of the VM': (before, step) =>
        step.actor !== 'gate' || before.waiting('gate').length === 0 || step.sent?.some(({ to }) => to === 'reader') === true,
    },
    sometimes: {
      'a command runs': (view) => asks(view, 'shell').answers.includes('reply'),
      'a command is told that there is no workspace': (view) => asks(view, 'shell').answers.includes('workspace-unavailable'),
    },
    leadsTo: {
      'a command is answered: with a result, or why there is none': {
        from: (view) => asks(view, 'shell').asked === 1,
        to: (view) => asks(view, 'shell').answers.length === 1,
      },
      'a read is answered': { from: (view) => asks(view, 'reader').asked === 1, to: (view) => asks(view, 'reader').answers.length === 1 },
    },
    possible: {
      'the workspace can become ready again': (view) => {
        const { state, forbidden } = view.actor('supervisor').context as { state: string; forbidden: string | null }
        return state === 'ready' || state === 'absent' || state === 'off' || forbidden !== null || state === 'stopped'
      },
    },
  })
}
