/** What egress does to the world, as Effect programs around the I/O files of this folder. */
import * as Effect from 'effect/Effect'
import { asFault, type EffectContext, type Effects, type Fault, fault } from '../../kernel/index.ts'
import { type AskMember, createPolicyHolder } from './access.ts'
import { createAuthority } from './authority.ts'
import { createDecisionLog } from './decision-log.ts'
import type { Bearer, PolicyInputs } from './egress-policy.ts'
import { realWeb, type Web } from './dial.ts'
import { explainFetch, type FetchReply, type FetchRequest, fetchPage, type Reader } from './fetch-page.ts'
import { limits } from './limits.ts'
import { createManagedWay, trustBesides } from './network.ts'
import { createPageCache } from './page-cache.ts'
import type { RulesView } from './policy-state.ts'
import { noManagedProxy } from './proxy-settings.ts'
import { readRegistries } from './registry-files.ts'
import type { HostTarget } from './rule-set.ts'
import type { Rules } from './rules.ts'
import { loadRules, saveRules } from './rules-file.ts'
import { modelKeyOf, readStartSecrets, type StartSecrets } from './start-secrets.ts'
import { createTunnels } from './tunnels.ts'
import { type ModelRequest, openUpstream, type Upstream } from './upstream.ts'
import { readVault } from './vault.ts'
import { type SearchRequest, searchWeb } from './web-search.ts'

type ForRequest = { request: number }

/** `web` differs in tests only: there the pages are on loopback. */
export function createEffects(outside: Web = realWeb) {
  let trusted: string | undefined
  const way = createManagedWay()
  /** What this machine is configured for: read by the first effects, which know the descriptor, before anything goes out. */
  const settle = ({ params, log }: Pick<EffectContext, 'params' | 'log'>): StartSecrets => {
    const start = readStartSecrets(secretsOf(params))
    way.own(start.proxy ?? {})
    if (start.ca === undefined || start.ca === trusted) return start
    try {
      trustBesides(start.ca)
      trusted = start.ca
    } catch (error) {
      log('warn', asFault(error).message)
    }
    return start
  }
  const web: Web = { proxyFor: way.proxyFor, ...outside }
  // The upstream holds the key; it stays here, out of the machine's context. A promise, because requests may come before it is open.
  let upstream: Promise<Upstream> = Promise.reject(fault('model-unreachable', 'The way to the model API is not open yet.'))
  upstream.catch(() => undefined)

  let io: EffectContext | null = null
  const ask: AskMember = async (question, signal) => {
    if (io === null) throw fault('not-now', 'Egress is not ready to ask.')
    await answered(io, question, signal)
  }
  const log = createDecisionLog(({ via, session, host, port, verdict, rule }) => {
    // A page's whole address is put on record where it is fetched.
    if (via === 'tunnel' && io)
      record(io, verdict === 'allow' ? 'egress.allowed' : 'egress.denied', { session, to: `${host}:${port}`, rule })
  })
  const authority = createAuthority()
  const tunnels = createTunnels(web, authority)
  const pages = createPageCache<FetchReply>()
  const policy = createPolicyHolder(ask, log)
  /** One at a time, in the order the rules changed. */
  let saving: Promise<void> = Promise.resolve()

  const readSecrets = async (context: EffectContext): Promise<{ names: string[]; problem: string | null }> => {
    const { keyring, names, problem } = await readVault(placesOf(context.params).state, settle(context).vaultKey ?? null)
    policy.applySecrets(keyring)
    if (problem !== null) context.log('warn', problem)
    return { names, problem }
  }

  const closeUpstream = async () => {
    const open = await upstream.catch(() => null)
    await open?.close()
  }

  return {
    openUpstream: {
      outcomes: ['opened', 'failed'],
      run: ({ baseUrl }: { baseUrl: string | null }, context) =>
        attempt(async () => {
          const before = closeUpstream()
          upstream = before.then(() => openUpstream({ baseUrl, readKey: () => modelKeyOf(settle(context)), web }))
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
      outside: true,
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
      outside: true,
      run: ({ bearer, ...request }: ForRequest & FetchRequest & { bearer: Bearer }, context) =>
        attempt(async (signal) => {
          const { session } = bearer
          try {
            const access = await policy.access(bearer, 'fetch')
            const reply = await fetchPage(request, web, access, readerOf(context), signal, { pages, session })
            record(context, 'egress.allowed', { session, to: request.url, status: reply.status })
            return { type: 'done', reply }
          } catch (error) {
            // A host that could not be reached was allowed; what a rule refused was not.
            const { code, rule } = asFault(error)
            record(context, rule === undefined ? 'egress.failed' : 'egress.denied', {
              session,
              to: request.url,
              code,
              ...(rule === undefined ? {} : { rule }),
            })
            throw error
          }
        }),
    },
    searchWeb: {
      outcomes: ['done', 'failed'],
      outside: true,
      run: ({ request: _, bearer, ...wanted }: ForRequest & SearchRequest & { bearer: Bearer }, context) =>
        attempt(async (signal) => {
          const { session } = bearer
          const of = { session, to: 'web search', query: wanted.query }
          try {
            const found = await searchWeb(wanted, await upstream, await policy.access(bearer, 'fetch'), signal)
            record(context, 'egress.allowed', { ...of, results: found.results.length })
            return { type: 'done', reply: { ...found, untrusted: true } }
          } catch (error) {
            const { code, rule } = asFault(error)
            record(context, code === 'egress-denied' ? 'egress.denied' : 'egress.failed', { ...of, code, ...(rule ? { rule } : {}) })
            throw error
          }
        }),
    },
    tunnel: {
      outcomes: ['done', 'failed'],
      run: ({ request, id, to, bearer }: ForRequest & { id: string; to: HostTarget | null; bearer: Bearer }, context) =>
        attempt(async (signal) => {
          const why = await tunnels.open(id, to, policy.access(bearer, 'tunnel'), signal, (part) => context.part(request, part))
          if (why !== null) throw why
          return { type: 'done', reply: {} }
        }),
    },
    tunnelWrite: {
      outcomes: ['done'],
      run: ({ id, bytes }: ForRequest & { id: string; bytes: Uint8Array | null }) =>
        Effect.promise(async () => {
          await tunnels.feed(id, bytes)
          return { type: 'done', reply: {} }
        }),
    },
    explain: {
      outcomes: ['done'],
      run: ({ url, bearer }: ForRequest & { url: string; bearer: Bearer }) =>
        Effect.promise(async (signal) => ({
          type: 'done',
          reply: await explainFetch(url, web, await policy.access(bearer, 'fetch'), signal),
        })),
    },
    /** The member's rules and this machine's registries, from disk. */
    loadPolicy: {
      outcomes: ['loaded'],
      run: (_params, context) =>
        Effect.promise(async () => {
          const { params } = context
          await readSecrets(context)
          const { rules, problem } = await loadRules(placesOf(params).state)
          return { type: 'loaded', rules, problem, registries: readRegistries(placesOf(params).userHome) }
        }),
    },
    /** When it ends, what the policy no longer allows has ended. */
    applyPolicy: {
      outcomes: ['applied'],
      run: ({ inputs }: { inputs: PolicyInputs }, context) =>
        Effect.sync(() => {
          io = context
          if (way.manage(inputs.managed.failedClosed ? null : (inputs.managed.proxy ?? noManagedProxy)))
            policy.end(fault('egress-denied', 'The way out changed while it was open.', { rule: 'proxy' }))
          policy.apply(inputs)
          for (const warning of policy.warnings()) context.log('warn', warning)
          return { type: 'applied' }
        }),
    },
    saveRules: {
      outcomes: ['done', 'failed'],
      run: ({ rules }: ForRequest & { rules: Rules }, { params }) =>
        Effect.promise(async (): Promise<Done> => {
          const saved = saving.then(() => saveRules(placesOf(params).state, rules))
          saving = saved.catch(() => undefined)
          try {
            await saved
            return { type: 'done', reply: {} }
          } catch (error) {
            const cause = error instanceof Error ? error.message : String(error)
            return { type: 'failed', error: fault('io-failed', 'The rule is in force but could not be saved.', { cause }) }
          }
        }),
    },
    /** The secrets that are kept, read anew; in force when it ends. */
    loadSecrets: {
      outcomes: ['done', 'failed'],
      run: (_params: ForRequest, context) => attempt(async () => ({ type: 'done', reply: await readSecrets(context) })),
    },
    showAuthority: {
      outcomes: ['done', 'failed'],
      run: (_params: ForRequest) => attempt(async () => ({ type: 'done', reply: { pem: await authority.certificate() } })),
    },
    showRules: {
      outcomes: ['done'],
      run: ({ view }: ForRequest & { view: RulesView }, { params }) =>
        Effect.sync(() => {
          const registries = readRegistries(placesOf(params).userHome)
          return { type: 'done', registries, reply: { ...view, registries, warnings: [...policy.warnings()] } }
        }),
    },
    readLog: {
      outcomes: ['done'],
      run: ({ count, session }: ForRequest & { count: number; session: string | null }) =>
        Effect.sync(() => ({ type: 'done', reply: { decisions: log.last(count, session) } })),
    },
    rest: { outcomes: ['done'], run: () => Effect.as(Effect.sleep(limits.policyRetryMs), { type: 'done' }) },
  } satisfies Effects
}

export const effects = createEffects()

/** Where the rules are kept, and whose package managers count. */
function placesOf(params: unknown): { state: string; userHome: string } {
  const { state, userHome } = params as { state?: unknown; userHome?: unknown }
  return { state: String(state), userHome: String(userHome) }
}

function secretsOf(params: unknown): number | null {
  return (params as { fds?: { secrets?: number } }).fds?.secrets ?? null
}

/** Consent puts the question to the member. Resolves when the host is allowed. */
async function answered(io: EffectContext, question: Parameters<AskMember>[0], signal: AbortSignal): Promise<void> {
  const asked = io.request('consent', 'ask-host', question, { deadlineMs: null })
  const outcome = Effect.match(asked, { onSuccess: () => null, onFailure: (error): Fault | null => error })
  const refusal = await Effect.runPromise(outcome, { signal }).catch(() => fault('cancelled', 'The question was withdrawn.'))
  if (refusal !== null) throw refusal
}

/** The reader, for one effect. When it ended or took too long, that is the page's doing as far as anyone can tell. */
function readerOf(io: EffectContext): Reader {
  async function asked<R>(kind: 'page' | 'pdf', body: object, signal: AbortSignal): Promise<R> {
    const outcome = Effect.match(io.request('reader', kind, body), {
      onSuccess: (reply) => ({ body: reply.body as R }),
      onFailure: (error) => ({ error }),
    })
    const result = await Effect.runPromise(outcome, { signal })
    if ('body' in result) return result.body
    const { code, message } = result.error
    throw code === 'actor-down' || code === 'deadline'
      ? fault('unsupported-content', 'What came could not be read.', { cause: message, rule: 'reader' })
      : result.error
  }
  return { page: (body, signal) => asked('page', body, signal), pdf: (body, signal) => asked('pdf', body, signal) }
}

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
