/** A real modal dialog: focus moves in, stays in, and returns to where it was. */
import type { ComponentChildren, JSX } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'

export function Dialog(props: {
  title: string
  wide?: boolean
  onClose(): void
  onKey?(key: string): void
  children: ComponentChildren
}): JSX.Element {
  const box = useRef<HTMLDialogElement>(null)
  // Not after the next picture: a key that comes before that is meant for the dialog, or, at the end, for where the focus was.
  useLayoutEffect(() => {
    const shown = box.current
    shown?.showModal()
    return () => shown?.close()
  }, [])
  return (
    <dialog
      ref={box}
      class={props.wide ? 'wide' : ''}
      aria-labelledby="dialog-title"
      // A browser lets a page hold back one close request; the next one closes. What is asked stays until it is answered.
      onCancel={(event) => {
        event.preventDefault()
        props.onClose()
      }}
      onClose={() => {
        if (box.current?.isConnected) box.current.showModal()
      }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') {
          event.preventDefault()
          props.onClose()
        }
        const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement
        event.stopPropagation()
        if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) props.onKey?.(event.key)
      }}
    >
      <h2 id="dialog-title">{props.title}</h2>
      {props.children}
    </dialog>
  )
}
