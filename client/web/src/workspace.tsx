/** The workspace's state in a few true words. */
import type { JSX } from 'preact'
import { $overlay } from './interface.ts'
import { $vm } from './session.ts'
import type { Vm } from './types.ts'
import { useStore } from './use-store.ts'

type Told = { text: string; why: string; tone: 'good' | 'busy' | 'bad' | 'calm' }

export function workspaceText(vm: Vm | null): Told {
  if (!vm) return { text: 'Workspace', why: 'Its state is not known yet.', tone: 'calm' }
  const { state, progress, isolation, restarts, lastError } = vm
  switch (state) {
    case 'ready':
      return isolation === 'reduced'
        ? {
            text: 'Workspace ready, reduced isolation',
            why: 'It is emulated, or runs without its jail, and so is walled off less well.',
            tone: 'good',
          }
        : { text: 'Workspace ready', why: 'Commands run in a separate Linux system.', tone: 'good' }
    case 'stopped':
      return { text: 'Workspace at rest', why: 'The next command starts it.', tone: 'calm' }
    case 'off':
      return { text: 'Workspace off', why: 'It is switched off by configuration. Files and web still work; commands do not.', tone: 'calm' }
    case 'absent':
      return { text: 'Workspace unavailable', why: 'Something it needs is not installed. Files and web still work.', tone: 'bad' }
    case 'backoff':
      return { text: `Workspace recovering, try ${restarts + 1}`, why: lastError?.message ?? 'It failed and is tried again.', tone: 'bad' }
    case 'stopping':
      return { text: 'Workspace stopping', why: '', tone: 'busy' }
    default:
      return { text: `Workspace starting${progress ? `: ${progress}` : ''}`, why: 'Commands wait until it is ready.', tone: 'busy' }
  }
}

const marks = { good: '●', busy: '◐', bad: '▲', calm: '○' } as const

export function WorkspaceChip(): JSX.Element {
  const { text, tone } = workspaceText(useStore($vm))
  return (
    <button type="button" class={`chip ${tone}`} onClick={() => $overlay.set('workspace')}>
      <span aria-hidden="true">{marks[tone]}</span> {text}
    </button>
  )
}
