/** A tool call as one quiet line that opens to its input, output and the decision that let it run. */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Code } from './markdown.tsx'
import { $details } from './session.ts'
import type { ItemStore, ToolItem } from './transcript.ts'
import { useStore } from './use-store.ts'

/** A shorter time says nothing to a person, ms. */
const shownFromMs = 100

const outcome = {
  running: { mark: '●', word: 'running' },
  done: { mark: '✓', word: 'done' },
  failed: { mark: '✗', word: 'failed' },
  stopped: { mark: '–', word: 'stopped' },
} as const

export function ToolLine({ store }: { store: ItemStore }): JSX.Element | null {
  const item = useStore(store)
  /** Null until the reader decides: then it is open while there is running output to see. */
  const [open, setOpen] = useState<boolean | null>(null)
  if (item.kind !== 'tool') return null
  const { mark, word } = outcome[item.state]
  const shown = open ?? (item.state === 'running' && item.output !== '')
  return (
    <details class={`tool ${item.state}`} open={shown}>
      <summary
        onClick={(event) => {
          event.preventDefault()
          setOpen(!shown)
        }}
      >
        <span class="mark" aria-hidden="true">
          {mark}
        </span>
        <span class="title">{item.title}</span>
        <span class="facts">
          <span class="unseen">{word}</span>
          {item.state === 'failed' && <span class="bad">{item.error?.code ?? 'failed'}</span>}
          {item.durationMs >= shownFromMs && <span>{duration(item.durationMs)}</span>}
        </span>
      </summary>
      {shown && <Inside item={item} />}
    </details>
  )
}

function Inside({ item }: { item: ToolItem }): JSX.Element {
  const details = useStore($details)[item.id]
  const { input, error } = item
  return (
    <div class="inside">
      {details !== undefined && item.name !== 'Bash' ? <Diff text={details} /> : <Code text={inputText(input)} />}
      {item.output !== '' && <Output text={item.output} live={item.state === 'running'} />}
      {error && (
        <p class="bad">
          {error.message} {error.remedy} <code>{error.code}</code>
        </p>
      )}
      {item.decision && <p class="decision">{item.decision}</p>}
    </div>
  )
}

/** Follows its end until the reader scrolls up. */
function Output({ text, live }: { text: string; live: boolean }): JSX.Element {
  const box = useRef<HTMLPreElement>(null)
  const follows = useRef(true)
  useEffect(() => {
    if (live && follows.current && box.current) box.current.scrollTop = box.current.scrollHeight
  }, [text, live])
  return (
    <pre
      ref={box}
      class="output"
      tabIndex={0}
      role="region"
      aria-label="Output"
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        follows.current = scrollHeight - scrollTop - clientHeight < 24
      }}
    >
      {text}
    </pre>
  )
}

/** A unified diff, or plain text, whole. Added and removed lines keep their signs: colour alone says nothing. */
export function Diff({ text }: { text: string }): JSX.Element {
  const lines = text.trimEnd().split('\n')
  // Names of the files come before the first hunk.
  const hunks = lines.findIndex((line) => line.startsWith('@@')) + 1
  return (
    <pre class="diff" tabIndex={0} role="region" aria-label="Exactly what">
      {lines.map((line, at) => (
        <span
          key={at}
          class={at < hunks || line.startsWith('\\') ? 'about' : line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : ''}
        >
          {line}
          {'\n'}
        </span>
      ))}
    </pre>
  )
}

function inputText(input: unknown): string {
  if (typeof input !== 'object' || input === null) return String(input)
  const { command, ...rest } = input as Record<string, unknown>
  if (typeof command === 'string') return command
  return Object.entries(rest)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('\n')
}

function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}
