/** The conversation: what was said and done, oldest first, following its end until the reader scrolls up. */
import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { FirstRun } from './first-run.tsx'
import { Markdown } from './markdown.tsx'
import { $running, $transcript } from './session.ts'
import { ToolLine } from './tool-line.tsx'
import type { ItemStore } from './transcript.ts'
import { useStore } from './use-store.ts'

/** Similar finished calls in a row are one line from this many on. */
const foldFrom = 3
const nearEndPx = 80
/** Scrolling this soon after the reader moved something is the reader's, ms. */
const readerMs = 1000
/** From here on, what is off screen is not laid out. */
const manyItems = 200

export function Conversation(): JSX.Element {
  const transcript = useStore($transcript)
  const items = useStore(transcript.$items)
  const running = useStore($running)
  const scroller = useRef<HTMLDivElement>(null)
  const inner = useRef<HTMLDivElement>(null)
  const [atEnd, setAtEnd] = useState(true)
  const follows = useRef(true)
  const lastTop = useRef(0)
  const lastMove = useRef(Number.NEGATIVE_INFINITY)
  const moved = (): void => void (lastMove.current = performance.now())
  const toEnd = (): void => {
    if (scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight
    setAtEnd(true)
  }
  useEffect(() => {
    const watch = new ResizeObserver(() => follows.current && toEnd())
    if (inner.current) watch.observe(inner.current)
    return () => watch.disconnect()
  }, [])
  useEffect(() => {
    follows.current = true
    toEnd()
  }, [transcript, running])
  const groups = useMemo(() => grouped(items), [items])
  return (
    <div
      class="scroller"
      ref={scroller}
      tabIndex={0}
      role="log"
      aria-label="Conversation"
      aria-live="off"
      onWheel={moved}
      onTouchMove={moved}
      onKeyDown={moved}
      onPointerDown={moved}
      onPointerMove={({ buttons }) => buttons > 0 && moved()}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        const near = scrollHeight - scrollTop - clientHeight < nearEndPx
        // Content that grows or shrinks scrolls as well; only a reader who scrolls up stops the following.
        if (near) follows.current = true
        else if (scrollTop < lastTop.current && performance.now() - lastMove.current < readerMs) follows.current = false
        lastTop.current = scrollTop
        setAtEnd(near || follows.current)
      }}
    >
      <div class={items.length > manyItems ? 'column many' : 'column'} ref={inner}>
        {items.length === 0 && !running ? (
          <FirstRun />
        ) : (
          groups.map((group) => (group.length >= foldFrom ? <Fold key={keyOf(group[0])} group={group} /> : group.map(drawn)))
        )}
        {running && (
          <p class="working" aria-hidden="true">
            <span class="pulse" /> Working
          </p>
        )}
      </div>
      {!atEnd && (
        <button
          type="button"
          class="jump"
          onClick={() => {
            follows.current = true
            toEnd()
          }}
        >
          ↓ Latest
        </button>
      )}
    </div>
  )
}

const keyOf = (store: ItemStore | undefined): string => store?.get().key ?? ''
const drawn = (store: ItemStore): JSX.Element => <Entry key={keyOf(store)} store={store} />

/** Neighbours that are calls of the same tool are one group; everything else stands alone. */
function grouped(items: readonly ItemStore[]): ItemStore[][] {
  const groups: ItemStore[][] = []
  let name: string | null = null
  for (const store of items) {
    const item = store.get()
    const folds = item.kind === 'tool' && item.name !== 'Bash' && item.name !== 'Write' && item.name !== 'Edit'
    const last = groups.at(-1)
    if (folds && last && item.name === name) last.push(store)
    else groups.push([store])
    name = folds ? item.name : null
  }
  return groups
}

const folded: Readonly<Record<string, string>> = {
  Read: 'Read %n files',
  Grep: 'Searched %n times',
  Glob: 'Looked for files %n times',
  WebFetch: 'Fetched %n pages',
  WebSearch: 'Searched the web %n times',
}

function Fold({ group }: { group: ItemStore[] }): JSX.Element {
  const first = group[0]?.get()
  const name = first?.kind === 'tool' ? first.name : ''
  return (
    <details class="fold">
      <summary>{(folded[name] ?? `${name}, %n times`).replace('%n', String(group.length))}</summary>
      {group.map(drawn)}
    </details>
  )
}

function Entry({ store }: { store: ItemStore }): JSX.Element {
  const item = useStore(store)
  switch (item.kind) {
    case 'prompt':
      return (
        <article class="prompt">
          <h2 class="unseen">You</h2>
          <p>{item.text}</p>
        </article>
      )
    case 'text':
      return (
        <article class="answer">
          <h2 class="unseen">Bulkhead</h2>
          <Markdown text={item.text} live={item.live} />
        </article>
      )
    case 'tool':
      return <ToolLine store={store} />
    case 'fault':
      return (
        <p class="fault">
          <strong>{item.fault.message}</strong> {item.fault.cause} {item.fault.remedy} <code>{item.fault.code}</code>
        </p>
      )
    default:
      return <p class="note">{item.text}</p>
  }
}
