/**
 * A hostile session inside the workspace: its neighbours, the machine, the kernel behind the system calls, and every kind of bomb. Each
 * attempt is contained, and the workspace goes on serving.
 */
import { existsSync, readFileSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rootMarks, withRoot } from '../harness/guest.ts'
import { listProcesses } from '../harness/processes.ts'
import { startVm, type Vm } from '../harness/vm.ts'
import { qemuUids } from '../../actors/vm-supervisor/limits.ts'
import { answersOf, attempts, attemptsOfRoot, mark, neighbour, script } from './guest-attempts.ts'

const checkout = new URL('../../', import.meta.url).pathname

let vm: Vm
let answers: Map<number, string>

beforeAll(async () => {
  vm = await startVm({ sessions: ['attacker', 'neighbour'] })
  await vm.exec(neighbour, { session: 'neighbour' })
  const { stdout } = await vm.exec(script(), { session: 'attacker', timeoutMs: 20 * 60_000 })
  answers = answersOf(stdout)
})
afterAll(() => vm?.stop())

describe('contained', () => {
  test.each(attempts.map(({ what }, at) => ({ what, at })))('$what', ({ at }) => {
    const answer = answers.get(at)
    const { contained, not } = attempts[at] as (typeof attempts)[number]
    expect(answer).toMatch(contained)
    if (not) expect(answer).not.toMatch(not)
    expect(answer).not.toContain(mark)
  })

  test('the specification says how many', () => {
    const specification = readFileSync(new URL('../../docs/SPECIFICATION.md', import.meta.url), 'utf8')
    expect(specification).toContain(`${attempts.length} of ${attempts.length} contained`)
    expect(specification).toContain(`${attemptsOfRoot.length} of ${attemptsOfRoot.length} contained as root`)
  })
})

describe('contained, as root of the whole guest', () => {
  let said: Map<number, string>
  beforeAll(async () => {
    const rooted = await startVm({ guest: withRoot })
    try {
      const { stdout } = await rooted.exec(`${rootMarks.machine}\n${script(attemptsOfRoot)}`, { cwd: '/' })
      said = answersOf(stdout)
    } finally {
      await rooted.stop()
    }
  })

  test.each(attemptsOfRoot.map((one, at) => ({ ...one, at })))('$what', ({ at, contained, not }) => {
    expect(said.get(at)).toMatch(contained)
    if (not) expect(said.get(at)).not.toMatch(not)
    for (const ours of [tmpdir(), checkout, hostname()])
      expect(said.get(at)).not.toMatch(new RegExp(`(?<!\\w)${RegExp.escape(ours)}(?!\\w)`))
  })
})

describe('the process of the machine, as the host sees it', () => {
  const of = async (file: string) => readFile(`/proc/${(await vm.status()).pid}/${file}`, 'utf8')

  test('has no capability, no new rights, and the filter of QEMU on', async () => {
    const lines = await of('status')
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(lines).toMatch(new RegExp(`^Cap${set}:\\t0{16}$`, 'm'))
    expect(lines).toMatch(/^NoNewPrivs:\t1$/m)
    expect(lines).toMatch(/^Seccomp:\t2$/m)
    expect(await of('limits')).toMatch(/^Max address space +\d+ +\d+ +bytes/m)
    expect(await of('limits')).toMatch(/^Max core file size +0 +0 /m)
  })

  test('is a user of its own where the supervisor is root, and has a user namespace of its own otherwise', async () => {
    const lines = await of('status')
    const ids = (name: string) => new RegExp(`^${name}:\\t(.*)$`, 'm').exec(lines)?.[1]?.match(/\d+/g)?.map(Number) ?? []
    if (process.getuid?.() !== 0) {
      expect(await readlink(`/proc/${(await vm.status()).pid}/ns/user`)).not.toBe(await readlink('/proc/self/ns/user'))
      return
    }
    const [uid = 0] = ids('Uid')
    expect(qemuUids.some(({ first, count }) => uid >= first && uid < first + count)).toBe(true)
    // Under emulation it needs no device, so no group either.
    expect([ids('Uid'), ids('Gid'), (await vm.status()).accelerator === 'tcg' ? ids('Groups') : []]).toEqual([
      Array(4).fill(uid),
      Array(4).fill(uid),
      [],
    ])
    for (const list of ['passwd', 'group']) expect(readFileSync(`/etc/${list}`, 'utf8')).not.toContain(`:${uid}:`)
    // Nobody else's either: all that runs as this user is this VM.
    const others = listProcesses().filter((one) => userOf(one.pid) === uid && !one.title.includes('qemu-system'))
    expect(others).toEqual([])
  })

  test('shares no namespace with the host but that of its user, and sees no network', async () => {
    const { pid } = await vm.status()
    for (const kind of ['mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'])
      expect(await readlink(`/proc/${pid}/ns/${kind}`), kind).not.toBe(await readlink(`/proc/self/ns/${kind}`))
    const interfaces = (await of('net/dev'))
      .split('\n')
      .slice(2)
      .flatMap((line) => line.trim().split(':')[0] || [])
    expect(interfaces).toEqual(['lo'])
  })

  test('sees programs, the image, its saved memory, and one folder to write in; nothing of the member', async () => {
    const { pid } = await vm.status()
    const inside = `/proc/${pid}/root`
    const files = ['vmlinuz', 'initrd.img', 'root.squashfs', 'saved.raw', 'scratch']
    expect((await readdir(inside)).filter((name) => !/^(usr|lib\w*|s?bin|etc|dev)$/.test(name)).toSorted()).toEqual(files.toSorted())
    expect(await readdir(`${inside}/etc`)).toEqual(expect.not.arrayContaining(['passwd', 'shadow', 'ssh', 'hosts']))
    expect((await readdir(`${inside}/dev`)).toSorted()).toEqual(expect.not.arrayContaining(['sda', 'vda', 'mem', 'input']))
    const mounts = (await of('mountinfo')).split('\n').flatMap((line) => {
      const [, , , , at = '', options = ''] = line.split(' ')
      return at === '' ? [] : [{ at, writable: options.split(',').includes('rw') }]
    })
    const writable = mounts.filter((mount) => mount.writable && !mount.at.startsWith('/dev')).map(({ at }) => at)
    expect(writable.filter((at) => at !== '/')).toEqual(['/scratch'])
    expect(await readdir(`${inside}/scratch`)).toEqual(expect.not.arrayContaining(['memory']))
    for (const path of ['/home', '/proc', '/var', '/run']) expect(existsSync(inside + path), path).toBe(false)
  })

  test('has open what it was given and no other file', async () => {
    const { pid } = await vm.status()
    const open = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
    const files = open.filter((path) => path.startsWith('/') && !path.startsWith('/dev/null') && !path.includes('(deleted)'))
    for (const path of files) expect(path).toMatch(/^\/(root\.squashfs|saved\.raw|scratch\/disk\.raw|dev\/kvm)$|memory$/)
  })
})

/** The effective one; null when it is gone. */
function userOf(pid: number): number | null {
  try {
    return Number(/^Uid:\t\d+\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return null
  }
}

describe('bombs', () => {
  /** What must still work, for the neighbour, while and after somebody misbehaves. */
  const neighbourWorks = async () => {
    expect((await vm.exec('echo works', { session: 'neighbour' })).stdout).toBe('works\n')
    // In the same machine, whose agent has survived: not in a successor.
    expect((await vm.status()).restarts).toBe(0)
  }

  /** A command of the attacker's that goes on until it is ended. */
  function misbehave(command: string): { said(): string; end(): Promise<unknown> } {
    const stop = new AbortController()
    let said = ''
    const running = vm.exec(command, {
      session: 'attacker',
      signal: stop.signal,
      timeoutMs: 10 * 60_000,
      onPart: (part) => {
        if (part.type === 'stdout') said += part.text
      },
    })
    return {
      said: () => said,
      end() {
        stop.abort()
        return running.catch(() => {})
      },
    }
  }

  test('forks: the session runs out of processes, its neighbour does not', async () => {
    const bomb = `perl -e '$| = 1; my $n = 0; while (defined(my $p = fork)) { if (!$p) { sleep 1000 } $n++ } print "$n: $!\\n"; sleep 1000'`
    const attack = misbehave(bomb)
    await expect.poll(attack.said).toMatch(/^\d+: Resource temporarily unavailable/)
    expect(Number.parseInt(attack.said(), 10)).toBeLessThan(512)
    await neighbourWorks()
    await attack.end()
    await expect.poll(async () => (await vm.exec('ps -e | wc -l', { session: 'attacker' })).exitCode).toBe(0)
  })

  test('processor: a session whose processes all spin leaves its neighbour its share', async () => {
    const attack = misbehave('for n in $(seq 24); do while :; do :; done & done; echo spinning; wait')
    await expect.poll(attack.said).toBe('spinning\n')
    await neighbourWorks()
    await attack.end()
    await neighbourWorks()
  })

  test('dead processes nobody waits for: they count as the session’s, and end with their command', async () => {
    const storm = `perl -e '$| = 1; my $n = 0; while (defined(my $p = fork)) { exit 0 if !$p; $n++ } print "$n: $!\\n"; sleep 1000'`
    const attack = misbehave(storm)
    await expect.poll(attack.said).toMatch(/^\d+: Resource temporarily unavailable/)
    expect(Number.parseInt(attack.said(), 10)).toBeLessThan(512)
    await neighbourWorks()
    await attack.end()
    await expect.poll(async () => (await vm.exec('ps -e | grep -c defunct', { session: 'attacker' })).stdout).toBe('0\n')
  })

  test('memory: the command is ended and says why, its session goes on', async () => {
    const bomb = await vm.exec(`perl -e '$x .= "x" x 10_000_000 while 1'`, { session: 'attacker' })
    expect(bomb).toMatchObject({ exitCode: null, signal: 'SIGKILL', oom: true })
    await neighbourWorks()
    expect(await vm.exec('echo on', { session: 'attacker' })).toMatchObject({ stdout: 'on\n', oom: false })
  })

  test('shared memory and /run: small, and full for the session alone', async () => {
    const filled = await vm.exec('head -c 200000000 /dev/zero > /dev/shm/full; rm -f /dev/shm/full; touch /run/x /dev/x', {
      session: 'attacker',
    })
    expect(filled.stderr).toMatch(/no space left/i)
    expect(filled.stderr.match(/permission denied/gi)).toHaveLength(2)
    await neighbourWorks()
  })

  test('disk: the session reaches its quota, its neighbour has room', async () => {
    const filled = await vm.exec('fallocate -l 3G ~/a; fallocate -l 3G ~/b; rm -f ~/a ~/b', { session: 'attacker' })
    expect(filled.stderr).toMatch(/quota exceeded/i)
    expect((await vm.exec('fallocate -l 1G ~/c && rm ~/c && echo room', { session: 'neighbour' })).stdout).toBe('room\n')
  })

  test('a pipe once given to a command, and kept open by its session, carries nobody else’s output', async () => {
    await vm.exec(
      `exec 7< /proc/self/fd/1; setsid sh -c 'exec > /dev/null 2>&1; while :; do timeout 1 cat <&7 >> stolen; done' < /dev/null &`,
      { session: 'attacker' },
    )
    // More than are made at a time.
    for (let i = 0; i < 40; i++) expect((await vm.exec(`echo secret-${i}`, { session: 'neighbour' })).stdout).toBe(`secret-${i}\n`)
    const { stdout } = await vm.exec('cat stolen; pkill -f stolen', { session: 'attacker' })
    expect(stdout).not.toContain('secret')
  })

  test('open files: what the machine has for all of them is not one session’s to use up', async () => {
    // Each process takes all it may, and the machine's usual number is reached by six.
    const each = `while (pipe(my $r, my $w)) { push @all, $r, $w } syswrite $said, "$!\\n"; sleep 1000`
    const bomb = `$| = 1; for (1 .. 7) { pipe(my $heard, my $said); my @all; if (!fork) { ${each} } close $said; print scalar <$heard> } print "settled\\n"; sleep 1000`
    const attack = misbehave(`perl -e '${bomb}'`)
    await expect.poll(attack.said).toMatch(/settled/)
    expect(attack.said()).not.toContain('in system')
    await neighbourWorks()
    await attack.end()
  })

  test('terminals: the session runs out of them, its neighbour does not', async () => {
    const attack = misbehave(
      `perl -e '$| = 1; while (open my $f, "+<", "/dev/ptmx") { push @all, $f } print scalar(@all), " $!\\n"; sleep 1000'`,
    )
    await expect.poll(attack.said).toMatch(/^\d+ No space left on device/)
    expect(Number.parseInt(attack.said(), 10)).toBeLessThan(100)
    expect((await vm.exec(`script -qec 'echo on a terminal' /dev/null`, { session: 'neighbour' })).stdout).toBe('on a terminal\r\n')
    await attack.end()
  })

  test('places for reads and writes that are not waited for (aio): its neighbour has some', async () => {
    const setup = (events: number) =>
      `perl -e '$| = 1; my $id = pack "Q", 0; print syscall(${process.arch === 'arm64' ? 0 : 206}, ${events}, $id) == 0 ? "ready\\n" : "$!\\n"; sleep $ARGV[0]'`
    const attack = misbehave(`${setup(60_000)} 1000`)
    await expect.poll(attack.said).toBe('ready\n')
    expect((await vm.exec(`${setup(20_000)} 0`, { session: 'neighbour' })).stdout).toBe('ready\n')
    await attack.end()
  })

  test('a signal to whoever it can reach is one to itself', async () => {
    const { stdout } = await vm.exec('sleep 1000 & kill -9 -1; wait $!; echo $?', { session: 'attacker' })
    expect(stdout).toBe('137\n')
    // What it began before the others' attempts goes on.
    const asked = await vm.exec('exec 3<>/dev/tcp/127.0.0.1/4242 && echo listens', { session: 'neighbour' })
    expect(asked.stdout).toBe('listens\n')
  })

  test('open files: what one process may have', async () => {
    const { stdout, stderr } = await vm.exec('ulimit -n; ulimit -Hn; ulimit -c; ulimit -n 20000', { session: 'attacker' })
    expect(stdout).toBe('16384\n16384\n0\n')
    expect(stderr).toMatch(/not permitted/)
  })

  test('output: what is too much stays in the workspace, with a note where, and the command still ends', async () => {
    const flood = await vm.exec('yes | head -c 20000000; echo done >&2', { session: 'attacker' })
    expect(flood.exitCode).toBe(0)
    expect(flood.stdout.length).toBeLessThan(9_000_000)
    expect(flood.stderr).toMatch(/\d+ bytes of output are left out here; all of it is in \/run\/outputs\/\d+ in the workspace/)
    expect((await vm.exec(`stat -c %s ${flood.outputFile}`, { session: 'attacker' })).stdout).toBe('20000005\n')
    await neighbourWorks()
  })

  test('output: empty buffers in a command’s pipe, and some larger than a page, are carried like others; the ports go on', async () => {
    const { pid } = await vm.status()
    const [write, splice] = process.arch === 'arm64' ? [64, 76] : [1, 275]
    // From a bad address nothing is written, but a place in the pipe is taken.
    const flood = [
      `my $x = "x" x 65536; socketpair(my $in, my $out, 1, 1, 0) or die; syswrite STDOUT, $x for 1 .. 8`,
      `for (1 .. 200) { syscall(${write}, 1, 8, 4096) for 1 .. $_ % 9; syswrite STDOUT, $x }`,
      `for (1 .. 200) { syscall(${write}, 1, 8, 4096) for 1 .. $_ % 9; syswrite $in, $x; for (my $left = 65536; $left;) { $left -= syscall(${splice}, fileno $out, 0, 1, 0, $left, 0) } }`,
    ].join('; ')
    const { exitCode, outputFile, stdout } = await vm.exec(`perl -e '${flood}'`, { session: 'attacker' })
    expect([exitCode, /^x+$/.test(stdout)]).toEqual([0, true])
    expect((await vm.exec(`stat -c %s ${outputFile}; tr -d x < ${outputFile} | wc -c`, { session: 'attacker' })).stdout).toBe(
      `${408 * 65_536}\n0\n`,
    )
    await neighbourWorks()
    expect((await vm.status()).pid).toBe(pid)
  })

  test('what a session leaves running ends with it, and its user’s files are gone for the next', async () => {
    await vm.exec('(setsid sleep 4711 &) ; echo mine > ~/file', { session: 'attacker' })
    await vm.kernel.test.request('vm', 'detach', { session: 'attacker' })
    await vm.kernel.test.request('vm', 'attach', { session: 'attacker', folders: [] })
    expect((await vm.exec('ls -A ~ /tmp; pgrep -fx "sleep 4711"; id -u', { session: 'attacker' })).stdout).toMatch(
      /^\/sessions\/attacker:\nmnt\n\n\/tmp:\n2\d{4}$/m,
    )
  })
})
