import { describe, expect, test } from 'vitest'
import { fault } from '../../kernel/index.ts'
import { type AskMember, createPolicyHolder } from './access.ts'
import { createDecisionLog } from './decision-log.ts'
import { limits } from './limits.ts'
import { inputsWith } from './testing/access.ts'

const to = { host: 'a.example', port: 443 }
const never = new AbortController().signal

function holder(ask: AskMember = () => Promise.reject(new Error('nobody is asked'))) {
  const log = createDecisionLog(undefined, () => 7)
  const policy = createPolicyHolder(ask, log)
  return {
    policy,
    log,
    session: (hosts: readonly string[] = ['?'], session: string | null = 's-1') => policy.access({ session, hosts }, 'fetch'),
  }
}
/** A member whose answers the test gives. */
function member() {
  const questions: { settle(error?: unknown): void; signal: AbortSignal }[] = []
  const ask: AskMember = (_, signal) =>
    new Promise((resolve, reject) => questions.push({ signal, settle: (error) => (error === undefined ? resolve() : reject(error)) }))
  return { ask, questions }
}

test('nothing is decided before a policy is in force', async () => {
  const { policy, session } = holder()
  const early = session(['a.example'])
  policy.apply(inputsWith({ member: { mode: 'none', allow: [], deny: [] } }))
  await expect((await early).permit(to, never)).rejects.toMatchObject({ code: 'egress-denied', rule: 'mode none' })
})

test('each decision is on record, newest last, without more than host and rule', async () => {
  const { policy, log, session } = holder()
  policy.apply(inputsWith({}))
  await (await session(['a.example'])).permit(to, never)
  await (await session([], 's-2')).permit(to, never).catch(() => undefined)
  expect(log.last(9, null)).toEqual([
    { at: 7, session: 's-1', via: 'fetch', ...to, verdict: 'allow', rule: 'allow a.example' },
    { at: 7, session: 's-2', via: 'fetch', ...to, verdict: 'deny', rule: 'hosts: none' },
  ])
  expect(log.last(1, 's-1')).toMatchObject([{ session: 's-1' }])
  for (let more = 0; more < 3 * limits.loggedDecisions; more += 1)
    log.add({ session: null, via: 'fetch', ...to, verdict: 'deny', rule: `${more}` })
  expect(log.last(5_000, null)).toHaveLength(limits.loggedDecisions)
})

describe('asking', () => {
  test('one question for many requests; a yes is not remembered past them, a no until policy changes', async () => {
    const { ask, questions } = member()
    const { policy, session } = holder(ask)
    policy.apply(inputsWith({}))
    const access = await session()
    const both = [access.permit(to, never), access.permit(to, never)]
    expect(questions).toHaveLength(1)
    questions[0]?.settle()
    expect(await Promise.all(both)).toMatchObject([{ rule: 'answer of the member' }, { rule: 'answer of the member' }])

    const again = access.permit(to, never)
    expect(questions).toHaveLength(2)
    questions[1]?.settle(fault('denied', 'The member said no.'))
    await expect(again).rejects.toMatchObject({ code: 'egress-denied', cause: expect.stringContaining('said no') })
    await expect(access.permit(to, never)).rejects.toMatchObject({ code: 'egress-denied' })
    expect(questions).toHaveLength(2)
    policy.apply(inputsWith({}))
    void access.permit(to, never).catch(() => undefined)
    expect(questions).toHaveLength(3)
  })

  test('a question that was withdrawn is asked anew for those who still wait', async () => {
    const { ask, questions } = member()
    const { policy, session } = holder(ask)
    policy.apply(inputsWith({}))
    const access = await session()
    const first = access.permit(to, never)
    const second = access.permit(to, never)
    questions[0]?.settle(fault('cancelled', 'x'))
    await expect(first).rejects.toMatchObject({ code: 'egress-denied' })
    await expect.poll(() => questions.length).toBe(2)
    questions[1]?.settle()
    await expect(second).resolves.toMatchObject({ verdict: 'allow' })
  })

  test('policy that changes while the member reads has the last word', async () => {
    const { ask, questions } = member()
    const { policy, session } = holder(ask)
    policy.apply(inputsWith({}))
    const asked = (await session()).permit(to, never)
    policy.apply(inputsWith({ member: { mode: 'list', allow: [], deny: ['a.example'] } }))
    questions[0]?.settle()
    await expect(asked).rejects.toMatchObject({ rule: 'deny a.example (egress rules)' })
  })

  test('who belongs to no session has nobody to ask', async () => {
    const { policy, session } = holder()
    policy.apply(inputsWith({}))
    await expect((await session(['?'], null)).permit(to, never)).rejects.toMatchObject({ code: 'egress-denied' })
  })
})

describe('what is open', () => {
  const denied = inputsWith({ member: { mode: 'list', allow: [], deny: ['a.example'] } })

  test('has ended when the policy that forbids it is in force; the rest stays', async () => {
    const { policy, session } = holder()
    policy.apply(inputsWith({}))
    const access = await session(['a.example', 'b.example'])
    const [cut, kept, over] = [access.watch(to, false), access.watch({ host: 'b.example', port: 443 }, false), access.watch(to, false)]
    over.release()
    policy.apply(denied)
    expect([cut, kept, over].map(({ signal }) => signal.aborted)).toEqual([true, false, false])
    expect(cut?.signal.reason).toMatchObject({ code: 'egress-denied', rule: 'deny a.example (egress rules)' })
  })

  test('ends when the way out is another', async () => {
    const { policy, session } = holder()
    policy.apply(inputsWith({}))
    const open = (await session(['a.example'])).watch(to, false)
    policy.end(fault('egress-denied', 'The way out changed.'))
    expect(open.signal.reason).toMatchObject({ code: 'egress-denied' })
  })

  test('by an answer of the member outlives changes that do not forbid it', async () => {
    const { policy, session } = holder(async () => undefined)
    policy.apply(inputsWith({}))
    const access = await session()
    const unasked = access.watch(to, false)
    await access.permit(to, never)
    const asked = access.watch(to, false)
    policy.apply(inputsWith({}))
    expect([unasked.signal.aborted, asked.signal.aborted]).toEqual([true, false])
    policy.apply(denied)
    expect(asked.signal.aborted).toBe(true)
  })
})
