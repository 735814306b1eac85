import { expect, test } from 'vitest'
import { packagesOf, profileOf } from '../../guest/image/recipe.ts'
import { recipeHash } from './image.ts'

test('the build profile is the standard one and compilers', () => {
  const standard = packagesOf('standard')
  expect(packagesOf('build')).toEqual([...standard, 'build-essential'])
  expect(standard).toEqual(expect.arrayContaining(['python3-venv', 'git', 'ripgrep', 'jq', 'curl', 'unzip']))
})

test('each profile is an image of its own; the standard one is what is built when none is named', async () => {
  const hash = (profile?: 'standard' | 'build') => recipeHash({ nodeBinary: process.execPath, profile })
  expect(await hash()).toBe(await hash('standard'))
  expect(await hash('build')).not.toBe(await hash('standard'))
})

test('a profile there is not is not one', () => {
  expect([profileOf(undefined), profileOf(''), profileOf('build')]).toEqual(['standard', 'standard', 'build'])
  expect(['desktop', 'constructor', '__proto__'].map(profileOf)).toEqual([null, null, null])
})
