/** The command line scripts depend on: verbs, JSON, exit codes, interruption, and a daemon that is there when it is needed. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findJail } from '../../kernel/jail.ts'
import { asPromptEnd, type Home, openHome } from '../harness/product.ts'
import { isAlive } from '../harness/processes.ts'
import { openScriptedHome, type ScriptedHome } from '../harness/scripted-home.ts'
import { type ScriptedServer, say, use } from '../harness/scripted-messages-server.ts'
import { fileAppears } from '../harness/waiting.ts'

let home: Home
let server: ScriptedServer
let close: ScriptedHome['close']
beforeAll(async () => {
  ;({ home, server, close } = await openScriptedHome())
})
afterAll(() => close())

async function succeeds(...args: string[]): Promise<void> {
  const ended = await home.call(args)
  expect(ended.code, ended.story).toBe(0)
}

describe('the daemon', () => {
  test('two clients that start it at once share one', async () => {
    server.script([[say('one')], [say('two')]])
    const [first, second] = await Promise.all([home.prompt('hello'), home.prompt('hello')])
    expect([first.code, second.code], first.story + second.story).toEqual([0, 0])
    const egress = home.processes().filter(({ title }) => title.startsWith('bulkhead egress'))
    expect(egress).toHaveLength(1)
  })

  test('start when it runs, status, stop, status, stop again', async () => {
    await succeeds('daemon', 'start')
    const running = await home.call(['daemon', 'status'])
    expect(running.code).toBe(0)
    expect(running.stdout).toMatch(/daemon (runs|is running)/i)
    const before = home.processes()
    expect(before.length).toBeGreaterThan(3)
    await succeeds('daemon', 'stop')
    expect(before.filter(isAlive), 'stop returns when everything has ended').toEqual([])
    expect((await home.call(['daemon', 'status'])).stdout).toMatch(/not run|stopped|no daemon/i)
    await succeeds('daemon', 'stop')
    await succeeds('daemon', 'start')
  })

  test('its runtime folder and its home are for this user only', async () => {
    await home.call(['daemon', 'start'])
    for (const dir of [join(home.dir, 'run'), home.state]) expect(statSync(dir).mode & 0o077, dir).toBe(0)
  })
})

describe('verbs for scripts', () => {
  test('vm status --json', async () => {
    expect(await home.vmStatus()).toMatchObject({
      state: expect.stringMatching(
        /^(off|absent|stopped|probing|image|restoring|booting|handshake|verifying|saving|ready|paused|recovering|degraded|stopping)$/,
      ),
      restarts: expect.any(Number),
      timings: expect.any(Object),
    })
    for (const field of ['accelerator', 'isolation', 'pid', 'uptimeMs', 'lastError']) expect(await home.vmStatus()).toHaveProperty(field)
  })

  test('vm start, status, restart, stop: the state follows', async () => {
    await succeeds('vm', 'start')
    const ready = await home.vmStatus()
    expect(ready).toMatchObject({ state: 'ready', isolation: expect.stringMatching(/^(full|reduced)$/), pid: expect.any(Number) })
    expect(Object.keys(ready.timings).length).toBeGreaterThan(0)
    if (ready.accelerator === 'tcg') expect(ready.isolation).toBe('reduced')
    await succeeds('vm', 'restart')
    const again = await home.vmStatus()
    expect(again.state).toBe('ready')
    expect(again.pid).not.toBe(ready.pid)
    await succeeds('vm', 'stop')
    expect(await home.vmStatus()).toMatchObject({ state: 'stopped', pid: null })
  })

  test('doctor --json names each requirement and what to do', async () => {
    const doctor = await home.call(['doctor', '--json'])
    const report: unknown = JSON.parse(doctor.stdout)
    const checks = (Array.isArray(report) ? report : (report as { checks: unknown }).checks) as {
      name: string
      ok: boolean
      remedy?: string
    }[]
    expect(checks.length).toBeGreaterThan(3)
    for (const check of checks) {
      expect(typeof check.ok, JSON.stringify(check)).toBe('boolean')
      if (!check.ok) expect(check.remedy, JSON.stringify(check)).toMatch(/\w/)
    }
  })

  test('inspect --json shows every actor with what it may do and why', async () => {
    const { actors, deadLetters } = await home.inspect()
    const jails = 'bwrap' in (await findJail())
    expect(actors.map(({ id }) => id)).toEqual(expect.arrayContaining(['consent', 'egress', 'gateway', 'vm-supervisor']))
    for (const actor of actors) {
      expect(actor.state, actor.id).toMatch(/^running/)
      for (const { reason, target } of actor.capabilities) expect(reason, `${actor.id} -> ${target}`).toMatch(/\w/)
      if (actor.placement !== 'process') continue
      expect(actor.pid, actor.id).toBeGreaterThan(0)
      // What the process could do when it tried is what its manifest names, and nothing more.
      const { net, childProcess: child, wasi } = actor.permissions
      expect(actor.facts, actor.id).toMatchObject({ net, child, wasi, worker: false, env: false, 'fs.read': false, 'fs.write': false })
      // Of the host it found nothing, or inspect says why it is not in a jail.
      const { ok, why } = actor.jail ?? { ok: false, why: null }
      if (jails && !['policy', 'vm-supervisor'].includes(actor.id)) expect({ ok, why }, actor.id).toEqual({ ok: true, why: null })
      expect(ok ? 'a jail' : why, actor.id).toMatch(/\w/)
      if (ok) expect(actor.facts, actor.id).toMatchObject({ signal: false, host: false })
    }
    expect(deadLetters.counts).toEqual(expect.any(Object))
  })

  test('inspect, vm status, doctor and daemon status for people', async () => {
    for (const args of [['inspect'], ['vm', 'status'], ['daemon', 'status']]) {
      const shown = await home.call(args)
      expect(shown.code, args.join(' ')).toBe(0)
      expect(shown.stdout.trim(), args.join(' ')).not.toBe('')
    }
    expect((await home.call(['doctor'])).stdout.trim()).not.toBe('')
  })
})

describe('bulkhead shell', () => {
  test('opens a terminal in the workspace: keys, Ctrl-C, the exit code; the terminal here is as it was', async () => {
    const run = home.start(['shell'], {
      input: true,
      // A cold start on a busy machine may come before it.
      deadlineMs: 300_000,
      onTerminal: (command) => `${command}; code=$?; stty -a | grep -o ' -*icanon'; exit $code`,
    })
    await run.printed(/workspace:[^\n]*\$ $/)
    // A loop of the shell's own: one that is about to start a program may miss the key, on any terminal.
    run.type('echo wa""iting; while :; do :; done\r')
    await run.printed(/waiting/)
    run.type('\u0003')
    run.type('echo "st""atus $?"; stty size\r')
    await run.printed(/status 130\s+\d+ \d+/)
    run.type('exit 7\r')
    const ended = await run.ended
    expect(ended.code, ended.story).toBe(7)
    expect(ended.stdout).toMatch(/ icanon\s*$/)
  })

  test('runs one command, refuses a session that is not there, and says so when the workspace is switched off', async () => {
    const piped = home.start(['shell', '--', 'read', 'line;', 'echo', 'got $line'], { input: true })
    piped.type('words\n')
    const { code, stdout, story } = await piped.ended
    expect({ code, got: /got words/.test(stdout) }, story).toEqual({ code: 0, got: true })
    const missing = await home.call(['shell', 'no-such'])
    expect(missing.code).toBe(3)
    expect(missing.stderr).toContain('no-such-session')
    const off = openHome({ env: { BULKHEAD_VM: 'off' } })
    try {
      const refused = await off.call(['shell'])
      expect(refused.code).toBe(3)
      expect(refused.stderr).toMatch(/switched off/)
    } finally {
      await off.close()
    }
  })
})

describe('exit codes', () => {
  test.each([
    { name: 'an unknown option', args: ['run', '--frobnicate', 'x'] },
    { name: 'an unknown verb', args: ['frobnicate'] },
    { name: 'run without a prompt', args: ['run'] },
    { name: 'an approval mode that does not exist', args: ['run', '--approve', 'maybe', 'x'] },
    { name: 'an option without its value', args: ['run', '--folder'] },
    { name: 'a folder that is not there', args: ['run', '--folder', '/no/such/folder', 'x'] },
  ])('$name is 2, and stderr says what is wrong', async ({ args }) => {
    const ended = await home.call(args)
    expect(ended.code).toBe(2)
    expect(ended.stderr).toMatch(/\w/)
    expect(ended.stdout).toBe('')
  })

  test('a model that refuses the key is 3', async () => {
    server.script([{ status: 401, error: 'authentication_error', message: 'invalid x-api-key' }])
    const run = await home.prompt('hello')
    expect({ code: run.code, status: run.result.status }, run.story).toEqual({ code: 3, status: 'failed' })
    expect(run.events.find(({ type }) => type === 'error')).toMatchObject({ error: { code: 'model-refused' } })
  })

  test('a model that cannot be reached is 4', async () => {
    const away = openHome({ env: { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9', ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
    try {
      const run = await away.prompt('hello')
      expect({ code: run.code, status: run.result.status }, run.story).toEqual({ code: 4, status: 'failed' })
      expect(run.events.find(({ type }) => type === 'error')).toMatchObject({
        error: { code: 'model-unreachable', cause: expect.stringMatching(/\w/) },
      })
    } finally {
      await away.close()
    }
  })
})

describe('interruption', () => {
  test('SIGINT while the model thinks ends with 130 and a cancelled result', async () => {
    let release = () => {}
    const asked = new Promise<void>((resolve) => {
      server.script([
        () => {
          resolve()
          return new Promise((later) => {
            release = () => later([say('too late')])
          })
        },
      ])
    })
    const run = home.start(['run', '--json', 'hello'])
    await asked
    run.signal('SIGINT')
    const ended = asPromptEnd(await run.ended)
    release()
    expect({ code: ended.code, status: ended.result.status }, ended.story).toEqual({ code: 130, status: 'cancelled' })
  })

  test.each([
    { when: 'is about to start', wait: false },
    { when: 'runs', wait: true },
  ])('SIGINT while a command $when ends the command too, and the session goes on', async ({ wait }) => {
    const name = `interrupted-${wait}`
    const folder = home.folder(name)
    server.script([[use('Bash', { command: 'echo begun > begun.txt; sleep 1000; touch finished.txt' })], [say('not reached')]])
    const run = home.start(['run', '--json', '--session', name, '--approve', 'all', '--folder', folder, 'go'])
    await run.event('the approval of the command', ({ type }) => type === 'permission')
    if (wait) await fileAppears(join(folder, 'begun.txt'))
    run.signal('SIGINT')
    const ended = asPromptEnd(await run.ended)
    expect({ code: ended.code, status: ended.result.status }, ended.story).toEqual({ code: 130, status: 'cancelled' })
    server.script([[use('Bash', { command: 'pgrep -c -u "$(id -u)" sleep; ls' })], [say('and on')]])
    const next = await home.prompt('go on', ['--session', name, '--approve', 'all'])
    expect(next.result).toMatchObject({ status: 'done', text: 'and on' })
    expect(next.results[0]?.output, 'none of its processes is left').toMatch(/^0\n/)
    expect(next.results[0]?.output).not.toContain('finished')
  })
})
