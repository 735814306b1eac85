/** The egress rules as a member has them: on the command line, in force at once, asked about, remembered over a restart. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EgressDecision, EgressRules, HostExplanation } from '../../actors/egress/protocol.ts'
import type { Home } from '../harness/product.ts'
import { openScriptedHome, type ScriptedHome } from '../harness/scripted-home.ts'
import { type ScriptedServer, say, use } from '../harness/scripted-messages-server.ts'

let home: Home
let server: ScriptedServer
let close: ScriptedHome['close']
beforeAll(async () => {
  ;({ home, server, close } = await openScriptedHome({ BULKHEAD_VM: 'off' }))
})
afterAll(() => close())

async function egress<T = unknown>(...args: string[]): Promise<T> {
  const ended = await home.call(['egress', ...args, '--json'])
  expect(ended.code, ended.story).toBe(0)
  return JSON.parse(ended.stdout) as T
}
const explain = (url: string, ...args: string[]) => egress<HostExplanation>('explain', url, ...args)

test('allow, deny, mode and forget are in force at once, for every session or one; explain and log say why', async () => {
  server.script([[use('WebFetch', { url: 'http://denied.corp.example/' })], [say('done')]])
  const refused = await home.prompt('fetch', ['--session', 'one', '--approve', 'all'])
  expect(refused.results, refused.story).toMatchObject([
    { ok: false, error: { code: 'egress-denied', cause: expect.stringContaining('Approve mode all') } },
  ])

  expect(await explain('http://denied.corp.example/')).toMatchObject({ verdict: 'ask' })
  await egress('allow', '*.corp.example')
  // Nothing answers there; that policy lets it through is what counts.
  expect((await explain('http://denied.corp.example/')).rule).toBe('resolution')
  await egress('deny', 'denied.corp.example')
  expect(await explain('http://denied.corp.example/')).toMatchObject({ verdict: 'deny', rule: 'deny denied.corp.example (egress rules)' })
  await egress('mode', 'none', '--session', 'one')
  expect(await explain('http://other.example/', '--session', 'one')).toMatchObject({ verdict: 'deny', rule: 'mode none (session one)' })
  await egress('mode', 'default', '--session', 'one')
  await egress('forget', '*.corp.example')
  await egress('allow', 'only.example:80', '--session', 'one')
  expect((await explain('http://only.example/', '--session', 'one')).rule).toBe('resolution')
  expect(await explain('http://only.example/')).toMatchObject({ verdict: 'ask' })
  await egress('forget', 'only.example:80', '--session', 'one')
  expect(await explain('http://only.example/', '--session', 'one')).toMatchObject({ verdict: 'ask' })

  const { decisions } = await egress<{ decisions: EgressDecision[] }>('log', '--session', 'one')
  expect(decisions).toMatchObject([{ host: 'denied.corp.example', port: 80, via: 'fetch', verdict: 'deny', rule: 'hosts: not listed' }])
  const text = await home.call(['egress', 'show'])
  expect(text.stdout).toMatch(/Mode: list[\s\S]*Denied:\n {2}denied\.corp\.example/)
  expect((await home.call(['egress', 'allow', '*.com'])).code).toBe(3)
  expect((await home.call(['egress', 'allow', 'https://x/'])).code).toBe(2)

  await home.call(['daemon', 'stop'])
  expect((await egress<EgressRules>('show')).member).toEqual({ mode: 'list', allow: [], deny: ['denied.corp.example'] })
})

test('a host that is not listed is asked about: once, for the session, always, or not', async () => {
  // The address guard has the last word: these hosts are this machine, so a fetch that was allowed ends there.
  const fetching = async (answer: string, host: string) => {
    server.script([[use('WebFetch', { url: `http://${host}/` })], [say('done')]])
    const run = home.start(['run', '--json', '--session', 'asked', '--approve', 'ask', 'fetch'], { input: true })
    await run.printed(/Answer with a digit/)
    run.type(`${answer}\n`)
    const ended = await run.ended
    const result = ended.events.find(({ type }) => type === 'tool_result')
    expect(result, ended.story).toBeDefined()
    return { code: (result?.['error'] as { code: string } | undefined)?.code, story: ended.story }
  }
  const question = await fetching('1', 'localhost')
  expect(question).toMatchObject({ code: 'private-address', story: expect.stringContaining('Reach localhost:80') })
  expect(await fetching('4', 'localhost')).toMatchObject({ code: 'egress-denied' })
  expect(await fetching('2', '127.0.0.1')).toMatchObject({ code: 'private-address' })
  expect(await explain('http://127.0.0.1/', '--session', 'asked')).toMatchObject({ rule: 'address: loopback' })
  expect(await explain('http://127.0.0.1/')).toMatchObject({ verdict: 'ask' })
  expect(await fetching('3', '127.0.0.2')).toMatchObject({ code: 'private-address' })
  expect((await egress<EgressRules>('show')).member.allow).toContain('127.0.0.2:80')
})
