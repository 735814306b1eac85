/** A connected folder's gate beside a VM: another actor, which serves whatever becomes of the VM, and loses nothing that it said it had written. */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { actor as fsGate } from '../../actors/fs-gate/index.ts'
import type { Vm } from './vm.ts'

export const gateEntry = {
  manifest: fsGate.manifest,
  protocol: fsGate.protocol,
  entry: new URL('../../actors/fs-gate/index.ts', import.meta.url).href,
  load: async () => fsGate,
}

export type Gate = {
  /** Writes, and reads what it wrote. */
  serves(): Promise<void>
  /** All it acknowledged is there. */
  hasAll(): Promise<void>
}

/** `vm`: one that has `gateEntry` among its actors. */
export async function openGate(vm: Vm): Promise<Gate> {
  const root = join(vm.home, 'beside')
  await mkdir(root, { recursive: true })
  const { slots } = await vm.kernel.test.request('kernel', 'spawn', {
    kind: 'fs-gate',
    instance: 'beside',
    session: 'beside',
    params: { root, name: 'beside', mode: 'rw' },
    grants: [],
  })
  const gate = slots[0] as string
  const written: string[] = []
  return {
    async serves() {
      const path = `${written.length}.txt`
      await vm.kernel.test.request(gate, 'write', { path, content: path })
      written.push(path)
      expect((await vm.kernel.test.request(gate, 'read', { path })).body).toMatchObject({ text: path })
    },
    async hasAll() {
      expect(written.length).toBeGreaterThan(0)
      for (const path of written) expect(await readFile(join(root, path), 'utf8')).toBe(path)
    },
  }
}

/** Connects the folder `root` to a session as `data`; returns the grant by which to revoke it. */
export async function connect({ kernel }: Vm, session: string, root: string): Promise<number> {
  const params = { root, name: 'data', mode: 'rw' }
  const spawned = await kernel.test.request('kernel', 'spawn', {
    kind: 'fs-gate',
    instance: `${session}.data`,
    session,
    params,
    grants: [],
  })
  const derived = await kernel.test.request(
    'kernel',
    'derive',
    {},
    { caps: [{ slot: spawned.slots[0] as string, limits: { kinds: ['ninep', 'ninep-close'] } }] },
  )
  const caps = [{ slot: derived.slots[0] as string }]
  await kernel.test.request('vm', 'attach', { session, folders: [{ name: 'data', mode: 'rw' }] }, { caps })
  return (derived.body as { grant: number }).grant
}
