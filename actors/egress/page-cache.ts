/** Pages fetched a moment ago, by session: what one session read says nothing to another, not even by how fast it is there. Pure but for its clock. */
import type { Target } from './decide.ts'
import { limits } from './limits.ts'

/** `targets`: each host it came through; all of them have to be allowed still. */
export type CachedPage<Page> = { page: Page; targets: readonly Target[] }

export type PageCache<Page extends { text: string }> = {
  get(session: string | null, url: string): CachedPage<Page> | null
  put(session: string | null, url: string, cached: CachedPage<Page>): void
}

export function createPageCache<Page extends { text: string }>(now: () => number = () => performance.now()): PageCache<Page> {
  const kept = new Map<string, CachedPage<Page> & { at: number }>()
  let chars = 0
  const drop = (key: string): void => {
    chars -= kept.get(key)?.page.text.length ?? 0
    kept.delete(key)
  }
  const keyOf = (session: string | null, url: string): string => `${session ?? ''} ${url}`
  return {
    get(session, url) {
      const key = keyOf(session, url)
      const found = kept.get(key)
      if (!found) return null
      if (now() - found.at > limits.cachedMs) {
        drop(key)
        return null
      }
      // Used again, so dropped later: a map keeps the order of insertion.
      kept.delete(key)
      kept.set(key, found)
      return found
    },
    put(session, url, cached) {
      const key = keyOf(session, url)
      drop(key)
      kept.set(key, { ...cached, at: now() })
      chars += cached.page.text.length
      for (const oldest of kept.keys()) {
        if (chars <= limits.cachedChars) break
        drop(oldest)
      }
    },
  }
}

/** Whether the server lets an answer be kept for a while by one who asks without credentials. */
export function mayBeCached(status: number, cacheControl: string | undefined): boolean {
  return status === 200 && !/(^|[\s,])(no-store|no-cache|private|max-age=0)\b/i.test(cacheControl ?? '')
}
