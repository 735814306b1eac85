/** What egress does to the world, as Effect programs around the I/O files of this folder. */
import * as Effect from 'effect/Effect'
import { asFault, type EffectContext, type Effects, type Fault, fault } from '../../kernel/index.ts'
import { explainFetch, type FetchRequest, fetchPage, realWeb, type Web } from './fetch-page.ts'
import { type ModelRequest, openUpstream, readModelKey, type Upstream } from './upstream.ts'

type ForRequest = { request: number }

/** `web` differs in tests only: there the pages are on loopback. */
export function createEffects(web: Web = realWeb) {
  // The upstream holds the key; it stays here, out of the machine's context. A promise, because requests may come before it is open.
  let upstream: Promise<Upstream> = Promise.reject(fault('model-unreachable', 'The way to the model API is not open yet.'))
  upstream.catch(() => undefined)

  const closeUpstream = async () => {
    const open = await upstream.catch(() => null)
    await open?.close()
  }

  return {
    openUpstream: {
      outcomes: ['opened', 'failed'],
      run: (params: { secrets: number | null; baseUrl: string | null }) =>
        attempt(async () => {
          const before = closeUpstream()
          upstream = before.then(() =>
            openUpstream({ baseUrl: params.baseUrl, readKey: () => (params.secrets === null ? null : readModelKey(params.secrets)) }),
          )
          await upstream
          return { type: 'opened' }
        }),
    },
    closeUpstream: {
      outcomes: ['closed'],
      run: () => Effect.promise(closeUpstream).pipe(Effect.as({ type: 'closed' })),
    },
    describe: {
      outcomes: ['done', 'failed'],
      run: (_params: ForRequest) => attempt(async () => ({ type: 'done', reply: (await upstream).info })),
    },
    forward: {
      outcomes: ['done', 'failed'],
      run: ({ request, body, session }: ForRequest & { body: ModelRequest; session: string | null }, context) =>
        attempt(async (signal) => {
          const open = await upstream
          record(context, 'egress.allowed', {
            session,
            to: open.info.mode === 'practice' ? 'practice model' : new URL(open.info.baseUrl).host,
            purpose: 'model',
          })
          await open.forward(body, (part) => context.part(request, part), signal)
          return { type: 'done' }
        }),
    },
    fetchPage: {
      outcomes: ['done', 'failed'],
      run: ({ session, ...params }: ForRequest & FetchRequest & { session: string | null }, context) =>
        attempt(async (signal) => {
          try {
            const reply = await fetchPage(params, web, signal)
            record(context, 'egress.allowed', { session, to: params.url, status: reply.status })
            return { type: 'done', reply }
          } catch (error) {
            // A host that could not be reached was allowed; what a rule refused was not.
            const { code, rule } = asFault(error)
            record(context, rule === undefined ? 'egress.failed' : 'egress.denied', {
              session,
              to: params.url,
              code,
              ...(rule === undefined ? {} : { rule }),
            })
            throw error
          }
        }),
    },
    explain: {
      outcomes: ['done'],
      run: (params: ForRequest & { url: string; hosts: readonly string[] }) =>
        Effect.promise(async (signal) => ({ type: 'done', reply: await explainFetch(params, web, signal) })),
    },
  } satisfies Effects
}

export const effects = createEffects()

/** On its way to the audit log; the answer does not wait for it. */
function record({ send }: EffectContext, action: string, data: Record<string, unknown>): void {
  send('telemetry', 'audit', { action, data })
}

type Done = { type: string; [key: string]: unknown }

/** Whatever is thrown becomes the outcome `failed`. Interruption aborts the signal. */
function attempt(work: (signal: AbortSignal) => Promise<Done>): Effect.Effect<Done> {
  const outcome = Effect.tryPromise({ try: (signal) => work(signal), catch: (thrown): Fault => asFault(thrown) })
  return Effect.match(outcome, { onSuccess: (done) => done, onFailure: (error): Done => ({ type: 'failed', error }) })
}
