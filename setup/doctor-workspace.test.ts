import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { acceleratorCheck, driverCheck, imageAgeCheck, isolationCheck, unverifiedChecks } from './doctor-workspace.ts'

test('drivers nobody has run are called unverified, on the platform they are for', () => {
  expect(driverCheck('linux')).toMatchObject({ level: 'ok', detail: 'qemu' })
  expect(driverCheck('darwin')).toMatchObject({
    ok: true,
    level: 'unverified',
    detail: expect.stringMatching(/vfkit \(unverified\), then qemu \(unverified\)/),
  })
  expect(driverCheck('win32')).toMatchObject({ ok: true, level: 'unverified', detail: expect.stringContaining('hyperv (unverified)') })
})

test('what the last start found out about the accelerator, with what to do when it is emulation', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'bulkhead-doctor-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  expect(await acceleratorCheck(dir)).toMatchObject({ level: 'info', detail: expect.stringContaining('not tried') })
  const file = join(dir, 'accelerator.json')
  await writeFile(file, JSON.stringify({ key: 'k', accelerator: 'tcg', why: 'kvm does not run the kernel here' }))
  expect(await acceleratorCheck(dir)).toMatchObject({
    level: 'info',
    detail: expect.stringMatching(/isolation is reduced: kvm does not run/),
    remedy: expect.stringMatching(/\w/),
  })
  await writeFile(file, JSON.stringify({ key: 'k', accelerator: 'tcg', why: 'failed to initialize kvm: Permission denied' }))
  expect(await acceleratorCheck(dir)).toMatchObject({ level: 'info', remedy: expect.stringContaining('usermod -aG kvm') })
  await writeFile(file, JSON.stringify({ key: 'k', accelerator: 'kvm', why: 'it ran the kernel' }))
  expect(await acceleratorCheck(dir)).toMatchObject({ level: 'ok', detail: 'kvm: it ran the kernel' })
  await writeFile(file, '{"accel')
  expect(await acceleratorCheck(dir)).toMatchObject({ level: 'info', detail: expect.stringContaining('not tried') })
})

test('an image that is old is said to lack what was fixed since', () => {
  const now = Date.parse('2026-11-26T12:00:00Z')
  expect(imageAgeCheck('2026-11-25T11:00:00Z', '/i/x', now)).toMatchObject({ level: 'ok', detail: '1 day' })
  expect(imageAgeCheck('2026-09-01T00:00:00Z', '/i/x', now)).toMatchObject({
    ok: true,
    level: 'info',
    detail: expect.stringMatching(/^86 days: it lacks/),
    remedy: expect.stringContaining('/i/x'),
  })
  expect(imageAgeCheck('nonsense', '/i/x', now)).toMatchObject({ ok: false })
})

test('how the process of the VM is contained, found out by trying', async () => {
  const check = await isolationCheck('/home/somebody')
  expect(check).toMatchObject({ ok: true, detail: expect.stringMatching(/^a jail|^reduced: /) })
  if (check.level === 'info') expect(check.remedy).toMatch(/\w/)
  expect(await isolationCheck('/h', 'darwin')).toMatchObject({ level: 'unverified', detail: expect.stringContaining('reduced') })
})

test('each row that the specification calls unverified for a platform is one of the doctor’s there', () => {
  expect(unverifiedChecks('linux')).toEqual([])
  const names = (platform: string) => unverifiedChecks(platform).map(({ name }) => name)
  expect(names('darwin')).toEqual(expect.arrayContaining(['workspace', 'keyring', 'managed settings', 'connected folders']))
  expect(names('win32')).toEqual(expect.arrayContaining(['workspace', 'keyring', 'managed settings', 'audit log', 'connected folders']))
  for (const platform of ['darwin', 'win32']) {
    // What its variant of the walk (`handle-variants.ts`) is written to.
    expect(unverifiedChecks(platform).find(({ name }) => name === 'connected folders')?.detail).toMatch(/never run there/)
    for (const check of unverifiedChecks(platform)) expect(check).toMatchObject({ ok: true, level: 'unverified' })
  }
})
