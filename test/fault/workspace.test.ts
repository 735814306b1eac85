/** When the VM is not there, commands say so at once and everything else goes on; when it dies, only its own calls notice. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Home, openHome } from '../harness/product.ts'
import { type ScriptedServer, say, startScriptedServer, use } from '../harness/scripted-messages-server.ts'
import { fileAppears } from '../harness/waiting.ts'

type Options = Parameters<typeof openHome>[0]

async function open({ env = {}, ...options }: NonNullable<Options> = {}): Promise<{ home: Home; server: ScriptedServer; folder: string }> {
  const server = await startScriptedServer()
  const home = openHome({ ...options, env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up', ...env } })
  onTestFinished(async () => {
    await home.close()
    await server.close()
  })
  const folder = home.folder('work')
  writeFileSync(join(folder, 'kept.txt'), 'kept\n')
  return { home, server, folder }
}

/** Runs a command where QEMU's programs cannot be started: they are covered by something that is no program. */
function withoutQemu(): string[] {
  const binaries = readdirSync('/usr/bin').filter((name) => name.startsWith('qemu-system-'))
  const cover = binaries.map((name) => `mount --bind /dev/null /usr/bin/${name}`).join(' && ')
  return ['unshare', '--mount', ...(process.getuid?.() === 0 ? [] : ['--map-root-user']), 'sh', '-c', `${cover} && exec "$@"`, 'sh']
}

describe('no VM', () => {
  test.each([
    { when: 'switched off by BULKHEAD_VM=off', options: { env: { BULKHEAD_VM: 'off' } }, state: 'off', cause: /BULKHEAD_VM/ },
    { when: 'QEMU is not installed', options: { entry: 'client', wrapper: withoutQemu() }, state: 'absent', cause: /qemu/i },
  ] as const)('$when: commands are refused with the reason, file tools go on in the same session', async ({ options, state, cause }) => {
    const { home, server, folder } = await open(options)
    server.script([
      [use('Bash', { command: 'echo hello' }), use('Read', { file_path: 'kept.txt' }), use('Bash', { command: 'echo again' })],
      [use('Write', { file_path: 'new.txt', content: 'written\n' })],
      [say('did what could be done')],
    ])
    const run = await home.prompt('go', ['--folder', folder, '--approve', 'all'])
    expect(run.code, run.story).toBe(0)
    const commands = run.results.filter(({ name }) => name === 'Bash')
    expect(commands).toHaveLength(2)
    for (const { error, output } of commands) {
      expect(error).toMatchObject({
        code: 'workspace-unavailable',
        message: expect.stringMatching(/^Workspace unavailable: /),
        cause: expect.stringMatching(cause),
        remedy: expect.stringMatching(/\w/),
      })
      expect(output).toContain('Code: workspace-unavailable')
    }
    expect(run.results.filter(({ name }) => name !== 'Bash').map(({ ok }) => ok)).toEqual([true, true])
    expect(readFileSync(join(folder, 'new.txt'), 'utf8')).toBe('written\n')
    expect(await home.vmStatus()).toMatchObject({ state, pid: null })
  })
})

describe('kill -9 of QEMU in the middle of a command', () => {
  test('that command ends with an error, file tools answer, the next command works, nothing in the folder is lost', async () => {
    const { home, server, folder } = await open()
    writeFileSync(join(folder, 'table.csv'), 'a,b\n1,2\n'.repeat(1000))
    const before = contentOf(folder)
    server.script([
      [use('Bash', { command: 'cp table.csv copy.csv && echo begun > begun.txt && sleep 1000' }, 'toolu_killed')],
      [
        use('Read', { file_path: 'kept.txt' }, 'toolu_read'),
        use('Write', { file_path: 'meanwhile.txt', content: 'written while it was down\n' }, 'toolu_write'),
      ],
      [use('Bash', { command: 'cat begun.txt meanwhile.txt && cmp table.csv copy.csv && echo same' }, 'toolu_next')],
      [say('recovered')],
    ])
    const run = home.start(['run', '--json', '--folder', folder, '--approve', 'all', 'go'])
    await Promise.race([
      fileAppears(join(folder, 'begun.txt')),
      run.ended.then(({ stdout }) => Promise.reject(new Error(`ended early: ${stdout}`))),
    ])
    const { pid } = await home.vmStatus()
    expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toMatch(/^qemu-system/)
    process.kill(pid ?? -1, 'SIGKILL')

    const result = (id: string) => run.event(`the result of ${id}`, (event) => event.type === 'tool_result' && event.id === id)
    expect(await result('toolu_killed')).toMatchObject({
      ok: false,
      error: {
        code: 'workspace-unavailable',
        message: expect.stringMatching(/\w/),
        cause: expect.stringMatching(/\w/),
        remedy: expect.stringMatching(/\w/),
        retryAfterMs: expect.any(Number),
      },
    })
    expect(await result('toolu_read')).toMatchObject({ ok: true, output: expect.stringContaining('kept') })
    expect(await result('toolu_write')).toMatchObject({ ok: true })
    expect(await result('toolu_next')).toMatchObject({ ok: true, output: expect.stringMatching(/begun\nwritten while it was down\nsame/) })
    const ended = await run.ended
    expect(ended.code, ended.story).toBe(0)
    const after = contentOf(folder)
    for (const [name, content] of before) expect(after.get(name), name).toBe(content)
    const status = await home.vmStatus()
    expect(status).toMatchObject({ state: 'ready', restarts: 1 })
    expect(status.pid).not.toBe(pid)
  })

  test('between prompts: the next prompt of the same session runs its command', async () => {
    const { home, server, folder } = await open()
    server.script([[use('Bash', { command: 'echo first' })], [say('one')]])
    await home.prompt('go', ['--session', 'same', '--folder', folder, '--approve', 'all'])
    process.kill((await home.vmStatus()).pid ?? -1, 'SIGKILL')
    server.script([[use('Bash', { command: 'cat kept.txt' })], [say('two')]])
    const run = await home.prompt('go on', ['--session', 'same', '--approve', 'all'])
    expect(run.results).toMatchObject([{ ok: true, output: expect.stringContaining('kept') }])
    expect(existsSync(join(folder, 'kept.txt'))).toBe(true)
  })
})

function contentOf(folder: string): Map<string, string> {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
}
