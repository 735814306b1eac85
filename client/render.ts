/**
 * A session as a person reads it: the answer streams to stdout, everything around it (one quiet line a tool call, workspace, summary)
 * goes to stderr. Where a line may be redrawn, one status line says what goes on now.
 */
import type { VmState } from '../actors/vm-supervisor/protocol.ts'
import type { FolderView, SessionEvent, TurnResult } from './events.ts'
import { faultText } from './fault-text.ts'
import { oneLine, printable } from './printable.ts'
import { duration, type Style } from './style.ts'
import { createWrapper } from './wrap.ts'

/** `columns`: of a terminal. */
type Sink = { write(text: string): unknown; columns?: number }

export type Renderer = {
  event(event: SessionEvent): void
  /** A line of progress that is replaced by the next. */
  status(text: string): void
  note(text: string): void
  /** Before somebody else writes to the terminal. */
  settle(): void
  /** A question has the terminal: what happens meanwhile is shown once it is released. */
  hold(): void
  release(): void
}

export function createRenderer(options: { out: Sink; err: Sink; style: Style; now?: () => number }): Renderer {
  const { out, err, style } = options
  const now = options.now ?? Date.now
  const began = new Map<string, { title: string }>()
  const allowed = new Map<string, string>()
  let drawn = false
  /** The answer's last line is unfinished. */
  let open = false
  let workspace = ''
  let turnBegan = now()
  let greeted = false
  let model = ''
  let held: (() => void)[] | null = null
  const answer = createWrapper(() => (style.live ? (out.columns ?? 0) : 0))

  /** Now, or once the question is answered. */
  function later(action: () => void): void {
    if (held) held.push(action)
    else action()
  }
  function clear(): void {
    if (drawn) err.write('\r\u001b[K')
    drawn = false
  }
  function finishText(): void {
    if (open) out.write(`${answer.end()}\n`)
    open = false
  }
  function line(text: string): void {
    clear()
    finishText()
    const wrapper = createWrapper(() => (style.live ? (err.columns ?? 0) : 0))
    err.write(`${wrapper.push(text)}${wrapper.end()}\n`)
  }
  function status(text: string): void {
    // While the answer's last line is open, a redrawn line would overwrite it.
    if (!style.live || open || held) return
    err.write(`\r\u001b[K${style.paint('dim', oneLine(`… ${text}`, 78))}`)
    drawn = true
  }

  return {
    status,
    note: (text) => later(() => line(text)),
    settle() {
      clear()
      finishText()
    },
    hold() {
      clear()
      finishText()
      held ??= []
    },
    release() {
      const waiting = held ?? []
      held = null
      for (const action of waiting) action()
    },
    event: (event) => later(() => show(event)),
  }

  function show(event: SessionEvent): void {
    switch (event.type) {
      case 'session':
        if (event.model) {
          turnBegan = now()
          const text = modelLine(event.model)
          if (text !== model) line(style.paint('dim', text))
          model = text
        } else if (event.folders) {
          line(
            style.paint(
              'dim',
              sessionLine(event.session, event.folders, event.approve ?? 'ask', event.hosts ?? [], event.resumed === true && !greeted),
            ),
          )
          greeted = true
        }
        return
      case 'text': {
        clear()
        const text = printable(event.text.replaceAll('\r', ''))
        if (text === '') return
        out.write(answer.push(text))
        open = !text.endsWith('\n')
        return
      }
      case 'thinking':
        return status('thinking')
      case 'tool_call':
        began.set(event.id, { title: event.title })
        clear()
        finishText()
        return status(event.title)
      case 'tool_output':
        return status(`${began.get(event.id)?.title ?? ''}: ${event.text}`)
      case 'permission':
        if (event.decision === 'allow')
          allowed.set(event.id, `allowed ${event.scope === 'once' ? 'once' : 'for this session'} by ${oneLine(event.by, 40)}`)
        return
      case 'tool_result': {
        const title = oneLine(began.get(event.id)?.title ?? event.name)
        const mark = event.ok ? style.paint('green', '✓') : style.paint('red', '✗')
        const decision = allowed.get(event.id)
        const facts = [duration(event.durationMs), ...(decision ? [decision] : [])].join(', ')
        line(`${mark} ${title}  ${style.paint('dim', facts)}`)
        if (event.error) line(`  ${oneLine(event.error.message, 160)} ${style.paint('dim', `(${event.error.code})`)}`)
        return
      }
      case 'files_changed': {
        const names = event.changes.slice(0, 5).map(({ path, what }) => `${oneLine(path, 80)}${what === 'deleted' ? ' (deleted)' : ''}`)
        const rest = event.changes.length - names.length + event.more
        const text = `Changed by others in ${oneLine(event.folder, 40)}: ${[...names, ...(rest > 0 ? [`${rest} more`] : [])].join(', ')}`
        return line(style.paint('dim', text))
      }
      case 'job_ended':
        return line(style.paint('dim', `Background ${event.job} (${oneLine(event.command, 80)}): ${oneLine(event.how)}`))
      case 'vm': {
        const text = `Workspace: ${event.state}${event.detail ? `, ${oneLine(event.detail)}` : ''}`
        if (event.state === workspace || (style.live && passing.has(event.state))) return status(text)
        workspace = event.state
        return line(style.paint('dim', text))
      }
      case 'error':
        return line(`${style.paint('red', 'Error:')} ${faultText(event.error)}`)
      case 'usage':
        return
      case 'result':
        line(style.paint('dim', `${summary(event)} · ${duration(now() - turnBegan)} · session ${event.session}`))
        return
      default:
        event satisfies never
    }
  }
}

/** Steps of a start that goes well. */
const passing: ReadonlySet<string> = new Set<VmState>(['probing', 'image', 'restoring', 'booting', 'handshake', 'verifying', 'saving'])

function summary({ status, toolCalls }: TurnResult): string {
  const words = { done: 'Done', refused: 'Refused', failed: 'Failed', cancelled: 'Interrupted' } as const
  return `${words[status]} · ${toolCalls} tool call${toolCalls === 1 ? '' : 's'}`
}

function modelLine({ name, practice }: { name: string; practice: boolean }): string {
  return practice
    ? 'Model: the practice model, a built-in stand-in for plain requests only. No ANTHROPIC_API_KEY is set.'
    : `Model: ${oneLine(name)}`
}

function sessionLine(session: string, folders: readonly FolderView[], approve: string, hosts: readonly string[], resumed: boolean): string {
  const seen =
    folders.length === 0
      ? 'no folder'
      : folders.map(({ name, mode }) => `${name}/ (${mode === 'rw' ? 'read and write' : 'read only'})`).join(', ')
  const parts = [
    `${resumed ? 'Resumed session' : 'Session'} ${session}`,
    seen,
    ...(hosts.length > 0 ? [`hosts: ${hosts.join(', ')}`] : []),
    `approve: ${approve}`,
  ]
  return oneLine(parts.join(' · '), 500)
}
