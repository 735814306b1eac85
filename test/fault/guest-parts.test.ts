/**
 * What fails, and what runs out, inside a real guest: processes its agent lives by, the number of a session's files, the disk of all sessions. The guest's
 * agent is the product's, but that it can be asked for root's own commands, and that a session may have fewer files.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sessionOperations } from '../../guest/agent/limits.ts'
import { rootMarks, withRoot } from '../harness/guest.ts'
import { type ExecOptions, type Ran, refusal, startVm, type Vm } from '../harness/vm.ts'

const files = 300

let vm: Vm
const exec = (command: string, options?: ExecOptions): Promise<Ran> => vm.exec(command, options)
/** As root of the guest, in none of its sessions. */
const asRoot = (command: string): Promise<Ran> => exec(`${rootMarks.machine}\n${command}`, { cwd: '/' })

beforeAll(async () => {
  const fewer = { file: 'agent/limits.ts', usual: 'sessionFiles = 250_000', becomes: `sessionFiles = ${files}` }
  vm = await startVm({ sessions: ['one', 'two', 'three'], guest: [...withRoot, fewer] })
})
afterAll(() => vm?.stop())

describe('what runs out', () => {
  it('a session’s number of files: it is told, its neighbour goes on, and it does when it has removed some', async () => {
    const { stdout, stderr } = await exec(`for n in $(seq ${files + 50}); do : > ~/f$n || break; done; ls ~ | wc -l; touch ~/more`)
    expect(stderr).toMatch(/quota exceeded/i)
    expect(Number(stdout)).toBeLessThan(files)
    expect((await exec('touch ~/file && echo room', { session: 'two' })).stdout).toBe('room\n')
    expect((await exec('rm -f ~/f*; touch ~/more && echo room')).stdout).toBe('room\n')
  })

  it('the disk of all sessions: kept outputs go before anything else does, the oldest first, and the host is told', async () => {
    const long = async (session: string): Promise<string> => (await exec('seq 1 200000', { session })).outputFile ?? ''
    const kept = await long('one')
    expect((await exec(`stat -c %s ${kept}`)).stdout).toBe('1288895\n')
    // Each up to its share.
    for (const session of ['one', 'two']) expect((await exec('fallocate -l 3700M ~/large', { session })).exitCode).toBe(0)
    await expect.poll(async () => (await exec(`stat ${kept}`)).stderr).toMatch(/no such file/i)
    await expect.poll(() => vm.kernel.logs.join('\n')).toMatch(/the disk was nearly full: \d+ kept outputs were removed/)
    expect((await exec('cat ~/large | head -c 3; echo works', { session: 'three' })).stdout).toBe('works\n')
    for (const session of ['one', 'two']) await exec('rm ~/large', { session })
    const again = await long('one')
    await exec('true')
    expect((await exec(`stat -c %s ${again}`)).stdout).toBe('1288895\n')
  })
})

it('disk operations: a session’s are its own group’s, which has a limit on the disk its home is on', async () => {
  const write = 'dd if=/dev/zero of=written bs=4k count=200 oflag=direct status=none'
  const disk = (await exec(`cd && ${write} && rm written; stat -c %Hd:%Ld ~`)).stdout.trim()
  const { stdout } = await asRoot(
    'cd /sys/fs/cgroup/sessions; for slot in */; do echo $(cat "$slot/io.max") / $(cat "$slot/io.stat"); done',
  )
  const groups = stdout.trim().split('\n')
  const limit = `${disk} rbps=max wbps=max riops=${sessionOperations} wiops=${sessionOperations} /`
  for (const group of groups) expect(group.slice(0, limit.length)).toBe(limit)
  const written = groups.map((group) =>
    Number(new RegExp(`/.*\\b${disk} rbytes=\\d+ wbytes=\\d+ rios=\\d+ wios=(\\d+)`).exec(group)?.[1] ?? 0),
  )
  expect(written.filter((operations) => operations >= 200)).toHaveLength(1)
})

describe('kill -9 in the guest', () => {
  it.each([
    ['the process that carries output', 'output-pump.pl'],
    ['the process that carries files', 'files-pump.pl'],
    ['the process that carries connections', 'net-pump.pl'],
    ['the process that starts commands', 'launcher.pl'],
    ['the agent', 'agent/main.js'],
  ])('%s: what ran is refused with the reason, the next command works, status says so', async (_, name) => {
    await exec('true')
    const before = await vm.status()
    // Not in its own words.
    const pattern = name.replace(/^./, (letter) => `[${letter}]`)
    const error = await refusal(asRoot(`pkill -9 -f ${pattern}; sleep 10000`))
    expect(error).toMatchObject({
      code: 'workspace-unavailable',
      cause: expect.stringContaining('agent'),
      retryAfterMs: expect.any(Number),
    })
    expect((await exec('echo back; id -u')).stdout).toBe('back\n20000\n')
    expect(await vm.status()).toMatchObject({ state: 'ready', restarts: before.restarts + 1, start: 'restored' })
    expect(await vm.left()).toHaveLength(1)
  })

  it('what watches sessions: another takes its place, nothing else notices', async () => {
    await exec('true')
    const { pid, restarts } = await vm.status()
    const watchers = async () => (await asRoot('pgrep -f [w]atcher.pl')).stdout
    const first = await watchers()
    expect(first).toMatch(/^\d+\n$/)
    await asRoot('pkill -9 -f [w]atcher.pl')
    await expect.poll(watchers, { timeout: 60_000 }).toMatch(/^\d+\n$/)
    expect(await watchers()).not.toBe(first)
    expect(await vm.status()).toMatchObject({ state: 'ready', pid, restarts })
  })
})
