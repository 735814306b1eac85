import type { ReadableAtom } from 'nanostores'
import { useEffect, useState } from 'preact/hooks'

/** The store's value; the component is drawn again when it changes. */
export function useStore<T>(store: ReadableAtom<T>): T {
  const [, redraw] = useState({})
  useEffect(() => store.listen(() => redraw({})), [store])
  return store.get()
}
