/** What goes wrong on the host around a real VM: images that do not boot, a full disk, time that passed while the VM stood still. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { findImage } from '../../actors/vm-supervisor/image.ts'
import { gateEntry, openGate } from '../harness/gate.ts'
import { imageDir, refusal, startVm, type Vm } from '../harness/vm.ts'

const run = promisify(execFile)

/** The same images, by hard links, in a folder of this test's. */
async function imagesOfOwn(): Promise<{ images: string; name: string }> {
  const image = await findImage({ imageDir, nodeBinary: process.execPath })
  if (image === null) throw new Error('set-up has built no image')
  const images = await mkdtemp(join(tmpdir(), 'bulkhead-images-'))
  onTestFinished(() => rm(images, { recursive: true, force: true }))
  const name = image.manifest.recipe
  await mkdir(join(images, name))
  for (const file of await readdir(image.dir, { withFileTypes: true }))
    if (file.isFile()) await run('cp', ['-a', '--link', join(image.dir, file.name), join(images, name, file.name)])
  return { images, name }
}

describe('an image that does not boot', () => {
  it('is left after three starts for the one before it, which then serves; status says so all the way', async () => {
    const { images, name } = await imagesOfOwn()
    // The one before: the same, under a name of its own, which a VM once became ready from.
    const before = name.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
    await run('cp', ['-a', '--link', join(images, name), join(images, before)])
    const manifest = join(images, before, 'manifest.json')
    const text = await readFile(manifest, 'utf8')
    await rm(manifest)
    await writeFile(manifest, text.replace(name, before))
    await writeFile(join(images, before, 'good'), '')
    // This one: its root as long as before, and nothing of it right.
    const root = join(images, name, 'root.squashfs')
    const { size } = await stat(root)
    await rm(root)
    const file = await open(root, 'w')
    await file.truncate(size)
    await file.close()

    const vm = await startVm({ params: { imageDir: images, snapshots: 'off' }, actors: [gateEntry] })
    onTestFinished(() => vm.stop())
    const gate = await openGate(vm)
    const statuses: unknown[] = []
    const watched = vm.kernel.test.request('vm', 'watch', {}, {
      deadlineMs: null,
      onPart: (part) => statuses.push((part as { status: { state: string; image: { name: string } | null } }).status),
    }) // biome-ignore format: callback last
    watched.catch(() => {})
    const error = await refusal(vm.exec('echo never'))
    await gate.serves()
    expect(error).toMatchObject({
      code: 'workspace-unavailable',
      cause: expect.stringMatching(/\w/),
      remedy: expect.stringMatching(/\w/),
      retryAfterMs: expect.any(Number),
    })
    await expect.poll(async () => (await vm.status()).state).toBe('ready')
    expect((await vm.exec('echo from the one before')).stdout).toBe('from the one before\n')
    expect((await vm.status()).image).toEqual({ name: before, rolledBack: true })
    const booted = (statuses as { state: string; image: { name: string } | null }[]).flatMap(({ state, image }) =>
      state === 'booting' && image ? [image.name] : [],
    )
    expect([...new Set(booted)]).toEqual([name, before])
    expect(await vm.left()).toHaveLength(1)
    await gate.hasAll()
  })
})

/** Changes a saved memory's first bytes, behind the back of what is compared at a start: `edit` gets and gives back as many. */
async function spoil(snapshot: string, edit: (head: Buffer) => void): Promise<void> {
  const path = join(snapshot, 'memory')
  const { atime, mtime } = await stat(path)
  const file = await open(path, 'r+')
  const head = Buffer.alloc(64 * 1024)
  await file.read(head, 0, head.length, 0)
  const before = Buffer.from(head)
  edit(head)
  expect(head.equals(before)).toBe(false)
  await file.write(head, 0, head.length, 0)
  await file.close()
  await utimes(path, atime, mtime)
}

describe('a saved memory of another machine, under the name of this one’s', () => {
  it('is refused by QEMU and discarded; the start is from nothing, says so, and what it saves serves the next', async () => {
    const { images, name } = await imagesOfOwn()
    const start = async (): Promise<Vm> => {
      const vm = await startVm({ params: { imageDir: images, memoryMiB: 512 }, actors: [gateEntry] })
      onTestFinished(() => vm.stop())
      return vm
    }
    const first = await start()
    await first.exec('true')
    await first.stop()
    const folder = join(images, name, 'snapshots')
    const [key = ''] = await readdir(folder)
    const edits: Readonly<Record<string, (head: Buffer) => void>> = {
      // The name of the machine's type, which ends with the version of QEMU.
      'of another QEMU': (head) => void head.write('1', head.indexOf('pc-') + 'pc-q35-'.length),
      'with other memory': (head) => void head.writeUInt32BE(256 * 1024 * 1024, head.indexOf('pc.ram') + 'pc.ram'.length + 4),
    }
    for (const [what, edit] of Object.entries(edits)) {
      await spoil(join(folder, key), edit)
      const vm = await start()
      const gate = await openGate(vm)
      const states: string[] = []
      const running = vm.exec(`echo ${what}`, { onPart: (part) => part.state !== undefined && states.push(part.state) })
      await gate.serves()
      const { stdout } = await running
      expect(stdout).toBe(`${what}\n`)
      expect(states).toEqual(expect.arrayContaining(['restoring', 'booting', 'ready']))
      expect(vm.kernel.logs.join('\n')).toMatch(/a saved memory did not work and is discarded/)
      // What it saved anew.
      expect(await vm.status()).toMatchObject({ state: 'ready', start: 'restored' })
      expect(await readdir(folder)).toEqual([key])
      expect(await vm.left()).toHaveLength(1)
      await gate.hasAll()
      await vm.stop()
    }
  })
})

describe('time that passes while the VM stands still', () => {
  it('is there when it goes on: the guest tells the right time at once', async () => {
    const vm = await startVm({ params: { timers: { pauseAfterMs: 300 } } })
    onTestFinished(() => vm.stop())
    await vm.exec('true')
    await expect.poll(async () => (await vm.status()).state).toBe('paused')
    // As long as a lid is closed, in the small.
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    const asked = Date.now()
    const told = Number((await vm.exec('date +%s%3N')).stdout)
    expect(told).toBeGreaterThan(asked - 1_000)
    expect(told).toBeLessThan(Date.now() + 1_000)
  })
})
