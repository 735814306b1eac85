/** The list of sessions, newest first, by day. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { $view, focusInput } from './interface.ts'
import { $session, $sessions, newTask, openSession, say } from './session.ts'
import type { Fault, ListedSession } from './types.ts'
import { useStore } from './use-store.ts'

export function startNew(): void {
  newTask()
  focusInput()
}

export function Sessions(): JSX.Element {
  const sessions = useStore($sessions)
  const current = useStore($session)
  const [search, setSearch] = useState('')
  const found = sessions.filter(({ title, session }) => `${title ?? ''} ${session}`.toLowerCase().includes(search.trim().toLowerCase()))
  const days = byDay(found)
  const open = (session: string): void => {
    $view.set('conversation')
    void openSession(session).catch((error: unknown) => say((error as Fault).message))
  }
  return (
    <nav class="sessions" aria-label="Sessions">
      <button type="button" class="new" onClick={startNew}>
        + New task
      </button>
      {sessions.length > 6 && (
        <input
          type="search"
          placeholder="Search"
          aria-label="Search sessions"
          value={search}
          onInput={({ currentTarget }) => setSearch(currentTarget.value)}
        />
      )}
      {sessions.length === 0 && <p class="empty">What you ask for is kept here.</p>}
      {days.map(([day, list]) => (
        <section key={day}>
          <h2>{day}</h2>
          <ul>
            {list.map((item) => (
              <li key={item.session}>
                <button type="button" aria-current={item.session === current ? 'true' : undefined} onClick={() => open(item.session)}>
                  <span class="name">{item.title ?? item.session}</span>
                  {item.asks ? <span class="needs">● needs you</span> : item.running && <span class="fine">● working</span>}
                </button>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </nav>
  )
}

function byDay(sessions: readonly ListedSession[]): [string, ListedSession[]][] {
  const today = new Date().setHours(0, 0, 0, 0)
  const days = new Map<string, ListedSession[]>()
  for (const item of sessions) {
    const day = item.lastTs >= today ? 'Today' : item.lastTs >= today - 86_400_000 ? 'Yesterday' : 'Earlier'
    days.set(day, [...(days.get(day) ?? []), item])
  }
  return [...days]
}
