import type { ReadableAtom } from 'nanostores'
import { useLayoutEffect, useState } from 'preact/hooks'

/** The store's value; the component is drawn again when it changes. */
export function useStore<T>(store: ReadableAtom<T>): T {
  const [, redraw] = useState({})
  const drawn = store.get()
  useLayoutEffect(() => {
    // It may have changed between drawing and listening.
    if (store.get() !== drawn) redraw({})
    return store.listen(() => redraw({}))
  }, [store])
  return drawn
}
