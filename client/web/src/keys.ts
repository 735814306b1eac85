/** Keys that work outside of fields and dialogs. */
import { $keys, $overlay, focusIn, focusInput } from './interface.ts'
import { $running, interrupt } from './session.ts'
import { startNew } from './sessions.tsx'

/** How long after `g` the next key belongs to it, ms. */
const chordMs = 1500

let chord = Number.NEGATIVE_INFINITY

const chords: Readonly<Record<string, () => void>> = {
  f: () => focusIn('control', '#add-folder'),
  r: () => focusIn('control', '#add-host'),
  s: () => focusIn('sessions', '.sessions .new'),
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
