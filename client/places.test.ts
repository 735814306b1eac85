import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findPlaces, makePlaces, type Places } from './places.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'places-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const at = (runtimeDir: string): Places => ({
  home: join(dir, 'home'),
  runtimeDir,
  imageDir: join(dir, 'images'),
  socket: join(runtimeDir, 'daemon.sock'),
})

test('BULKHEAD_HOME, else XDG, else the home folder', () => {
  expect(findPlaces({ BULKHEAD_HOME: '/a/b' }).home).toBe('/a/b')
  expect(findPlaces({ XDG_STATE_HOME: '/s' }).home).toBe('/s/bulkhead')
  expect(findPlaces({ XDG_CACHE_HOME: '/c' }).imageDir).toBe('/c/bulkhead/images')
})

test('one runtime folder a home', () => {
  const [a, b] = ['/a', '/b'].map((home) => findPlaces({ BULKHEAD_HOME: home, XDG_RUNTIME_DIR: '/run/user/1' }))
  expect(a?.runtimeDir).toMatch(/^\/run\/user\/1\/bulkhead-[0-9a-f]{10}$/)
  expect(a?.runtimeDir).not.toBe(b?.runtimeDir)
})

test('a socket path too long for the system goes to the temporary folder', () => {
  const { socket } = findPlaces({ BULKHEAD_HOME: '/a', XDG_RUNTIME_DIR: `/run/${'x'.repeat(90)}` })
  expect(socket.length).toBeLessThanOrEqual(100)
  expect(socket.startsWith(tmpdir())).toBe(true)
})

test('folders are made for us alone, and made again without complaint', () => {
  const places = at(join(dir, 'run'))
  makePlaces(places)
  makePlaces(places)
  for (const made of [places.home, places.runtimeDir]) expect(statSync(made).mode & 0o777).toBe(0o700)
})

test('a runtime folder others can enter is refused', () => {
  const runtimeDir = join(dir, 'run')
  mkdirSync(runtimeDir)
  chmodSync(runtimeDir, 0o755)
  expect(() => makePlaces(at(runtimeDir))).toThrow(expect.objectContaining({ code: 'unsafe-runtime-dir', cause: 'its mode is 755' }))
})

test('a symbolic link in its place is refused', () => {
  mkdirSync(join(dir, 'elsewhere'), { mode: 0o700 })
  symlinkSync('elsewhere', join(dir, 'run'))
  expect(() => makePlaces(at(join(dir, 'run')))).toThrow(expect.objectContaining({ code: 'unsafe-runtime-dir' }))
})
