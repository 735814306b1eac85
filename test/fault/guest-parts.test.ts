/**
 * What fails, and what runs out, inside a real guest: processes its agent lives by, the number of a session's files, the disk of all sessions. The guest's
 * agent is the product's, but that it can be asked for root's own commands, and that a session may have fewer files.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { maxSessionJobs } from '../../actors/vm-supervisor/limits.ts'
import type { JobView } from '../../actors/vm-supervisor/protocol.ts'
import { sessionOperations } from '../../guest/agent/limits.ts'
import { type Gate, gateEntry, openGate } from '../harness/gate.ts'
import { rootMarks, withRoot } from '../harness/guest.ts'
import { type ExecOptions, type Ran, refusal, startVm, type Vm } from '../harness/vm.ts'

const files = 300

let vm: Vm
let gate: Gate
const exec = (command: string, options?: ExecOptions): Promise<Ran> => vm.exec(command, options)
/** As root of the guest, in none of its sessions. */
const asRoot = (command: string): Promise<Ran> => exec(`${rootMarks.machine}\n${command}`, { cwd: '/' })

beforeAll(async () => {
  const fewer = { file: 'agent/limits.ts', usual: 'sessionFiles = 250_000', becomes: `sessionFiles = ${files}` }
  vm = await startVm({ sessions: ['one', 'two', 'three', 'crowd', 'closed'], actors: [gateEntry], guest: [...withRoot, fewer] })
  gate = await openGate(vm)
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

it('a thousand commands in the background at once: some run, a command in front and a neighbour do not wait for them, and all end with their session', async () => {
  const ask = async <T>(kind: string, body: object): Promise<T> =>
    (await vm.kernel.test.request('crowd', kind, body, { deadlineMs: null })).body as T
  await exec('true', { session: 'crowd' })
  const { pid } = await vm.status()
  const began = await Promise.all(Array.from({ length: 1_000 }, () => ask<{ job: string }>('job', { command: 'sleep 5417' })))
  expect(new Set(began.map(({ job }) => job)).size).toBe(1_000)
  const running = async () => Number((await asRoot('pgrep -fxc "[s]leep 5417"')).stdout)
  await expect.poll(running).toBe(maxSessionJobs)
  const { jobs } = await ask<{ jobs: JobView[] }>('jobs', {})
  expect(Object.entries(Object.groupBy(jobs, ({ state }) => state)).map(([state, list]) => [state, list.length])).toEqual([
    ['running', maxSessionJobs],
    ['waiting', 1_000 - maxSessionJobs],
  ])
  for (const session of ['crowd', 'two']) expect((await exec('echo at once', { session })).stdout).toBe('at once\n')
  await gate.serves()
  await vm.kernel.test.request('vm', 'detach', { session: 'crowd' })
  await expect.poll(running).toBe(0)
  expect(await vm.status()).toMatchObject({ state: 'ready', pid, restarts: 0 })
})

it('the end of a session takes everything of it along, as root of the guest sees it: processes, mounts, files, kept outputs, its control group', async () => {
  const session = 'closed'
  const { stdout, outputFile } = await exec(
    'id -u; (setsid sleep 4711 > /dev/null 2>&1 &); echo mine > ~/file; echo mine > /tmp/file; seq 1 200000',
    {
      session,
    },
  )
  const uid = /^\d+/.exec(stdout)?.[0]
  expect(outputFile).toMatch(/^\/run\/outputs/)
  const { stdout: home } = await asRoot(`ls -d /scratch/slots/*/sessions/${session}`)
  const slot = home.trim().replace(`/sessions/${session}`, '')
  expect(slot).toMatch(/^\/scratch\/slots\/s\d+$/)
  const traces = [
    `pgrep -u ${uid} | wc -l`,
    `ls -d ${slot} 2> /dev/null | wc -l`,
    `find /scratch /tmp /dev/shm -uid ${uid} | wc -l`,
    `grep -lF ${slot.replace('/scratch', '')}/ /proc/[0-9]*/mountinfo 2> /dev/null | wc -l`,
    `ls ${slot}${outputFile?.replace('/run', '')} 2> /dev/null | wc -l`,
    `ls -d /sys/fs/cgroup/sessions/${slot.split('/').at(-1)} 2> /dev/null | wc -l`,
  ]
  const count = async () => (await asRoot(traces.join('; '))).stdout.trim().split('\n').map(Number)
  for (const found of await count()) expect(found).toBeGreaterThan(0)
  await vm.kernel.test.request('vm', 'detach', { session })
  await expect.poll(count).toEqual(traces.map(() => 0))
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
    const lost = refusal(asRoot(`pkill -9 -f ${pattern}; sleep 10000`))
    await gate.serves()
    const error = await lost
    expect(error).toMatchObject({
      code: 'workspace-unavailable',
      cause: expect.stringContaining('agent'),
      retryAfterMs: expect.any(Number),
    })
    expect((await exec('echo back; id -u')).stdout).toBe('back\n20000\n')
    expect(await vm.status()).toMatchObject({ state: 'ready', restarts: before.restarts + 1, start: 'restored' })
    expect(await vm.left()).toHaveLength(1)
    await gate.hasAll()
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
