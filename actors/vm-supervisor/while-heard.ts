/** How long a guest is waited for: a busy one is slow, a hung one silent. */

type Patience = {
  /** Rises with each sign of life. */
  received: () => number
  /** Without any for this long it is given up, at twice that at the latest. */
  silentMs: number
  /** The end of it all the same, of a guest that talks and does not answer; none if left out. */
  mostMs?: number
}

/** What `work` comes to, unless the guest is given up before; then it rejects with why. */
export async function whileHeard<T>(work: Promise<T>, { received, silentMs, mostMs }: Patience): Promise<T> {
  let heard = received()
  let silence: NodeJS.Timeout | undefined
  let limit: NodeJS.Timeout | undefined
  const givenUp = new Promise<never>((_, reject) => {
    silence = setInterval(() => {
      const now = received()
      if (now === heard) reject(new Error(`nothing was heard of the guest for ${silentMs} ms`))
      heard = now
    }, silentMs)
    if (mostMs !== undefined) limit = setTimeout(() => reject(new Error(`no answer within ${mostMs} ms`)), mostMs)
  })
  try {
    return await Promise.race([work, givenUp])
  } finally {
    clearInterval(silence)
    clearTimeout(limit)
  }
}
