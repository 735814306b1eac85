import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ensureReady } from './ensure.js'
import { pinnedNode } from './pinned-node.js'
import { setupPlaces } from './places.js'
import { systemPackages } from './requirements.js'
import { readStamp } from './stamp.js'

/** A made-up checkout with one package, and a folder of programs that is all of PATH. */
let root: string
let programs: string
let notes: string[]
const node = pinnedNode('/')

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'bulkhead-setup-'))
  programs = join(root, 'programs')
  notes = []
  mkdirSync(programs)
  writeLock('1.0.0')
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(root, { recursive: true, force: true })
})

function writeLock(version: string): void {
  const packages = { '': {}, 'node_modules/left': { version }, [`node_modules/${node?.package}`]: { version: '26.0.0', optional: true } }
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages }))
}

/** A program that notes its call and does what the shell text says. */
function program(name: string, text: string): void {
  const path = join(programs, name)
  writeFileSync(path, `#!/bin/sh\necho "${name} $*" >> '${root}/calls'\n${text}\n`)
  chmodSync(path, 0o755)
}

/** What `npm ci` leaves behind. */
const workingNpm = (): string => {
  const binary = pinnedNode(root)?.path ?? ''
  return `cd '${root}' && /bin/rm -rf node_modules && /bin/mkdir -p node_modules/left "$(/usr/bin/dirname '${binary}')" node_modules/${node?.package} &&
    echo '{}' > node_modules/left/package.json && echo '{}' > node_modules/${node?.package}/package.json && echo > '${binary}' &&
    /bin/cp package-lock.json node_modules/.package-lock.json`
}

function calls(): string[] {
  return existsSync(join(root, 'calls')) ? readFileSync(join(root, 'calls'), 'utf8').trim().split('\n') : []
}

function request(more: Partial<Parameters<typeof ensureReady>[0]> = {}): Parameters<typeof ensureReady>[0] {
  const step = { phase() {}, detail() {}, done() {}, fail: (text: string) => void notes.push(text) }
  const progress = { step: () => step, note: (text: string) => void notes.push(text) }
  return { root, env: { PATH: programs, XDG_CACHE_HOME: root }, progress, workspace: false, ...more }
}

describe('npm packages', () => {
  test('are installed once', async () => {
    program('npm', workingNpm())
    await ensureReady(request())
    await ensureReady(request())
    expect(calls()).toHaveLength(1)
    expect(calls()[0]).toMatch(/^npm ci --include=dev --include=optional/)
  })

  test('are installed again when the lock file changes', async () => {
    program('npm', workingNpm())
    await ensureReady(request())
    writeLock('1.0.1')
    await ensureReady(request())
    expect(calls()).toHaveLength(2)
  })

  test('that someone installed themselves are accepted', async () => {
    program('npm', workingNpm())
    await ensureReady(request())
    rmSync(setupPlaces(root).stamp)
    await ensureReady(request())
    expect(calls()).toHaveLength(1)
  })

  test('an interrupted installation is repeated', async () => {
    program('npm', workingNpm())
    await ensureReady(request())
    writeLock('1.0.1')
    program('npm', `/bin/rm -rf '${root}/node_modules'; /bin/mkdir -p '${root}/node_modules/left'; kill -9 $$`)
    await expect(ensureReady(request())).rejects.toMatchObject({ fault: { code: 'setup-failed' } })
    program('npm', workingNpm())
    await ensureReady(request())
    expect(calls()).toHaveLength(3)
    expect(readStamp(setupPlaces(root).stamp).npm).toBeDefined()
  })

  const failures: [string, string, RegExp][] = [
    ['no network', 'npm error code ENOTFOUND', /network/],
    ['no space', 'npm error code ENOSPC', /disk space/],
    ['lock file out of step', 'npm error code EUSAGE', /disagree/],
    ['not allowed', 'npm error code EACCES', /owner/],
    ['unknown', 'npm error strange', /npm\.log/],
  ]
  test.each(failures)('a failure says what to do: %s', async (_name, text, remedy) => {
    program('npm', `echo '${text}' >&2; exit 1`)
    await expect(ensureReady(request())).rejects.toMatchObject({
      fault: {
        code: 'setup-failed',
        cause: expect.stringContaining(text.replace('npm error ', '')),
        remedy: expect.stringMatching(remedy),
      },
    })
  })

  test('an npm that silently leaves out the pinned Node is a failure', async () => {
    program('npm', `/bin/mkdir -p '${root}/node_modules'`)
    await expect(ensureReady(request())).rejects.toMatchObject({ fault: { cause: expect.stringContaining(node?.package ?? '') } })
  })

  test('two at once: one installs, the other waits and finds it done', async () => {
    program('npm', `${workingNpm()}; /bin/sleep 0.4`)
    await Promise.all([ensureReady(request()), ensureReady(request())])
    expect(calls()).toHaveLength(1)
    expect(notes.join('\n')).toContain(`waiting for another set-up of this checkout (pid ${process.pid}`)
  })

  test('the model key does not reach the programs of set-up', async () => {
    program('npm', `echo "key:$ANTHROPIC_API_KEY." >> '${root}/seen'; ${workingNpm()}`)
    await ensureReady(request({ env: { PATH: programs, ANTHROPIC_API_KEY: 'made-up' } }))
    expect(readFileSync(join(root, 'seen'), 'utf8')).toBe('key:.\n')
  })

  test('an npm that takes its time to stop does not hold up an interruption', async () => {
    program('npm', `trap '' TERM; echo started > '${root}/started'; while :; do /bin/sleep 0.05; done`)
    const interruption = new AbortController()
    const running = ensureReady(request({ signal: interruption.signal }))
    const ended = expect(running).rejects.toThrow()
    while (!existsSync(join(root, 'started'))) await new Promise((resolve) => setTimeout(resolve, 5))
    interruption.abort()
    await ended
  })

  test('can be interrupted, and the lock is free afterwards', async () => {
    program('npm', `echo started > '${root}/started'; exec /bin/sleep 60`)
    const interruption = new AbortController()
    const running = ensureReady(request({ signal: interruption.signal }))
    const ended = expect(running).rejects.toThrow()
    while (!existsSync(join(root, 'started'))) await new Promise((resolve) => setTimeout(resolve, 5))
    interruption.abort()
    await ended
    expect(existsSync(setupPlaces(root).lock)).toBe(false)
  })
})

test('a page that cannot be built is told whole, because everything else goes on', async () => {
  program('npm', workingNpm())
  await ensureReady(request())
  const binary = pinnedNode(root)?.path ?? ''
  writeFileSync(binary, '#!/bin/sh\necho "main.tsx: Expected an identifier" >&2; exit 1\n', { mode: 0o755 })
  chmodSync(binary, 0o755)
  expect(await ensureReady(request({ page: true }))).toEqual({ workspace: { ok: true } })
  const told = notes.join('\n')
  expect(told).toContain('The page could not be built. [setup-failed]')
  expect(told).toContain('main.tsx: Expected an identifier')
  expect(told).toMatch(/What to do: .*page\.log/)
})

describe.skipIf(process.platform !== 'linux')('Debian packages', () => {
  beforeEach(() => {
    program('npm', workingNpm())
    // Whoever runs the tests: what set-up would do as root, without any privilege.
    vi.spyOn(process, 'getuid').mockReturnValue(0)
    program('env', 'while [ "${1#*=}" != "$1" ]; do shift; done; exec "$@"')
  })

  test('apt-get that fails: code, cause, remedy; the rest is set up', async () => {
    program('apt-get', 'echo "E: Something broke" >&2; exit 100')
    const { workspace } = await ensureReady(request({ workspace: true }))
    expect(workspace).toMatchObject({
      ok: false,
      fault: {
        code: 'setup-failed',
        cause: expect.stringMatching(/ended with code 100:\nE: Something broke/),
        remedy: expect.stringContaining('apt-get'),
      },
    })
    expect(readStamp(setupPlaces(root).stamp).npm).toBeDefined()
  })

  const failures: [string, string, RegExp][] = [
    ['another apt at work', 'E: Could not get lock /var/lib/dpkg/lock-frontend', /Another program/],
    ['no network', "E: Failed to fetch x  Temporary failure resolving 'deb.example'", /network/],
    ['no space', 'E: You do not have enough free space in /var/cache/apt/archives/.', /disk space/],
    ['unknown package', 'E: Unable to locate package qemu-system-x86', /universe/],
  ]
  test.each(failures)('a failure says what to do: %s', async (_name, text, remedy) => {
    program('apt-get', `echo "${text}" >&2; exit 100`)
    const { workspace } = await ensureReady(request({ workspace: true }))
    expect(workspace).toMatchObject({
      ok: false,
      fault: { code: 'setup-failed', cause: expect.stringContaining(text), remedy: expect.stringMatching(remedy) },
    })
  })

  test('a failure is not repeated at each start, but at once when asked', async () => {
    program('apt-get', 'exit 100')
    const tries = (): number => calls().filter((call) => call.includes('apt-get') && call.startsWith('apt-get')).length
    await ensureReady(request({ workspace: true }))
    const first = tries()
    expect(await ensureReady(request({ workspace: true }))).toMatchObject({ workspace: { ok: false } })
    expect(tries()).toBe(first)
    await ensureReady(request({ workspace: true, retry: true }))
    expect(tries()).toBe(2 * first)
  })

  test('a failure is forgotten once somebody has installed what was missing', async () => {
    program('apt-get', 'exit 100')
    const failed = await ensureReady(request({ workspace: true }))
    expect(failed).toMatchObject({ workspace: { fault: { message: expect.stringContaining('Debian packages') } } })
    for (const { shows } of systemPackages()) if ('command' in shows) program(shows.command, '')
    const { workspace } = await ensureReady(request({ workspace: true }))
    // The next step is begun; there is nothing to build an image with here.
    expect(workspace).toMatchObject({ ok: false, fault: { message: expect.not.stringContaining('Debian packages') } })
    expect(readStamp(setupPlaces(root).stamp).postponed).toMatchObject({ step: 'image' })
  })

  test('stale package lists are fetched again before giving up', async () => {
    program(
      'apt-get',
      `case "$*" in *update*) exit 0;; esac; if [ -e '${root}/twice' ]; then exit 7; fi; echo > '${root}/twice'; echo "E: Unable to locate package x"; exit 100`,
    )
    await ensureReady(request({ workspace: true }))
    const verbs = calls().flatMap((call) => (call.startsWith('apt-get') ? [call.includes('update') ? 'update' : 'install'] : []))
    expect(verbs.slice(-2)).toEqual(['update', 'install'])
  })

  test('without root, but with sudo: through sudo, which is not let wait for a password', async () => {
    vi.mocked(process.getuid ?? (() => 0)).mockReturnValue(1000)
    program('sudo', 'if [ "$*" = "-n true" ]; then exit 0; fi; shift; exec "$@"')
    program('apt-get', 'exit 100')
    await ensureReady(request({ workspace: true }))
    expect(
      calls()
        .filter((call) => call.startsWith('sudo'))
        .every((call) => call.startsWith('sudo -n ')),
    ).toBe(true)
    expect(calls().some((call) => /^sudo -n env .* apt-get /.test(call))).toBe(true)
  })

  test.each([
    ['no sudo', null],
    ['a sudo that wants a password', 'echo "sudo: a password is required" >&2; exit 1'],
  ])('without root and %s: the command for someone who is', async (_name, sudo) => {
    vi.mocked(process.getuid ?? (() => 0)).mockReturnValue(1000)
    if (sudo) program('sudo', sudo)
    program('apt-get', 'exit 100')
    const { workspace } = await ensureReady(request({ workspace: true }))
    expect(workspace).toMatchObject({
      ok: false,
      fault: { remedy: expect.stringMatching(/^As root: apt-get install .*uidmap.*mmdebstrap/) },
    })
    expect(calls().some((call) => call.startsWith('apt-get'))).toBe(false)
  })

  test('without apt-get: which packages to install', async () => {
    const { workspace } = await ensureReady(request({ workspace: true }))
    expect(workspace).toMatchObject({ ok: false, fault: { remedy: expect.stringContaining('mmdebstrap') } })
  })
})

describe('the command', () => {
  const repository = join(import.meta.dirname, '..')

  test('a failed set-up ends 3, with the fault on stderr and a result as the last line of --json', async () => {
    for (const name of ['bin', 'setup']) cpSync(join(repository, name), join(root, name), { recursive: true })
    symlinkSync(process.execPath, join(programs, 'node'))
    program('npm', 'echo "npm error code ENOTFOUND" >&2; exit 1')
    const child = spawn(process.execPath, [join(root, 'bin', 'bulkhead'), 'run', '--json', 'hello'], { env: { PATH: programs } })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => void (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => void (err += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number]
    expect(code).toBe(3)
    expect(err).toMatch(/\[setup-failed\]\n {2}Cause: [^]*ENOTFOUND[^]*\n {2}What to do: Check the network/)
    const events = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    expect(events).toMatchObject([
      { seq: 1, type: 'error', error: { code: 'setup-failed' } },
      { seq: 2, type: 'result', status: 'failed', toolCalls: 0 },
    ])
  })
})
