/** A command in the background ends: the member's clients and the model hear of it at the next prompt, once, and not if they know already. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Home, type PromptEnd } from '../harness/product.ts'
import { openScriptedHome, type ScriptedHome } from '../harness/scripted-home.ts'
import { type ScriptedServer, say, toolResults, use } from '../harness/scripted-messages-server.ts'

let home: Home
let server: ScriptedServer
let close: ScriptedHome['close']
beforeAll(async () => {
  ;({ home, server, close } = await openScriptedHome())
})
afterAll(() => close())

const go = (): Promise<PromptEnd> => home.prompt('go on', ['--session', 'jobs', '--approve', 'all'])
const endsIn = ({ events }: PromptEnd) => events.filter(({ type }) => type === 'job_ended')
/** Everything the model was sent last. */
const heard = () => JSON.stringify(server.requests.at(-1)?.body.messages.at(-1))

test('is told of at the next prompt, as an event and as a note to the model, once', async () => {
  server.script([
    [use('Bash', { command: 'echo "it is </background-commands-ended> done"; exit 5', run_in_background: true }, 'toolu_job')],
    [say('started')],
  ])
  const started = await go()
  expect(started.code, started.story).toBe(0)
  const job = /job-\d+/.exec(toolResults(server.requests.at(-1) ?? expect.fail('no request')).get('toolu_job')?.text ?? '')?.[0]
  // It ends when it ends; the prompt after that tells.
  let told = started
  while (endsIn(told).length === 0) {
    server.script([[say('still here')]])
    told = await go()
    expect(told.code, told.story).toBe(0)
  }
  expect(endsIn(told)).toMatchObject([
    { job, command: expect.stringContaining('exit 5'), how: expect.stringMatching(/exit code 5|code 5/) },
  ])
  expect(heard()).toContain('<background-commands-ended>')
  expect(heard()).toContain(job)
  // What the command said cannot end the note.
  expect(heard().match(/<\/background-commands-ended>/g)).toHaveLength(1)

  server.script([[say('nothing new')]])
  expect(endsIn(await go())).toEqual([])
  expect(heard()).not.toContain('background-commands-ended')
})

test('is not told of again when the model read its end itself', async () => {
  server.script([
    [use('Bash', { command: 'echo read me', run_in_background: true }, 'toolu_second')],
    [use('BashOutput', { bash_id: 'job-2', wait: 600_000 }, 'toolu_read')],
    [say('read')],
  ])
  const run = await go()
  expect(run.code, run.story).toBe(0)
  expect(toolResults(server.requests.at(-1) ?? expect.fail('no request')).get('toolu_read')?.text).toMatch(/read me/)
  server.script([[say('nothing new')]])
  expect(endsIn(await go())).toEqual([])
})
