/**
 * The disk of the device fills up while the VM writes: it stands still, says so, and goes on where it was when there is room. The disk is a tmpfs
 * that only the product sees: mounted over its home in a mount namespace of the daemon's own.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type Home, openHome } from '../harness/product.ts'
import { say, startScriptedServer, use } from '../harness/scripted-messages-server.ts'

const mebibyte = 1024 * 1024

const onSmallDisk = [
  'unshare',
  '--mount',
  ...(process.getuid?.() === 0 ? [] : ['--map-root-user']),
  'sh',
  '-c',
  'mkdir -p -m 0700 "$BULKHEAD_HOME" && mount -t tmpfs -o size=256m,mode=0700 small "$BULKHEAD_HOME" && exec "$@"',
  'sh',
]

async function open() {
  const server = await startScriptedServer()
  const home = openHome({ wrapper: onSmallDisk, env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  onTestFinished(async () => {
    await home.close()
    await server.close()
  })
  return { home, server, folder: home.folder('work') }
}

/** The small disk, as the daemon sees it. */
const diskOf = async (home: Home): Promise<string> => `/proc/${await home.daemonPid()}/root${home.state}`

/** Leaves so many bytes of it free. Returns what gives the rest back. */
function fill(disk: string, leaving: number): () => void {
  const path = join(disk, 'filler')
  const file = openSync(path, 'w')
  const piece = Buffer.alloc(mebibyte / 4)
  for (;;) {
    const { bsize, bavail } = statfsSync(disk)
    if (bsize * bavail - piece.length < leaving) break
    writeSync(file, piece)
  }
  closeSync(file)
  return () => rmSync(path, { force: true })
}

test('a command that fills the disk stands still, tools go on, and it ends as it would have when there is room', async () => {
  const { home, server, folder } = await open()
  writeFileSync(join(folder, 'kept.txt'), 'kept\n')
  server.script([[use('Bash', { command: 'echo there' })], [say('up')]])
  const first = await home.prompt('go', ['--session', 'same', '--folder', folder, '--approve', 'all'])
  expect(first.results, first.story).toMatchObject([{ ok: true }])
  const disk = await diskOf(home)
  // More than there is room for, and each byte of it is looked at in the end.
  const giveBack = fill(disk, 24 * mebibyte)
  const lines = 5_000_000
  server.script([
    [use('Bash', { command: `cd /tmp; seq 1 ${lines} > big; sync; sha256sum < big; rm big`, timeout: 600_000 }, 'toolu_big')],
    [say('done')],
  ])
  const run = home.start(['run', '--json', '--session', 'same', '--approve', 'all', 'go on'])
  await expect.poll(async () => (await home.vmStatus()).state, { timeout: 300_000 }).toBe('degraded')
  const { pid, lastError } = await home.vmStatus()
  expect(lastError).toMatchObject({ code: 'disk-full', message: expect.stringMatching(/full/), remedy: expect.stringMatching(/Free/) })
  expect(pid).toBeGreaterThan(0)
  // Meanwhile, in another session: a command is refused with the reason, tools serve.
  const other = home.folder('other')
  writeFileSync(join(other, 'kept.txt'), 'kept\n')
  server.script([
    [use('Bash', { command: 'echo no' }, 'toolu_no'), use('Read', { file_path: 'kept.txt' }, 'toolu_read')],
    [use('Write', { file_path: 'new.txt', content: 'new\n' }, 'toolu_write')],
    [say('did what could be done')],
  ])
  const meanwhile = await home.prompt('go', ['--session', 'other', '--folder', other, '--approve', 'all'])
  const result = (id: string) => meanwhile.results.find((event) => event.id === id)
  expect(result('toolu_no'), meanwhile.story).toMatchObject({
    ok: false,
    error: {
      code: 'workspace-unavailable',
      message: expect.stringMatching(/disk of this device is full/),
      remedy: expect.stringMatching(/Free/),
    },
  })
  expect(result('toolu_read')).toMatchObject({ ok: true })
  expect(result('toolu_write')).toMatchObject({ ok: true })
  giveBack()
  const ended = await run.ended
  const hash = createHash('sha256')
  for (let from = 1; from <= lines; from += 100_000) {
    let text = ''
    for (let line = from; line < from + 100_000; line++) text += `${line}\n`
    hash.update(text)
  }
  const big = ended.events.find((event) => event.type === 'tool_result' && event.id === 'toolu_big')
  expect(big, ended.story).toMatchObject({ ok: true, output: expect.stringContaining(hash.digest('hex')) })
  expect(await home.vmStatus()).toMatchObject({ state: 'ready', pid, restarts: 0 })
})
