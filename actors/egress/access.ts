/**
 * The policy in force, where requests run: it answers for each host, asks the member where policy says so, keeps the log, and ends what a
 * later policy no longer allows. Decisions are egress-policy.ts's; this holds its present state.
 */
import { type Fault, fault, isFault } from '../../kernel/index.ts'
import type { DecisionLog } from './decision-log.ts'
import { type Bearer, type BearerPolicy, compileEgressPolicy, type EgressPolicy, type PolicyInputs, type Verdict } from './egress-policy.ts'
import { type Keyring, noSecrets, type Secret } from './injection.ts'
import type { Asked } from './request-rules.ts'
import type { HostTarget } from './rule-set.ts'

/** Asks the member; resolves when the host is allowed, rejects with the refusal. */
export type AskMember = (question: { session: string; host: string; port: number }, signal: AbortSignal) => Promise<void>

/** One request's dealings with policy. */
export type Access = BearerPolicy & {
  /** As `judge`, and on record. */
  pass(target: HostTarget, asked: Asked): Verdict
  /** Resolves with the rule that allows it, or rejects with a fault. Asking takes as long as the member takes. */
  permit(target: HostTarget, signal: AbortSignal): Promise<Verdict>
  /**
   * Aborts, with a fault, as soon as policy no longer allows what was permitted, and when what goes there has to be read and is not (`read`).
   * `release` when the request is over.
   */
  watch(target: HostTarget, read: boolean): { signal: AbortSignal; release(): void }
  /** What belongs into requests to it, now. */
  secrets(target: HostTarget): readonly Secret[]
  /** Throws a fault when a flow to it must not go as it is: see `Keyring.obstacle`. */
  admit(target: HostTarget, how: { seen: boolean; secure: boolean }): void
}

export type PolicyHolder = {
  /** Puts a policy in force. What it no longer allows has ended when this returns. */
  apply(inputs: PolicyInputs): void
  /** Likewise with secrets: a flow into which one belongs now, and that is not read, has ended when this returns. */
  applySecrets(keyring: Keyring): void
  /** Ends all that is open, with that fault. */
  end(why: Fault): void
  warnings(): readonly string[]
  access(bearer: Bearer, via: 'fetch' | 'tunnel'): Promise<Access>
}

type Watched = { target: HostTarget; decide: () => Verdict; unread: () => boolean; asked: boolean; abort: AbortController }

export function createPolicyHolder(ask: AskMember, log: DecisionLog): PolicyHolder {
  let policy: EgressPolicy | null = null
  let keyring = noSecrets
  let generation = 0
  let announce: () => void = () => {}
  const applied = new Promise<void>((resolve) => (announce = resolve))
  const watched = new Set<Watched>()
  /** Questions on a member's screen, so that a page with twenty pictures asks once. */
  const asking = new Map<string, Promise<void>>()
  /** What the member said no to: not asked again until policy changes. */
  const refused = new Map<string, Fault>()

  async function askOnce(session: string, { host, port }: HostTarget, signal: AbortSignal): Promise<void> {
    const key = `${session} ${host}:${port}`
    const before = refused.get(key)
    if (before) throw before
    const running = asking.get(key)
    // The first asker's question may be withdrawn with it; then the others ask anew.
    if (running) {
      const settled = await running.then(
        () => true,
        (error: unknown) => (isFault(error) && error.code === 'cancelled' ? false : Promise.reject(error)),
      )
      return settled ? undefined : askOnce(session, { host, port }, signal)
    }
    const question = ask({ session, host, port }, signal).finally(() => asking.delete(key))
    asking.set(key, question)
    try {
      await question
    } catch (error) {
      if (isFault(error) && error.code === 'denied') refused.set(key, error)
      throw error
    }
  }

  /** Ends what was permitted and would not be now. */
  function cut(): void {
    for (const one of watched) {
      const { verdict, rule, reason } = one.decide()
      const allowed = verdict === 'allow' || (verdict === 'ask' && one.asked)
      if (allowed && !one.unread()) continue
      watched.delete(one)
      const why = allowed ? unreadNow(one.target) : { verdict, rule, reason }
      one.abort.abort(denied(why, 'The policy changed while it was open.'))
    }
  }

  return {
    apply(inputs) {
      policy = compileEgressPolicy(inputs)
      generation += 1
      refused.clear()
      announce()
      cut()
    },
    applySecrets(next) {
      keyring = next
      cut()
    },
    end(why) {
      for (const { abort } of watched) abort.abort(why)
      watched.clear()
    },
    warnings: () => policy?.warnings ?? [],
    async access(bearer, via) {
      await applied
      let prepared: { of: number; bearer: BearerPolicy } | null = null
      const now = (): BearerPolicy => {
        if (prepared?.of !== generation) prepared = { of: generation, bearer: (policy as EgressPolicy).bearer(bearer) }
        return prepared.bearer
      }
      const decide = (target: HostTarget): Verdict => now().decide(target)
      const permitted = new Set<string>()
      const note = ({ host, port }: HostTarget, verdict: 'allow' | 'deny', rule: string) =>
        log.add({ session: bearer.session, via, host, port, verdict, rule })
      return {
        decide,
        scope: () => now().scope(),
        reads: (target) => now().reads(target),
        judge: (target, asked) => now().judge(target, asked),
        pass(target, asked) {
          const verdict = now().judge(target, asked)
          if (verdict.verdict === 'deny') note(target, 'deny', verdict.rule)
          return verdict
        },
        async permit(target, signal) {
          const decision = decide(target)
          if (decision.verdict === 'ask') {
            try {
              if (bearer.session === null) throw fault('no-one-to-ask', 'It belongs to no session.')
              await askOnce(bearer.session, target, signal)
            } catch (error) {
              note(target, 'deny', decision.rule)
              const why = isFault(error) ? [error.message, error.cause].filter(Boolean).join(' ') : 'The question could not be asked.'
              throw denied(decision, why)
            }
            permitted.add(`${target.host}:${target.port}`)
            // Policy may have changed while the member read the question.
            const after = decide(target)
            if (after.verdict !== 'deny') {
              note(target, 'allow', 'answer of the member')
              return { verdict: 'allow', rule: 'answer of the member', reason: 'The member allowed it.' }
            }
            note(target, 'deny', after.rule)
            throw denied(after)
          }
          note(target, decision.verdict, decision.rule)
          if (decision.verdict === 'deny') throw denied(decision)
          return decision
        },
        secrets: (target) => keyring.of(target),
        admit(target, how) {
          const obstacle = keyring.obstacle(target, how)
          if (obstacle === null) return
          note(target, 'deny', obstacle.rule)
          throw denied({ verdict: 'deny', ...obstacle })
        },
        watch(target, read) {
          const abort = new AbortController()
          const asked = permitted.has(`${target.host}:${target.port}`)
          const unread = (): boolean => !read && (now().reads(target) || keyring.of(target).length > 0)
          const one: Watched = { target, decide: () => decide(target), unread, asked, abort }
          watched.add(one)
          return { signal: abort.signal, release: () => void watched.delete(one) }
        },
      }
    },
  }
}

function unreadNow({ host }: HostTarget): Verdict {
  return { verdict: 'deny', rule: 'request rules', reason: `What goes to ${host} is read from now on.` }
}

function denied({ rule, reason }: Verdict, cause?: string): Fault {
  return fault('egress-denied', reason, { rule, ...(cause === undefined ? {} : { cause }) })
}
