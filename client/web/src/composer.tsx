/** Where the member writes. Enter sends; while a turn runs, Enter and Tab queue what is written for after it. */
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { $connection } from './connection.ts'
import { $draft } from './interface.ts'
import { $queue, $running, interrupt, prompt, unqueue } from './session.ts'
import { useStore } from './use-store.ts'

export function Composer(): JSX.Element {
  const draft = useStore($draft)
  const running = useStore($running)
  const queue = useStore($queue)
  const lost = useStore($connection) === 'lost'
  const input = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    const box = input.current
    if (!box) return
    box.style.height = 'auto'
    box.style.height = `${box.scrollHeight}px`
    if (draft !== '' && document.activeElement !== box) box.focus()
  }, [draft, running])
  const send = (): void => {
    const text = draft.trim()
    if (text === '' || lost) return
    $draft.set('')
    prompt(text)
  }
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      {queue.length > 0 && (
        <ul class="queue" aria-label="Waiting to be sent">
          {queue.map(({ id, text }) => (
            <li key={id}>
              <span>{text}</span>
              <button type="button" class="quiet" aria-label={`Do not send: ${text}`} onClick={() => unqueue(id)}>
                Delete
              </button>
            </li>
          ))}
        </ul>
      )}
      <div class="field">
        <textarea
          id="input"
          ref={input}
          rows={1}
          value={draft}
          aria-label="What should be done"
          placeholder={running ? 'Ask for the next thing' : 'Ask for something'}
          onInput={({ currentTarget }) => $draft.set(currentTarget.value)}
          onKeyDown={(event) => {
            const composing = event.isComposing
            const queues = event.key === 'Tab' && !event.shiftKey && running && draft.trim() !== ''
            if (!composing && ((event.key === 'Enter' && !event.shiftKey) || queues)) {
              event.preventDefault()
              send()
            }
          }}
        />
        {running && (
          <button type="button" class="stop" onClick={interrupt} title="Esc">
            Stop
          </button>
        )}
        <button type="submit" class="main" disabled={draft.trim() === '' || lost}>
          {running ? 'Queue' : 'Send'}
        </button>
      </div>
    </form>
  )
}
