/** The page: sessions, conversation, control; one at a time where there is no room for three. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Composer } from './composer.tsx'
import { Conversation } from './conversation.tsx'
import { $overlay, $view, type View } from './interface.ts'
import { Overlays } from './overlays.tsx'
import { Control } from './panels.tsx'
import { Permission } from './permission.tsx'
import { $connection } from './connection.ts'
import { $model, $said, $title } from './session.ts'
import { Sessions } from './sessions.tsx'
import { useStore } from './use-store.ts'
import { WorkspaceChip } from './workspace.tsx'

const views: readonly (readonly [View, string])[] = [
  ['conversation', 'Conversation'],
  ['control', 'Control'],
  ['sessions', 'Sessions'],
]
/** How long what was said stays on screen, ms. Screen readers have it in the live region as long as it is there. */
const saidMs = 4000

export function App(): JSX.Element {
  const view = useStore($view)
  const title = useStore($title)
  const model = useStore($model)
  const connection = useStore($connection)
  useEffect(() => {
    document.title = title ? `${title} · Bulkhead` : 'Bulkhead'
  }, [title])
  if (connection === 'refused') return <Refused />
  return (
    <div class="app" data-view={view}>
      <aside class="left">
        <Sessions />
      </aside>
      <main>
        <header>
          <h1>{title ?? 'New task'}</h1>
          {model?.practice && <span class="badge">Practice model</span>}
          <WorkspaceChip />
          <button type="button" class="quiet" aria-label="Keys and looks" title="Keys and looks (?)" onClick={() => $overlay.set('help')}>
            ?
          </button>
        </header>
        <nav class="tabs" aria-label="Views">
          {views.map(([name, text]) => (
            <button key={name} type="button" aria-current={view === name ? 'true' : undefined} onClick={() => $view.set(name)}>
              {text}
            </button>
          ))}
        </nav>
        {connection !== 'open' && (
          <p class="banner" role="status">
            {connection === 'lost' ? 'The connection to Bulkhead broke off. It is tried again.' : 'Connecting …'}
          </p>
        )}
        <Conversation />
        <Composer />
      </main>
      <aside class="right" aria-label="Control">
        <Control />
      </aside>
      <Said />
      <Permission />
      <Overlays />
    </div>
  )
}

/** The one live region. */
function Said(): JSX.Element {
  const said = useStore($said)
  const [shown, setShown] = useState<number | null>(null)
  useEffect(() => {
    if (!said) return undefined
    setShown(said.id)
    const timer = setTimeout(() => setShown(null), saidMs)
    return () => clearTimeout(timer)
  }, [said])
  return (
    <p class={`said ${said && shown === said.id ? 'shown' : ''}`} role="status">
      {said?.text ?? ''}
    </p>
  )
}

function Refused(): JSX.Element {
  return (
    <main class="refused">
      <h1>This address does not open Bulkhead any more</h1>
      <p>Each start of Bulkhead has an address of its own, with a key in it. This one has none, or that of an earlier start.</p>
      <p>
        For the present one, run <code>bulkhead web</code>.
      </p>
    </main>
  )
}
