/**
 * The image's initial RAM file system: a static busybox and the few kernel modules a boot needs, their dependencies resolved
 * from the modules themselves. `/init` is not in it; it comes with the agent at each boot (`image-agent.ts`).
 */
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fault } from '../../kernel/index.ts'
import { type CpioEntry, writeCpio } from './image-cpio.ts'

export type InitrdInput = {
  /** Unpacked kernel package's `lib/modules/<version>`. */
  modulesDir: string
  /** Static busybox. */
  busybox: string
  modules: readonly { name: string; optional?: boolean }[]
  /** Turns a module file as packaged (`.ko.xz`, …) into its ELF bytes. */
  decompress(file: string): Promise<Buffer>
}

/** The archive and the names of its modules in load order. Uncompressed: the machine only copies it. */
export async function makeInitrd(input: InitrdInput): Promise<{ archive: Buffer; modules: string[] }> {
  const { order, images, closures } = await resolveModules(input)
  const directories = ['bin', 'dev', 'proc', 'sys', 'run', 'root', 'modules']
  const entries: CpioEntry[] = directories.map((path) => ({ path, type: 'directory', mode: 0o755 }))
  // The kernel opens it for the first process before devtmpfs is mounted.
  entries.push({ path: 'dev/console', type: 'device', mode: 0o600, major: 5, minor: 1 })
  entries.push({ path: 'bin/busybox', type: 'file', mode: 0o755, data: await readFile(input.busybox) })
  entries.push({ path: 'bin/sh', type: 'symlink', target: 'busybox' })
  for (const name of order)
    entries.push({ path: `modules/${name}.ko`, type: 'file', mode: 0o644, data: images.get(name) ?? Buffer.alloc(0) })
  // One list for each module asked for, so that a boot loads only what it uses.
  for (const [name, closure] of closures)
    entries.push({ path: `modules/${name}.order`, type: 'file', mode: 0o644, data: Buffer.from(closure.map((one) => `${one}\n`).join('')) })
  return { archive: writeCpio(entries), modules: order }
}

/** Depth first over `depends`, so each comes after what it needs. */
async function resolveModules(
  input: InitrdInput,
): Promise<{ order: string[]; images: Map<string, Buffer>; closures: Map<string, string[]> }> {
  const builtIn = new Set((await readFile(join(input.modulesDir, 'modules.builtin'), 'utf8')).split('\n').filter(Boolean).map(moduleName))
  const files = new Map<string, string>()
  for (const entry of await readdir(join(input.modulesDir, 'kernel'), { recursive: true }))
    if (/\.ko(\.(xz|zst|gz))?$/.test(entry)) files.set(moduleName(entry), join(input.modulesDir, 'kernel', entry))

  const images = new Map<string, Buffer>()
  const order: string[] = []
  const visit = async (name: string, optional: boolean, closure: string[]): Promise<void> => {
    if (closure.includes(name) || builtIn.has(name)) return
    const file = files.get(name)
    if (file === undefined) {
      if (optional) return
      throw fault('image-failed', `The kernel package has no module "${name}".`, { cause: `Searched ${files.size} modules.` })
    }
    const image = images.get(name) ?? (await input.decompress(file))
    images.set(name, image)
    for (const needed of moduleDependencies(image)) await visit(needed, false, closure)
    closure.push(name)
    if (!order.includes(name)) order.push(name)
  }
  const closures = new Map<string, string[]>()
  for (const { name, optional = false } of input.modules) {
    const closure: string[] = []
    await visit(name, optional, closure)
    closures.set(name, closure)
  }
  return { order, images, closures }
}

/** `kernel/fs/9p/9p.ko.xz` is module `9p`; the kernel takes `-` and `_` for the same. */
export function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.[a-z0-9]+)?$/, '')
    .replaceAll('-', '_')
}

/** Hard and soft-before dependencies a module's own `.modinfo` names. */
export function moduleDependencies(image: Buffer): string[] {
  const text = image.toString('latin1')
  const depends = /(?:^|\0)depends=([a-zA-Z0-9_,-]*)\0/.exec(text)?.[1] ?? ''
  return depends
    .split(',')
    .filter((name) => name !== '')
    .map((name) => name.replaceAll('-', '_'))
}
