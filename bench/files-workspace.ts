/**
 * Connected folders in the workspace: the same programs on a folder behind its gate, on one that QEMU exports by itself (`peer-folder.ts`), in
 * the cache mode of the product and without a cache, and on one whose gate is in this process, which is as fast as the port and what carries it in the
 * guest let any gate be; and how soon a change on one side is seen on the other.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { folderStalenessMs } from '../guest/wire.ts'
import { openHome } from '../test/harness/product.ts'
import { say, startScriptedServer, use } from '../test/harness/scripted-messages-server.ts'
import { type Export, type PeerFolder, startPeerFolder } from './peer-folder.ts'
import { atLeastTimesPeer, atMost, atMostTimesPeer, figure, type Figure, reported, type Samples, type Target } from './report.ts'
import { alternate, type Sampler } from './sampling.ts'

type Size = { files: number; gitFiles: number; mib: number }
type Work = 'small' | 'git' | 'write' | 'read'
const peers = {
  'cache=mmap,directio': { by: 'qemu', cache: 'mmap,directio' },
  'cache=none': { by: 'qemu', cache: 'none' },
  'a gate with nothing between it and the port': { by: 'gate' },
} as const satisfies Record<string, Export>
type Peer = keyof typeof peers
const peerNames = Object.keys(peers) as Peer[]
const deadlineMs = 590_000

export async function inWorkspace(size: Size, told: (text: string) => void): Promise<Figure[]> {
  const server = await startScriptedServer()
  const home = openHome({ env: { ANTHROPIC_BASE_URL: server.baseUrl, ANTHROPIC_API_KEY: 'sk-ant-made-up' } })
  const folder = home.folder('work')
  const machines = new Map<Peer, Promise<PeerFolder>>()
  const ours = async (command: string): Promise<string> => {
    server.script([[use('Bash', { command, timeout: deadlineMs }, 'toolu_bench')], [say('done')]])
    const run = await home.prompt('go', ['--folder', folder, '--approve', 'all'], { deadlineMs: deadlineMs + 50_000 })
    const said = run.results.find(({ id }) => id === 'toolu_bench')?.output
    return typeof said === 'string' ? said : run.story
  }
  const machineOf = (peer: Peer): Promise<PeerFolder> => {
    const known = machines.get(peer)
    if (known) return known
    const started = (async () => {
      // Emulated, if the product's own machine is.
      const { accelerator } = await home.vmStatus()
      const machine = await startPeerFolder(peers[peer], accelerator ?? 'tcg')
      plantRepository(machine.folder, size.gitFiles)
      return machine
    })()
    machines.set(peer, started)
    return started
  }
  const programs = programsFor(size)
  const works = Object.keys(programs) as Work[]
  const samplers: Record<string, Sampler> = { seen: () => roundTrip(folder, ours) }
  plantRepository(folder, size.gitFiles)
  for (const work of works) {
    samplers[work] = async () => tookOf(await ours(programs[work]))
    for (const peer of peerNames)
      samplers[`${work} ${peer}`] = async () => tookOf(await (await machineOf(peer)).run(programs[work], deadlineMs))
  }
  try {
    const samples = await alternate(1, samplers, told)
    const of = (name: string): Samples => samples[name] ?? { values: [], why: 'not asked' }
    const rows = (name: string, work: Work, unit: string, target: Target): Figure[] =>
      peerNames.map((peer) => {
        const own = of(work)
        const theirs = of(`${work} ${peer}`)
        const ofQemu = peers[peer].by === 'qemu'
        return figure({
          name: `in the workspace: ${name}, against ${peer}`,
          unit,
          target: ofQemu ? target : { ...reported, better: target.better },
          own,
          peer: { name: ofQemu ? `QEMU's virtio-9p, ${peer}` : peer, samples: theirs },
        })
      })
    return [
      ...rows(`create, read and delete ${size.files} small files`, 'small', 'ms', atMostTimesPeer(2)),
      ...rows(`git status of ${size.gitFiles} files`, 'git', 'ms', atMostTimesPeer(2)),
      ...rows(`write ${size.mib} MiB`, 'write', 'MiB/s', atLeastTimesPeer(0.5)),
      ...rows(`read ${size.mib} MiB`, 'read', 'MiB/s', atLeastTimesPeer(0.3)),
      figure({
        name: 'a change on the device seen in the workspace, and its answer on the device',
        unit: 'ms',
        target: atMost(folderStalenessMs, 'ms'),
        own: of('seen'),
      }),
    ]
  } finally {
    for (const started of machines.values()) await started.then((machine) => machine.close()).catch(() => {})
    await home.close()
    await server.close()
  }
}

/** Each prints what it took, or how fast it was. */
function programsFor({ files, mib }: Size): Record<Work, string> {
  const python = (code: string) => `python3 - <<'PY'\nimport os, time, shutil\nt = time.monotonic()\n${code}\nPY`
  const ms = "print('took', round((time.monotonic() - t) * 1000, 1))"
  const speed = `print('took', round(${mib} / (time.monotonic() - t), 3))`
  return {
    small: python(`os.mkdir('s')
for i in range(${files}): open(f's/{i}', 'w').write('x' * 500)
for i in range(${files}): open(f's/{i}').read()
shutil.rmtree('s')
${ms}`),
    // The first look at a tree made elsewhere reads it all; those after it are what people wait for.
    git: `export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
git -C repository status --short
${python(`import subprocess
subprocess.run(['git', '-C', 'repository', 'status', '--short'], check=True)
${ms}`)}`,
    write: python(`f = open('big', 'wb')
for _ in range(${mib}): f.write(bytes(1 << 20))
f.close()
${speed}`),
    read: python(`f = open('big', 'rb')
while f.read(1 << 20): pass
${speed}`),
  }
}

function tookOf(output: string): number {
  const took = /took (\d+(?:\.\d+)?)/.exec(output)?.[1]
  if (took === undefined) throw new Error(output.slice(-300))
  return Number(took)
}

function plantRepository(folder: string, files: number): void {
  const repository = join(folder, 'repository')
  for (let index = 0; index < files; index += 1) {
    const dir = join(repository, `d${index % 50}`)
    fs.mkdirSync(dir, { recursive: true })
    fs.writeFileSync(join(dir, `f${index}`), `content of file ${index}\n`)
  }
  const git = (...args: string[]) => execFileSync('git', ['-c', 'user.name=b', '-c', 'user.email=b@b', ...args], { cwd: repository })
  git('init', '-q')
  git('add', '.')
  git('commit', '-qm', 'all')
}

/** A program in the workspace waits for each of ten files' content to change, and answers by writing another; the median of those is taken here. */
async function roundTrip(folder: string, ours: (command: string) => Promise<string>): Promise<number> {
  const ping = join(folder, 'ping')
  const pong = join(folder, 'pong')
  fs.writeFileSync(ping, '0')
  fs.writeFileSync(pong, '0')
  const times: number[] = []
  const rounds = 10
  let sent = 0
  let begun = 0
  const watcher = fs.watch(folder, () => {
    if (fs.readFileSync(pong, 'utf8') !== `${sent}.`) return
    if (sent > 0) times.push(performance.now() - begun)
    if (sent === rounds) return
    sent += 1
    begun = performance.now()
    fs.writeFileSync(ping, `${sent}.`)
  })
  try {
    tookOf(
      await ours(`python3 - <<'PY'
import os, time
open('pong', 'w').write('0.')
for i in range(1, ${rounds + 1}):
    while open('ping').read() != f'{i}.': time.sleep(0.001)
    open('pong', 'w').write(f'{i}.')
print('took 1')
PY`),
    )
  } finally {
    watcher.close()
  }
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN
}
