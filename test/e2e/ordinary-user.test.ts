/**
 * The product as an ordinary user runs it. Where the suite is root's, the daemon and its actors are started as another user, with and without
 * the right to make namespaces; anybody else runs every other test as one.
 */
import { spawnSync } from 'node:child_process'
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { InspectReport } from '../../kernel/inspect.ts'
import type { DoctorReport } from '../../setup/doctor-report.ts'
import { checkout, type Home, openHome } from '../harness/product.ts'

/** `nobody` of every Linux. */
const user = 65_534
const asUser = ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', '--']
/** In a user namespace that lets no other be made in it. */
const withoutNamespaces = [...asUser, 'bwrap', '--unshare-user', '--disable-userns', '--dev-bind', '/', '/', '--']

/** Whether this one may become that user, who may read the checkout: containers and private folders may stand in the way. */
function works(wrapper: readonly string[]): boolean {
  const [command, ...words] = [...wrapper, process.execPath, join(checkout, 'client', 'main.ts'), '--version']
  return process.getuid?.() === 0 && spawnSync(command, words, { cwd: '/', env: {} }).status === 0
}

let home: Home | null = null
let own: string | null = null
afterEach(async () => {
  await home?.close()
  home = null
  if (own !== null) rmSync(own, { recursive: true, force: true })
})

/** A home that is the user's from its first folder on. */
function homeOf(wrapper: readonly string[]): Home {
  own = mkdtempSync(join(tmpdir(), 'bulkhead-user-'))
  chownSync(own, user, user)
  home = openHome({ entry: 'client', wrapper, env: { BULKHEAD_VM: 'off', HOME: own, TMPDIR: own } })
  give(home.dir)
  return home
}

function give(path: string): void {
  chownSync(path, user, user)
  for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' })) chownSync(join(path, name), user, user)
}

async function writes(by: Home): Promise<void> {
  const folder = by.folder('notes')
  give(folder)
  const run = await by.prompt('Write "buy twine" to errands.txt', ['--folder', folder, '--approve', 'all'])
  expect(run.code, run.story).toBe(0)
  expect(readFileSync(join(folder, 'errands.txt'), 'utf8').trim()).toBe('buy twine')
  expect(statSync(join(folder, 'errands.txt')).uid).toBe(user)
}

/** Those in a process, all of them the user's. */
async function processActors(by: Home): Promise<InspectReport['actors']> {
  const actors = (await by.inspect()).actors.filter(({ placement }) => placement === 'process')
  expect(actors.map(({ id }) => id)).toEqual(
    expect.arrayContaining(['egress', 'gateway', 'mcp-host', 'policy', 'telemetry', 'vm-supervisor']),
  )
  for (const { id, pid, state, memory, facts } of actors) {
    expect(state, id).toBe('running')
    expect(statSync(`/proc/${pid}`).uid, id).toBe(user)
    expect(memory, id).toMatchObject({ watched: true, heldMiB: expect.any(Number) as number })
    expect(facts, id).toMatchObject({ 'fs.read': false, 'fs.write': false, worker: false, env: false })
  }
  return actors
}

async function checkOf(by: Home, wanted: string): Promise<DoctorReport['checks'][number] | undefined> {
  const { stdout } = await by.call(['doctor', '--json'])
  return (JSON.parse(stdout) as DoctorReport).checks.find(({ name }) => name === wanted)
}

test.skipIf(!works(asUser))('every actor runs as that user, in its jail, and a file is written in a connected folder', async () => {
  const it = homeOf(asUser)
  await writes(it)
  const actors = await processActors(it)
  expect(actors.some(({ id }) => id.startsWith('fs-gate:'))).toBe(true)
  const check = await checkOf(it, 'jail of actors')
  for (const { id, jail } of actors)
    if (check?.level === 'ok' && !['policy', 'vm-supervisor'].includes(id)) expect(jail, id).toEqual({ ok: true, why: null })
  expect(check?.detail).toMatch(/^bwrap|^actors run under Node's permissions alone: /)
})

test.skipIf(!works(withoutNamespaces))(
  'without the right to make namespaces the same works; inspect and doctor say that there is no jail, and why',
  async () => {
    const it = homeOf(withoutNamespaces)
    await writes(it)
    for (const { id, jail } of await processActors(it)) {
      expect(jail?.ok, id).toBe(false)
      if (!['policy', 'vm-supervisor'].includes(id)) expect(jail?.why, id).toMatch(/bwrap: .*namespace/)
    }
    expect(await checkOf(it, 'jail of actors')).toMatchObject({
      ok: true,
      level: 'info',
      detail: expect.stringMatching(/permissions alone: bwrap: .*namespace/) as string,
      remedy: expect.stringContaining('user namespaces') as string,
    })
  },
)
