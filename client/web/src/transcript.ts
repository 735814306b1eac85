/**
 * A session's events as the items the conversation shows. Each item is a store of its own, so that a piece of streamed text redraws one
 * block and never the list; changes are gathered and drawn at most once a frame.
 */
import { atom, type PreinitializedWritableAtom } from 'nanostores'
import type { Fault, SessionEvent } from './types.ts'

export type ToolItem = {
  kind: 'tool'
  key: string
  id: string
  name: string
  title: string
  input: unknown
  output: string
  state: 'running' | 'done' | 'failed' | 'stopped'
  error: Fault | null
  durationMs: number
  /** How the answer to its question ended: `allowed once by member (page)`. */
  decision: string | null
}
export type Item =
  | { kind: 'prompt'; key: string; text: string }
  | { kind: 'text'; key: string; text: string; live: boolean }
  | { kind: 'fault'; key: string; fault: Fault }
  | { kind: 'note'; key: string; text: string }
  | ToolItem
export type ItemStore = PreinitializedWritableAtom<Item>

/** Characters of running output kept on screen; the rest is the result's. */
const maxLiveOutput = 200_000
const frameMs = 16

export type Transcript = ReturnType<typeof createTranscript>

export function createTranscript() {
  const $items = atom<readonly ItemStore[]>([])
  /** The tool calls of the turn that runs, or ran last. */
  const $steps = atom<readonly ItemStore[]>([])
  const changed = new Map<ItemStore, Item>()
  let added: ItemStore[] = []
  const tools = new Map<string, ItemStore>()
  let tail: ItemStore | null = null
  let timer: ReturnType<typeof setTimeout> | null = null
  let steps: ItemStore[] = []
  let count = 0

  const now = (item: ItemStore): Item => changed.get(item) ?? item.get()
  function flush(): void {
    timer = null
    for (const [item, value] of changed) item.set(value)
    changed.clear()
    if (added.length > 0) $items.set([...$items.get(), ...added])
    added = []
    if (steps.length !== $steps.get().length || steps[0] !== $steps.get()[0]) $steps.set([...steps])
  }
  function later(): void {
    timer ??= setTimeout(flush, frameMs)
  }
  function add(item: Item): ItemStore {
    const store = atom<Item>(item)
    added.push(store)
    endText()
    tail = store
    later()
    return store
  }
  function change(store: ItemStore, item: Item): void {
    changed.set(store, item)
    later()
  }
  /** The answer's last block is finished: it is drawn once more, as it stays. */
  function endText(): void {
    const last = tail ? now(tail) : null
    if (tail && last?.kind === 'text' && last.live) change(tail, { ...last, live: false })
    tail = null
  }
  function changeTool(id: string, how: (tool: ToolItem) => ToolItem): void {
    const store = tools.get(id)
    const item = store ? now(store) : null
    if (store && item?.kind === 'tool') change(store, how(item))
  }

  function apply(event: SessionEvent): void {
    const key = `i${++count}`
    switch (event.type) {
      case 'prompt':
        steps = []
        add({ kind: 'prompt', key, text: event.text })
        return
      case 'text': {
        const last = tail ? now(tail) : null
        if (tail && last?.kind === 'text') change(tail, { ...last, text: last.text + event.text, live: true })
        else add({ kind: 'text', key, text: event.text, live: true })
        return
      }
      case 'tool_call': {
        const { id, name, title, input } = event
        const tool: ToolItem = {
          kind: 'tool',
          key,
          id,
          name,
          title,
          input,
          output: '',
          state: 'running',
          error: null,
          durationMs: 0,
          decision: null,
        }
        const store = add(tool)
        tools.set(id, store)
        steps.push(store)
        return
      }
      case 'tool_output':
        return changeTool(event.id, (tool) => ({ ...tool, output: (tool.output + event.text).slice(-maxLiveOutput) }))
      case 'tool_result': {
        const { ok, output, durationMs, error = null } = event
        return changeTool(event.id, (tool) => ({ ...tool, output, durationMs, error, state: ok ? 'done' : 'failed' }))
      }
      case 'permission': {
        const word = event.decision === 'allow' ? 'allowed' : 'denied'
        const scope = event.decision === 'deny' ? '' : event.scope === 'once' ? ' once' : ' for this session'
        return changeTool(event.id, (tool) => ({ ...tool, decision: `${word}${scope} by ${event.by}` }))
      }
      case 'files_changed': {
        const names = event.changes.slice(0, 5).map(({ path, what }) => `${path}${what === 'deleted' ? ' (deleted)' : ''}`)
        const rest = event.changes.length - names.length + event.more
        add({
          kind: 'note',
          key,
          text: `Changed by others in ${event.folder}: ${[...names, ...(rest > 0 ? [`${rest} more`] : [])].join(', ')}`,
        })
        return
      }
      case 'job_ended':
        add({ kind: 'note', key, text: `Background ${event.job} (${event.command.slice(0, 80)}): ${event.how}` })
        return
      case 'error':
        add({ kind: 'fault', key, fault: event.error })
        return
      case 'result':
        endText()
        for (const store of steps) {
          const item = now(store)
          if (item.kind === 'tool' && item.state === 'running') change(store, { ...item, state: 'stopped' })
        }
        if (event.status === 'cancelled') add({ kind: 'note', key, text: 'Interrupted.' })
        return later()
      default:
    }
  }

  return {
    $items,
    $steps,
    apply,
    note: (text: string) => void add({ kind: 'note', key: `n${++count}`, text }),
    /** Draws what is gathered now; a long replay is one drawing. */
    flush() {
      if (timer) clearTimeout(timer)
      flush()
    },
    tool: (id: string): ToolItem | null => {
      const item = tools.get(id)
      const value = item ? now(item) : null
      return value?.kind === 'tool' ? value : null
    },
  }
}
