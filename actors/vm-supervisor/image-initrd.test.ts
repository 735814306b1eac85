import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeInitrd, moduleDependencies, moduleName } from './image-initrd.ts'

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'image-initrd-'))
  const kernel = join(dir, 'modules/kernel/fs')
  await mkdir(kernel, { recursive: true })
  await writeFile(join(dir, 'busybox'), 'busybox')
  await writeFile(join(dir, 'modules/modules.builtin'), 'kernel/drivers/virtio/virtio_pci.ko\n')
  await writeFile(join(kernel, 'ext4.ko'), 'ELF\0license=GPL\0depends=jbd2,mb-cache\0name=ext4\0')
  await writeFile(join(kernel, 'jbd2.ko'), 'ELF\0depends=mb-cache\0')
  await writeFile(join(kernel, 'mb-cache.ko'), 'ELF\0depends=\0')
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const input = (modules: { name: string; optional?: boolean }[]): Parameters<typeof makeInitrd>[0] => ({
  modulesDir: join(dir, 'modules'),
  busybox: join(dir, 'busybox'),
  modules,
  decompress: (file) => readFile(file),
})

test('modules come after what they need, once; built-in ones not at all', async () => {
  const { modules, archive } = await makeInitrd(input([{ name: 'virtio_pci' }, { name: 'ext4' }, { name: 'jbd2' }]))
  expect(modules).toEqual(['mb_cache', 'jbd2', 'ext4'])
  expect(archive.includes('modules/ext4.order')).toBe(true)
  expect(archive.includes('mb_cache\njbd2\next4\n')).toBe(true)
})

test('a missing module is an error, unless it may be missing', async () => {
  await expect(makeInitrd(input([{ name: 'nonesuch' }]))).rejects.toMatchObject({ code: 'image-failed' })
  expect((await makeInitrd(input([{ name: 'nonesuch', optional: true }]))).modules).toEqual([])
})

test('names and dependencies as the kernel means them', () => {
  expect(moduleName('kernel/fs/9p/9p.ko.xz')).toBe('9p')
  expect(moduleName('crc32c-intel.ko')).toBe('crc32c_intel')
  expect(moduleDependencies(Buffer.from('x\0depends=a,b-c\0'))).toEqual(['a', 'b_c'])
  expect(moduleDependencies(Buffer.from('no such field'))).toEqual([])
})
