import { expect, test } from 'vitest'
import { packagesOf, profileOf } from '../../guest/image/recipe.ts'
import { npmVersion } from './image-npm.ts'
import { recipeHash } from './image.ts'

test('the build profile is the standard one and compilers', () => {
  const standard = packagesOf('standard')
  expect(packagesOf('build')).toEqual([...standard, 'build-essential'])
  expect(standard).toEqual(expect.arrayContaining(['python3-venv', 'git', 'ripgrep', 'rsync', 'jq', 'curl', 'unzip']))
})

test('each profile is an image of its own; the standard one is what is built when none is named', async () => {
  const hash = (profile?: 'standard' | 'build') => recipeHash({ nodeBinary: process.execPath, profile })
  expect(await hash()).toBe(await hash('standard'))
  expect(await hash('build')).not.toBe(await hash('standard'))
})

test('npm is part of it, and of what the image is', async () => {
  expect(await npmVersion(process.execPath)).toMatch(/^\d+\.\d+\.\d+/)
  await expect(npmVersion('/nowhere/node/bin/node')).rejects.toMatchObject({
    code: 'image-failed',
    cause: expect.stringContaining('/nowhere/npm') as string,
  })
})

test('a profile there is not is not one', () => {
  expect([profileOf(undefined), profileOf(''), profileOf('build')]).toEqual(['standard', 'standard', 'build'])
  expect(['desktop', 'constructor', '__proto__'].map(profileOf)).toEqual([null, null, null])
})
