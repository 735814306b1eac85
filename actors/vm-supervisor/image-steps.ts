/**
 * The steps of an image build. Each leaves its result in the build folder under its final name when it is whole, and does
 * nothing if it is there: an interrupted build goes on where it was.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import { finishTree, leftIn, leftOut, modules, sourceDate } from '../../guest/image/recipe.ts'
import { fault } from '../../kernel/index.ts'
import { runCommand } from './image-commands.ts'
import { debianArchitecture, type ResolvedArchive } from './image-host.ts'
import { makeInitrd } from './image-initrd.ts'
import { growthPollMs } from './limits.ts'
import { npmBeside } from './image-npm.ts'
import { downloadProgress, grownProgress, type ImageProgress, unpackProgress } from './image-progress.ts'

export type BuildContext = {
  buildDir: string
  archive: ResolvedArchive
  nodeBinary: string
  packages: readonly string[]
  report: (progress: ImageProgress) => void
  signal: AbortSignal
}

/** mmdebstrap and mksquashfs take their dates from it. */
const reproducible = { SOURCE_DATE_EPOCH: String(sourceDate) }

const offline =
  "Check the network and the machine's apt sources (`apt-get update` must work), or set BULKHEAD_DEBIAN_MIRROR; then repeat: what was downloaded is kept."

/** Fetches every package the other steps need. `apt-get` with its own folders and no installed packages: it changes nothing here. */
export async function downloadPackages(context: BuildContext): Promise<void> {
  const { buildDir, archive, packages, report, signal } = context
  if ((await exists(join(buildDir, 'root.squashfs'))) && (await exists(join(buildDir, 'kernel.json')))) return
  const apt = join(buildDir, 'apt')
  for (const dir of ['lists/partial', 'archives/partial', 'preferences.d', 'kernel']) await mkdir(join(apt, dir), { recursive: true })
  await writeFile(join(apt, 'status'), '')
  await writeFile(
    join(apt, 'sources.list'),
    sourceLines(archive)
      .map((line) => `${line}\n`)
      .join(''),
  )
  await writeFile(join(apt, 'apt.conf'), aptConfiguration(apt) + (await proxySettings(signal)).map((line) => `${line};\n`).join(''))
  const tell = (progress: ImageProgress | null): void => void (progress && report(progress))
  const env = { APT_CONFIG: join(apt, 'apt.conf') }
  const download = (detail: string, args: readonly string[], cwd = apt): Promise<Buffer> =>
    runCommand('apt-get', ['-q', '-o', 'APT::Status-Fd=3', ...args], {
      step: 'download Debian packages',
      remedy: offline,
      signal,
      env,
      cwd,
      onLine: (line) => tell(downloadProgress(detail, line)),
    })
  report({ step: 'download', detail: 'Package lists' })
  await download('Package lists', ['update', '--error-on=any'])
  await download('Packages', ['--yes', '--download-only', 'install', '?essential', ...packages])

  const dependencies = await runCommand('apt-cache', ['depends', '--important', '--recurse', archive.kernelPackage], {
    step: 'find the kernel package',
    signal,
    env,
  })
  const kernel = [...new Set(dependencies.toString().match(/^linux-(image|modules)(-unsigned)?-[0-9]\S*$/gm))]
  if (kernel.length === 0)
    throw fault('image-failed', 'The archive has no kernel package.', { cause: `${archive.kernelPackage} names none.` })
  await download('Kernel', ['download', ...kernel, 'busybox-static'], join(apt, 'kernel'))
}

/** root.squashfs and packages.json. */
export async function buildRoot(context: BuildContext): Promise<void> {
  const { buildDir, archive, nodeBinary, packages, report, signal } = context
  if (await exists(join(buildDir, 'root.squashfs'))) return
  const asRoot = process.getuid?.() === 0
  const tree = join(buildDir, 'tree')
  await rm(tree, { recursive: true, force: true })
  await mkdir(tree)
  report({ step: 'root', detail: 'Unpacking packages' })
  const unpacked = runCommand(
    'mmdebstrap',
    [
      // What dpkg is at is said as well: minutes may pass between two steps.
      '--verbose',
      `--mode=${asRoot ? 'root' : 'unshare'}`,
      '--variant=essential',
      '--format=tar',
      `--architectures=${debianArchitecture()}`,
      `--include=${packages.join(',')}`,
      '--aptopt=APT::Install-Recommends "false"',
      '--aptopt=Acquire::Languages "none"',
      ...(await proxySettings(signal)).map((line) => `--aptopt=${line}`),
      ...leftOut.map((path) => `--dpkgopt=path-exclude=${path}`),
      ...leftIn.map((path) => `--dpkgopt=path-include=${path}`),
      '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
      `--setup-hook=sync-in ${quoted(join(buildDir, 'apt/archives'))} /var/cache/apt/archives`,
      `--customize-hook=upload ${quoted(nodeBinary)} /usr/local/bin/node`,
      '--customize-hook=mkdir -p "$1"/usr/local/lib/node_modules/npm',
      `--customize-hook=sync-in ${quoted(npmBeside(nodeBinary))} /usr/local/lib/node_modules/npm`,
      `--customize-hook=download /var/lib/dpkg/status ${quoted(join(buildDir, 'dpkg-status'))}`,
      `--customize-hook=${finishTree}`,
      archive.suite,
      join(buildDir, 'root.tar'),
      ...sourceLines(archive),
    ],
    {
      step: 'unpack the Debian packages',
      remedy: asRoot ? offline : `${offline} If user namespaces are disabled here, run set-up once as root.`,
      signal,
      // Without root the unpacking user is another one, who may not enter this folder.
      env: { TMPDIR: asRoot ? tree : '/var/tmp', ...reproducible },
      onLine: (line) => {
        const progress = unpackProgress(line)
        if (progress !== null) report(progress)
      },
    },
  )
  await whileGrowing(join(buildDir, 'root.tar'), unpacked, (bytes) => report(grownProgress('Putting the root together', bytes)))
  report({ step: 'root', detail: 'Compressing' })
  const part = join(buildDir, 'root.squashfs.part')
  const compressed = runCommand(
    'sh',
    // LZ4: larger than zstd by a third, but an emulated processor unpacks it several times as fast, at every boot.
    ['-c', 'exec mksquashfs - "$1" -tar -comp lz4 -noappend -no-xattrs -no-progress < "$2"', 'sh', part, join(buildDir, 'root.tar')],
    {
      step: 'compress the root image',
      signal,
      env: reproducible,
      remedy: 'Install squashfs-tools 4.5 or newer and make room on the disk, then repeat.',
    },
  )
  await whileGrowing(part, compressed, (bytes) => report(grownProgress('Compressing', bytes)))
  await writeFile(join(buildDir, 'packages.json'), JSON.stringify(installedPackages(await readFile(join(buildDir, 'dpkg-status'), 'utf8'))))
  await rename(part, join(buildDir, 'root.squashfs'))
  await rm(join(buildDir, 'root.tar'))
}

/** vmlinuz, initrd.img and, last, kernel.json with the kernel's version and the modules' order. */
export async function buildKernel(context: BuildContext): Promise<void> {
  const { buildDir, report, signal } = context
  if (await exists(join(buildDir, 'kernel.json'))) return
  report({ step: 'kernel', detail: 'Unpacking the kernel' })
  const debs = join(buildDir, 'apt/kernel')
  const tree = join(buildDir, 'kernel-tree')
  await rm(tree, { recursive: true, force: true })
  for (const name of (await readdir(debs)).filter((entry) => entry.endsWith('.deb')))
    await runCommand('dpkg-deb', ['--extract', join(debs, name), tree], { step: 'unpack the kernel', signal })

  const versions = await Promise.all(
    ['usr/lib/modules', 'lib/modules'].map((path) =>
      readdir(join(tree, path)).then(
        (names) => names.map((name) => join(path, name)),
        () => [],
      ),
    ),
  )
  const modulesPath = versions.flat()[0]
  const kernelName = (await readdir(join(tree, 'boot'))).find((name) => name.startsWith('vmlinuz-'))
  if (modulesPath === undefined || kernelName === undefined) throw fault('image-failed', 'The kernel package has no kernel or no modules.')
  const busybox = (await exists(join(tree, 'usr/bin/busybox'))) ? join(tree, 'usr/bin/busybox') : join(tree, 'bin/busybox')
  const decompress = async (file: string): Promise<Buffer> => {
    if (file.endsWith('.xz')) return runCommand(busybox, ['unxz', '-c', file], { step: 'unpack a kernel module', signal })
    const bytes = await readFile(file)
    if (file.endsWith('.zst')) return promisify(zstdDecompress)(bytes)
    return file.endsWith('.gz') ? promisify(gunzip)(bytes) : bytes
  }
  const { archive, modules: order } = await makeInitrd({ modulesDir: join(tree, modulesPath), busybox, modules, decompress })
  await writeFile(join(buildDir, 'initrd.img'), archive)
  await rename(join(tree, 'boot', kernelName), join(buildDir, 'vmlinuz'))
  await writeFile(join(buildDir, 'kernel.json'), JSON.stringify({ kernel: kernelName.slice('vmlinuz-'.length), modules: order }))
  await rm(tree, { recursive: true, force: true })
}

/** Tells, now and then until `work` ends, how large the file has become that it writes: it says nothing itself for as long as that takes. */
async function whileGrowing(path: string, work: Promise<unknown>, told: (bytes: number) => void): Promise<void> {
  let known = 0
  let over = false
  const look = async (): Promise<void> => {
    const { size } = await stat(path).catch(() => ({ size: 0 }))
    if (over || size <= known) return
    known = size
    told(size)
  }
  const timer = setInterval(() => void look(), growthPollMs)
  await work.finally(() => {
    over = true
    clearInterval(timer)
  })
}

function sourceLines(archive: ResolvedArchive): string[] {
  return archive.sources.map(({ uri, suite, components }) => `deb [signed-by=${archive.keyring}] ${uri} ${suite} ${components.join(' ')}`)
}

function aptConfiguration(dir: string): string {
  const paths = {
    'Dir::State': dir,
    'Dir::State::status': `${dir}/status`,
    'Dir::State::lists': `${dir}/lists`,
    'Dir::Cache': dir,
    'Dir::Cache::archives': `${dir}/archives`,
    'Dir::Etc::sourcelist': `${dir}/sources.list`,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': `${dir}/preferences.d`,
    'Dir::Etc::trusted': '/dev/null',
    'Dir::Etc::trustedparts': '/dev/null',
    'APT::Architecture': debianArchitecture(),
    'APT::Install-Recommends': 'false',
    'APT::Keep-Downloaded-Packages': 'true',
    // Root's own files are read as root; the folder may be closed to apt's user.
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  }
  return Object.entries(paths)
    .map(([name, value]) => `${name} "${value}";\n`)
    .join('')
}

/** The machine's own `Acquire::…::Proxy` and certificate settings, as configuration lines without the semicolon. */
async function proxySettings(signal: AbortSignal): Promise<string[]> {
  const dump = await runCommand('apt-config', ['dump'], { step: 'read the apt configuration', signal })
  return dump
    .toString()
    .split('\n')
    .flatMap((line) => /^(Acquire::\S*(?:Proxy|Proxy-Auto-Detect|CaInfo|Verify-Peer)\S* "[^"]+");$/i.exec(line)?.[1] ?? [])
}

/** Name to version from dpkg's status file. */
function installedPackages(status: string): Record<string, string> {
  const found = status.split('\n\n').flatMap((stanza): [string, string][] => {
    const name = /^Package: (.+)$/m.exec(stanza)?.[1]
    const version = /^Version: (.+)$/m.exec(stanza)?.[1]
    return name === undefined || version === undefined ? [] : [[name, version]]
  })
  return Object.fromEntries(found)
}

/** For mmdebstrap's hook lines, which are split like a shell's. */
function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
