/** Keys that work outside of fields and dialogs. */
import { $keys, $overlay, $view, focusInput } from './interface.ts'
import { $running, interrupt } from './session.ts'
import { startNew } from './sessions.tsx'

/** How long after `g` the next key belongs to it, ms. */
const chordMs = 1500

let chord = Number.NEGATIVE_INFINITY

function go(selector: string, view: 'control' | 'sessions'): void {
  $view.set(view)
  const focus = () => document.querySelector<HTMLElement>(selector)?.focus()
  focus()
  // Again once the view is drawn: where there is room for one only, it was not there yet.
  setTimeout(focus)
}

const chords: Readonly<Record<string, () => void>> = {
  f: () => go('#add-folder', 'control'),
  r: () => go('#add-host', 'control'),
  s: () => go('.sessions .new', 'sessions'),
}
const single: Readonly<Record<string, () => void>> = {
  n: startNew,
  '/': focusInput,
  '?': () => $overlay.set('help'),
}

export function listenForKeys(): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    if (event.key === 'Escape' && $running.get()) return interrupt()
    const { target } = event
    const typing = target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
    if (typing || !$keys.get() || document.querySelector('dialog[open]')) return
    const action = event.timeStamp - chord < chordMs ? chords[event.key] : single[event.key]
    chord = event.key === 'g' ? event.timeStamp : Number.NEGATIVE_INFINITY
    if (!action) return
    event.preventDefault()
    action()
  })
}
