/** State of the page itself: which view and dialog are open, how it looks. */
import { atom } from 'nanostores'

export type View = 'conversation' | 'control' | 'sessions'
export type Overlay = 'folder' | 'host' | 'help' | 'workspace' | null

/** Which of the three shows where there is room for one. */
export const $view = atom<View>('conversation')
export const $overlay = atom<Overlay>(null)
/** What is in the composer. */
export const $draft = atom('')

export type Theme = 'auto' | 'light' | 'dark'
const themeKey = 'bulkhead.theme'
const keysKey = 'bulkhead.keys'
const themes: readonly string[] = ['auto', 'light', 'dark']
const saved = localStorage.getItem(themeKey)

export const $theme = atom<Theme>(saved !== null && themes.includes(saved) ? (saved as Theme) : 'auto')
/** Single-key shortcuts; some ways of speaking or typing set them off by accident, so they can be turned off. */
export const $keys = atom(localStorage.getItem(keysKey) !== 'off')

$theme.subscribe((theme) => {
  if (theme === 'auto') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
  localStorage.setItem(themeKey, theme)
})
$keys.listen((on) => localStorage.setItem(keysKey, on ? 'on' : 'off'))

/** Moves the focus into a view: at once, so that what is typed next is not lost. */
export function focusIn(view: View, selector: string): void {
  $view.set(view)
  const focus = () => document.querySelector<HTMLElement>(selector)?.focus()
  focus()
  // Again once the view is drawn: where there is room for one only, it was not there yet.
  setTimeout(() => document.activeElement?.matches(selector) || focus())
}

export const focusInput = (): void => focusIn('conversation', '#input')
