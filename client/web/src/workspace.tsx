/** The workspace's state, always in sight. */
import type { JSX } from 'preact'
import { $overlay } from './interface.ts'
import { $vm } from './session.ts'
import { useStore } from './use-store.ts'
import { workspaceText } from './workspace-text.ts'

const marks = { good: '●', busy: '◐', bad: '▲', calm: '○' } as const

export function WorkspaceChip(): JSX.Element {
  const { text, tone } = workspaceText(useStore($vm))
  return (
    <button type="button" class={`chip ${tone}`} onClick={() => $overlay.set('workspace')}>
      <span aria-hidden="true">{marks[tone]}</span> {text}
    </button>
  )
}
