/** One real VM for most of the file: the supervisor in its own process, under its own permissions, killed and hindered in every way. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { findImage } from '../../actors/vm-supervisor/image.ts'
import { chosenMemory } from '../../actors/vm-supervisor/memory-size.ts'
import { connect, gateEntry, openGate } from '../harness/gate.ts'
import { type ExecOptions, imageDir, type Ran, refusal, startVm, type Vm, type VmOptions } from '../harness/vm.ts'

const freeAtFirst = freemem()
let vm: Vm
const status = () => vm.status()
const exec = (command: string, options?: ExecOptions): Promise<Ran> => vm.exec(command, options)

beforeAll(async () => {
  vm = await startVm({
    sessions: ['one', 'two'],
    actors: [gateEntry],
    grants: ['files', 'kept'].map((name) => ({ name, target: 'vm-supervisor', limits: { session: name }, reason: 'test' })),
  })
  await mkdir(join(vm.home, 'data'))
  await writeFile(join(vm.home, 'data', 'sales.csv'), 'region,total\nnorth,3\n')
})

afterAll(async () => {
  await vm?.stop()
  console.log(vm?.kernel.logs.join('\n'))
})

/** A terminal in the session `one`, and what it showed so far. */
function openTerminal(size: { cols: number; rows: number }) {
  const handle = 'terminal'
  let shown = ''
  const ended = vm.kernel.test
    .request('one', 'shell', { handle, ...size }, {
      deadlineMs: null,
      onPart: (part) => {
        const { type, bytes } = part as { type: string; bytes?: Uint8Array }
        if (type === 'output' && bytes) shown += Buffer.from(bytes).toString()
      },
    })
    .then(({ body }) => body) // biome-ignore format: options last
  return {
    handle,
    ended,
    type: (text: string) => vm.kernel.test.request('one', 'input', { handle, bytes: Buffer.from(text) }, { deadlineMs: null }),
    /** What was shown up to there is done with. */
    async sees(pattern: RegExp): Promise<void> {
      await expect.poll(() => shown, { timeout: 60_000 }).toMatch(pattern)
      shown = ''
    },
  }
}

describe('the workspace VM', () => {
  it('boots for the first command, says how it goes, and runs it', async () => {
    expect((await status()).state).toBe('stopped')
    const states: string[] = []
    const result = await exec('echo out; echo err >&2; id -u; exit 3', { onPart: (part) => part.state && states.push(part.state) })
    expect(result).toMatchObject({ exitCode: 3, signal: null, timedOut: false, stdout: 'out\n20000\n', stderr: 'err\n' })
    // Cold the first time with this image and version, from the saved memory later.
    const told = new Set(states)
    for (const state of ['probing', 'image', 'restoring', 'handshake', 'verifying', 'ready']) expect(told).toContain(state)
    expect(told.has('booting')).toBe(told.has('saving'))
    const { state, pid, accelerator, timings, lastError, start } = await status()
    expect({ state, lastError, start }).toEqual({ state: 'ready', lastError: null, start: 'restored' })
    expect(accelerator).not.toBeNull()
    expect(timings['total']).toBeGreaterThan(0)
    expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toContain('qemu-system')
    console.log('boot timings', timings)
  })

  it('has the memory that is free for it on the host, which is what QEMU was given and what the guest sees', async () => {
    const { stdout } = await exec('grep MemTotal /proc/meminfo')
    const { pid, memoryMiB: given } = await status()
    // What was free when it started lies between what was before and what is now.
    const possible = [freeAtFirst, freemem()].map((free) => chosenMemory(null, free))
    expect(given).toBeGreaterThanOrEqual(Math.min(...possible))
    expect(given).toBeLessThanOrEqual(Math.max(...possible))
    expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).toContain(`\0-m\0${given}M\0`)
    // Its kernel keeps some for itself.
    const seen = Number(/(\d+) kB/.exec(stdout)?.[1]) / 1024
    expect(seen).toBeLessThanOrEqual(given ?? 0)
    expect(seen).toBeGreaterThan((given ?? 0) * 0.85)
  })

  it('takes of the host’s memory what its guest has used, not what it may', async () => {
    await exec('true')
    const { pid, memoryMiB, start } = await status()
    expect(start).toBe('restored')
    const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
    // Measured: 320 of 1,024.
    expect(resident / (memoryMiB ?? 0)).toBeLessThan(0.75)
  })

  it('streams as it comes, keeps the working directory, and gives each session its own user', async () => {
    const arrivals: number[] = []
    const began = Date.now()
    await exec('echo a; sleep 1; echo b', { onPart: (part) => part.type === 'stdout' && arrivals.push(Date.now() - began) })
    expect(arrivals.length).toBe(2)
    expect((arrivals[1] ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThan(500)
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    expect((await exec('echo "$TRACEPARENT"', { trace: `00-${traceId}-00f067aa0ba902b7-01` })).stdout).toMatch(
      new RegExp(`^00-${traceId}-[0-9a-f]{16}-01\n$`),
    )
    await exec('cd /tmp')
    expect((await exec('pwd')).stdout).toBe('/tmp\n')
    expect((await exec('id -u', { session: 'two' })).stdout).toBe('20001\n')
  })

  it('tells exit, signal and time limit apart, takes input, sets what it is given, and keeps all of a long output', async () => {
    const handle = 'reads'
    const reading = exec('read -r line; echo "got $line as $KIND"; cat | wc -c', {
      env: { KIND: 'given' },
      handle,
      onPart: ({ type }) => void feed(type),
    })
    async function feed(type: string): Promise<void> {
      if (type !== 'started') return
      for (const [bytes, end] of [['a line\n', false], ['x'.repeat(300_000), true]] as const)
        await vm.kernel.test.request('one', 'input', { handle, bytes: Buffer.from(bytes), end }, { deadlineMs: null })
    } // biome-ignore format: pairs
    expect(await reading).toMatchObject({ exitCode: 0, stdout: 'got a line as given\n300000\n' })
    expect(await exec('kill -9 $$')).toMatchObject({ exitCode: null, signal: 'SIGKILL', timedOut: false, oom: false })
    expect((await exec('echo "[$KIND]"')).stdout).toBe('[]\n')
    const long = await exec('seq 1 200000')
    expect(long.outputFile).toMatch(/^\/run\/outputs\/\d+$/)
    expect(
      (await exec(`seq 1 200000 | cmp - ${long.outputFile} && echo same; rm -f ${long.outputFile}; ls ${long.outputFile}`)).stdout,
    ).toBe(`same\n${long.outputFile}\n`)
    // Pieces that begin and end anywhere in a page, small and large ones.
    const sizes = [1, 4_095, 700_001, 4_097, 2_000_003, 65_536, 3_000_000]
    const uneven = await exec(`head -c 3000000 /dev/urandom > u; for n in ${sizes.join(' ')}; do head -c $n u; done | tee sent`)
    expect((await exec(`cmp sent ${uneven.outputFile} && stat -c %s sent; rm sent u`)).stdout).toBe(`${sizes.reduce((a, b) => a + b)}\n`)
  })

  it('has what agents need, in an image of at most 350 MB', async () => {
    const programs = 'bash awk curl file find git grep gzip jq less node npm patch perl pip3 python3 rg rsync sed tar unzip xz zip'
    const { stdout, stderr } = await exec(
      `for p in ${programs}; do command -v $p > /dev/null || echo missing $p; done; python3 -m pip --version > /dev/null && python3 -m ensurepip --version > /dev/null && python3 -m venv --without-pip ~/v && ~/v/bin/python -c 'print("ready")'`,
    )
    expect(stdout + stderr).toBe('ready\n')
    const image = await findImage({ imageDir, nodeBinary: process.execPath })
    const sizes = Object.values(image?.manifest.files ?? {}).map(({ bytes }) => bytes)
    expect(sizes.length).toBeGreaterThan(2)
    expect(sizes.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(350e6)
  })

  it('runs from the one copy of the image there is, whose files are what its manifest says', async () => {
    const image = await findImage({ imageDir, nodeBinary: process.execPath })
    const files = Object.entries(image?.manifest.files ?? {})
    expect(files.length).toBeGreaterThan(2)
    for (const [name, { sha256 }] of files) {
      const hash = createHash('sha256')
      for await (const chunk of createReadStream(join(image?.dir ?? '', name))) hash.update(chunk as Buffer)
      expect(hash.digest('hex'), name).toBe(sha256)
    }
    await exec('true')
    const seen = await stat(`/proc/${(await status()).pid}/root/root.squashfs`)
    const { ino, dev } = await stat(image?.root ?? '')
    expect([seen.ino, seen.dev]).toEqual([ino, dev])
    const own = await readdir(vm.home, { recursive: true })
    expect(own.filter((path) => /squashfs|vmlinuz/.test(path))).toEqual([])
  })

  it('a terminal: its size, job control, Ctrl-C, its exit code', async () => {
    const terminal = openTerminal({ cols: 80, rows: 24 })
    await terminal.sees(/\$ $/)
    await terminal.type('stty size; tty; echo "[$-]"\r')
    await terminal.sees(/24 80\r\n\/dev\/pts\/\d+\r\n\[.*m.*\]/)
    await vm.kernel.test.request('one', 'resize', { handle: terminal.handle, cols: 132, rows: 50 })
    await terminal.type('while [ "$(stty size)" != "50 132" ]; do :; done; echo resi""zed\r')
    await terminal.sees(/resized/)
    // A loop of the shell's own: one that is about to start a program may miss the key, on any terminal.
    await terminal.type('echo wa""iting; while :; do :; done\r')
    await terminal.sees(/waiting/)
    await terminal.type('\u0003')
    await terminal.type('echo "status $?"\r')
    await terminal.sees(/status 130/)
    await terminal.type('exit 7\r')
    expect(await terminal.ended).toMatchObject({ exitCode: 7, signal: null })
  })

  it('background jobs: names at once, output so far, waiting for the end, ending one', async () => {
    const ask = async <T>(kind: string, body: object): Promise<T> =>
      (await vm.kernel.test.request('one', kind, body, { deadlineMs: null })).body as T
    type Output = { state: string; output: string; ending: { exitCode: number; signal: string } | null; error: { code: string } | null }
    const { job } = await ask<{ job: string }>('job', { command: 'echo early; read -r word; echo "late $word"; exit 5' })
    await expect.poll(async () => (await ask<Output>('job-output', { job })).output, { timeout: 60_000 }).toBe('early\n')
    expect(await ask('jobs', {})).toMatchObject({ jobs: [{ job, state: 'running', ending: null }] })
    await ask('input', { handle: job, bytes: Buffer.from('word\n') })
    const last = await ask<Output>('job-output', { job, waitMs: 60_000 })
    expect(last).toMatchObject({ state: 'ended', output: 'late word\n', ending: { exitCode: 5 } })
    let long = ''
    // At once, so that some are hit before they have begun.
    for (let at = 0; at < 5; at++) {
      long = (await ask<{ job: string }>('job', { command: 'sleep 5000' })).job
      await expect.poll(async () => (await ask<Output>('job-output', { job: long })).state, { timeout: 60_000 }).toBe('running')
      await ask('signal', { handle: long, signal: 'SIGKILL' })
      expect(await ask('job-output', { job: long, waitMs: 60_000 })).toMatchObject({ state: 'ended', ending: { signal: 'SIGKILL' } })
    }
    // Another session's are not there.
    expect((await refusal(vm.kernel.test.request('two', 'job-output', { job: long }))).code).toBe('not-found')
    expect((await exec('pgrep -fx "sleep 5000" | wc -l')).stdout).toBe('0\n')
  })

  it('shows the connected folder through its gate, both ways, until it is revoked', async () => {
    const grant = await connect(vm, 'files', join(vm.home, 'data'))
    const folder = '/sessions/files/mnt/data'
    expect(await exec(`cat ${folder}/sales.csv && echo done > ${folder}/report.md`, { session: 'files' })).toMatchObject({
      exitCode: 0,
      stdout: 'region,total\nnorth,3\n',
      stderr: '',
    })
    expect(await readFile(join(vm.home, 'data', 'report.md'), 'utf8')).toBe('done\n')
    expect((await exec(`ls ${folder}`, { session: 'one' })).exitCode).not.toBe(0)
    // A program that has a file open, and is told at its next write.
    let held: () => void = () => {}
    const isHeld = new Promise<void>((resolve) => {
      held = resolve
    })
    const holder = exec(
      `python3 - <<'PY'
import os, time
f = os.open('${folder}/report.md', os.O_RDWR | os.O_APPEND)
print('held', flush=True)
while True:
    try: os.write(f, b'x'); os.fsync(f); time.sleep(0.05)
    except OSError as e: print(e.strerror); break
PY`,
      { session: 'files', onPart: ({ type }) => type === 'stdout' && held() },
    )
    await Promise.race([isHeld, holder])
    await vm.kernel.test.request('kernel', 'revoke', { grant })
    expect((await holder).stdout).toBe('held\nPermission denied\n')
    const after = await exec(`cat ${folder}/report.md; echo x > ${folder}/late`, { session: 'files' })
    expect(after.stderr).toMatch(/Permission denied/)
    expect(after.stdout).toBe('')
    expect((await readdir(join(vm.home, 'data'))).toSorted()).toEqual(['report.md', 'sales.csv'])
  })

  it('runs commands side by side and passes on a megabyte unharmed', async () => {
    const [flood, quick] = await Promise.all([exec('head -c 1000000 /dev/zero | tr "\\0" x'), exec('echo quick', { session: 'two' })])
    expect(flood.stdout).toBe('x'.repeat(1_000_000))
    expect(quick.stdout).toBe('quick\n')
  })

  it('ends a command at its time limit, and the process tree of one that is cancelled', async () => {
    expect(await exec('sleep 60', { timeoutMs: 500 })).toMatchObject({ timedOut: true })
    const abort = new AbortController()
    const onPart = ({ type }: { type: string }) => type === 'stdout' && abort.abort()
    const cancelled = refusal(exec('sleep 4711 & echo runs; sleep 4711', { signal: abort.signal, onPart }))
    expect((await cancelled).code).toBe('cancelled')
    await expect.poll(async () => (await exec('pgrep -fx "sleep 4711" | wc -l')).stdout).toBe('0\n')
  })

  it('refuses at once what ran when QEMU is killed; the next command works in the same session', async () => {
    const { pid } = await status()
    const onPart = ({ type }: { type: string }) => type === 'stdout' && process.kill(pid as number, 'SIGKILL')
    const error = await refusal(exec('echo runs; sleep 60', { onPart }))
    expect(error).toMatchObject({ code: 'workspace-unavailable', cause: expect.stringContaining('SIGKILL') })
    expect(error.retryAfterMs).toBeGreaterThan(0)
    expect(await exec('echo back; id -u')).toMatchObject({ exitCode: 0, stdout: 'back\n20000\n' })
    expect(await status()).toMatchObject({ state: 'ready', restarts: 1 })
  })

  it('starts anew when QEMU ends by itself', async () => {
    const before = (await status()).restarts
    const { pid } = await status()
    process.kill(pid as number, 'SIGTERM')
    await expect.poll(async () => (await status()).restarts).toBe(before + 1)
    expect((await exec('echo again')).stdout).toBe('again\n')
  })

  it('mounts the folders of a session again after kill -9, and after a stop and a start from the saved memory', async () => {
    const root = join(vm.home, 'lasting')
    await mkdir(root)
    await writeFile(join(root, 'mine'), 'first')
    await connect(vm, 'kept', root)
    let held: () => void = () => {}
    const isHeld = new Promise<void>((resolve) => {
      held = resolve
    })
    const command = `cd ~/mnt/data && exec 3<>mine && echo -n 'by a program' > made && echo held && sleep 5000`
    const holder = refusal(exec(command, { session: 'kept', onPart: ({ type }) => type === 'stdout' && held() }))
    await Promise.race([isHeld, holder])
    const { pid } = await status()
    process.kill(pid as number, 'SIGKILL')
    expect((await holder).code).toBe('workspace-unavailable')
    // What was written before its end is there; what happens on the device meanwhile is seen; and what is written goes there.
    await writeFile(join(root, 'mine'), 'second')
    const use = (text: string) => exec(`cd ~/mnt/data && cat mine made && echo -n '${text}' > made`, { session: 'kept' })
    expect(await use('after the kill')).toMatchObject({ exitCode: 0, stdout: 'secondby a program', stderr: '' })
    expect((await status()).pid).not.toBe(pid)
    await vm.kernel.test.request('vm', 'stop', {})
    await writeFile(join(root, 'mine'), 'third')
    expect(await use('after the stop')).toMatchObject({ exitCode: 0, stdout: 'thirdafter the kill', stderr: '' })
    expect((await status()).start).toBe('restored')
    expect(await readFile(join(root, 'made'), 'utf8')).toBe('after the stop')
  })

  it('restarts on request and stops without leaving a process', async () => {
    const before = (await status()).pid
    await vm.kernel.test.request('vm', 'restart', {}, { deadlineMs: null })
    const after = await status()
    expect(after.state).toBe('ready')
    expect(after.pid).not.toBe(before)
    await vm.kernel.test.request('vm', 'stop', {})
    expect(await status()).toMatchObject({ state: 'stopped', pid: null })
    expect(await vm.left()).toEqual([])
  })

  it('is another machine after each start: its id, its random numbers, its time; its home is empty', async () => {
    const look = 'cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid; date +%s; ls -A ~'
    const looks: string[][] = []
    for (let at = 0; at < 2; at++) {
      const { stdout } = await exec(look)
      const lines = stdout.trim().split('\n')
      expect(Math.abs(Number(lines[3]) * 1000 - Date.now())).toBeLessThan(60_000)
      expect(lines[4]).toBe('mnt')
      looks.push(lines)
      await exec('echo mine > ~/file')
      expect((await status()).start).toBe('restored')
      await vm.kernel.test.request('vm', 'stop', {})
    }
    for (const line of [0, 1, 2]) expect(looks[0]?.[line]).not.toBe(looks[1]?.[line])
    expect(looks[0]?.[0]).toMatch(/^[0-9a-f]{32}$/)
  })

  it('leaves nothing behind when the supervisor stops', async () => {
    await vm.kernel.test.request('vm', 'start', {}, { deadlineMs: null })
    const { pid } = await status()
    await vm.kernel.stop()
    await expect.poll(() => vm.left()).toEqual([])
    expect(pid).toBeGreaterThan(0)
  })
})

/** A VM of its own, ended with the test. */
async function another(params: Record<string, unknown>, grants: VmOptions['grants'] = []): Promise<Vm> {
  const own = await startVm({ params, grants, actors: [gateEntry] })
  onTestFinished(() => own.stop())
  return own
}

describe('nobody uses it', () => {
  it('stands still, its processors too, and goes on with the next command where it was', async () => {
    const grants = [{ name: 'files', target: 'vm-supervisor', limits: { session: 'files' }, reason: 'test' }]
    const own = await another({ timers: { pauseAfterMs: 300 } }, grants)
    const root = join(own.home, 'data')
    await mkdir(root)
    for (const name of ['changes', 'goes']) await writeFile(join(root, name), 'first')
    const grant = await connect(own, 'files', root)
    const inFolder = (command: string) => own.exec(`cd /sessions/files/mnt/data && ${command}`, { session: 'files' })
    expect(await inFolder('cat changes goes; echo -n made > made')).toMatchObject({ stdout: 'firstfirst', stderr: '' })
    await own.exec('echo kept > ~/file; cd /tmp')
    await expect.poll(async () => (await own.status()).state).toBe('paused')
    const { pid } = await own.status()
    const ticks = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ').slice(11, 13).join()
    const before = await ticks()
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await ticks()).toBe(before)
    // What happens to a connected folder meanwhile is seen by who looks next.
    expect(await readFile(join(root, 'made'), 'utf8')).toBe('made')
    await writeFile(join(root, 'changes'), 'changed meanwhile')
    await writeFile(join(root, 'comes'), '')
    await rm(join(root, 'goes'))
    expect(await own.exec('pwd; cat ~/file')).toMatchObject({ stdout: '/tmp\nkept\n' })
    expect(await inFolder('cat changes; echo; ls; echo -n again > made')).toMatchObject({
      stdout: 'changed meanwhile\nchanges\ncomes\nmade\n',
      stderr: '',
    })
    expect(await own.status()).toMatchObject({ pid, restarts: 0 })
    expect(await readFile(join(root, 'made'), 'utf8')).toBe('again')

    await expect.poll(async () => (await own.status()).state).toBe('paused')
    await own.kernel.test.request('kernel', 'revoke', { grant })
    const after = await inFolder('cat changes; echo -n late > made')
    expect(after).toMatchObject({ stdout: '' })
    expect(after.stderr).toMatch(/Permission denied|No such file/)
    expect(await readFile(join(root, 'made'), 'utf8')).toBe('again')
    expect(await own.status()).toMatchObject({ pid, restarts: 0 })
  })
})

describe('QEMU stands still', () => {
  it('is noticed by its silence, and started anew', async () => {
    const own = await another({ timers: { pingEveryMs: 500, pingSilentMs: 20_000, freshMs: 0 } })
    const gate = await openGate(own)
    let begun: () => void = () => {}
    const runs = new Promise<void>((resolve) => {
      begun = resolve
    })
    const lost = refusal(own.exec('echo begun; sleep 10000', { onPart: ({ type }) => type === 'stdout' && begun() }))
    await Promise.race([runs, lost])
    const { pid } = await own.status()
    process.kill(pid as number, 'SIGSTOP')
    await gate.serves()
    // What ran in it is refused; what it never got runs in its successor.
    const [error, next] = await Promise.all([lost, own.exec('echo again')])
    expect(error).toMatchObject({ code: 'workspace-unavailable', cause: expect.stringMatching(/answering/) })
    expect(next.stdout).toBe('again\n')
    const now = await own.status()
    expect(now).toMatchObject({ state: 'ready', restarts: 1 })
    expect(now.pid).not.toBe(pid)
    await expect.poll(() => own.left()).toEqual([String(now.pid)])
    await gate.hasAll()
  })
})

describe('a saved memory that does not work', () => {
  it('is noticed, discarded, and the command runs after a start from nothing', async () => {
    // The same image, by hard links, with saved memories of its own.
    const images = await mkdtemp(join(tmpdir(), 'bulkhead-images-'))
    onTestFinished(() => rm(images, { recursive: true, force: true }))
    const { name } = (await status().catch(() => null))?.image ?? { name: await newest(imageDir) }
    await promisify(execFile)('cp', ['-a', '--link', join(imageDir, name), join(images, name)])
    // Their dates tell which was used last: linked, other machines of this user would change them.
    for (const manifest of await manifests(join(images, name, 'snapshots'))) {
      await copyFile(manifest, `${manifest}.new`)
      await rename(`${manifest}.new`, manifest)
    }
    const own = await another({ imageDir: images })
    await own.exec('true')
    await own.kernel.test.request('vm', 'stop', {})
    const folder = join(images, name, 'snapshots')
    // Others may be there, of other versions: the one just used bears the latest date.
    const key = await newest(folder)
    const memory = join(folder, key, 'memory')
    // A copy first: the file is linked to everybody's. Then its middle is spoilt, behind the back of what is compared at a start.
    const { mtime, size } = await stat(memory)
    await promisify(execFile)('cp', ['--remove-destination', memory, `${memory}.new`])
    await promisify(execFile)('mv', [`${memory}.new`, memory])
    const file = await open(memory, 'r+')
    for (let at = 4096; at < size - 1024 * 1024; at += 64 * 1024) await file.write(Buffer.alloc(4096, 0xa5), 0, 4096, at)
    await file.close()
    await utimes(memory, mtime, mtime)
    const gate = await openGate(own)
    const states: string[] = []
    const served: Promise<void>[] = []
    const told = (state: string | undefined): void => {
      if (state === undefined) return
      states.push(state)
      served.push(gate.serves())
    }
    expect((await own.exec('echo works', { onPart: ({ state }) => told(state) })).stdout).toBe('works\n')
    await Promise.all(served)
    await gate.hasAll()
    // Said as it was: tried, failed, from nothing; and no process is left of what was tried.
    expect(states.filter((state) => ['restoring', 'recovering', 'booting', 'ready'].includes(state))).toEqual(
      expect.arrayContaining(['restoring', 'recovering', 'booting', 'ready']),
    )
    expect(await own.status()).toMatchObject({ state: 'ready', start: 'restored' })
    expect(await own.left()).toHaveLength(1)
    expect(own.kernel.logs.join('\n')).toMatch(/a saved memory did not work and is discarded/)
  })
})

/** Images, and what is saved of one, note their last use. */
const manifests = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => /^[0-9a-f]{24}$/.test(name)).map((name) => join(folder, name, 'manifest.json'))

async function newest(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => /^[0-9a-f]{24}$/.test(name))
  const times = await Promise.all(names.map(async (name) => ({ name, used: (await stat(join(folder, name, 'manifest.json'))).mtimeMs })))
  return times.toSorted((a, b) => b.used - a.used)[0]?.name ?? ''
}

describe('switched off', () => {
  it('refuses at once, with a reason', async () => {
    const own = await another({ vm: 'off' })
    const error = await refusal(own.exec('true'))
    expect(error).toMatchObject({ code: 'workspace-unavailable', cause: 'BULKHEAD_VM=off' })
    expect(await own.status()).toMatchObject({ state: 'off', pid: null })
  })
})
