/** Reads the package managers' configuration (I/O). */
import fs from 'node:fs'
import { limits } from './limits.ts'
import { findRegistries, type Form, type Registry, type RegistryFile } from './registries.ts'
import { aptLists, type Place, registryPlaces } from './registry-places.ts'

/** Never throws: a file that is not there, too large or not readable says nothing. */
export function readRegistries(userHome: string): Registry[] {
  const places = [...registryPlaces(userHome), ...aptPlaces()]
  return findRegistries(
    places.flatMap((place): RegistryFile[] => {
      const text = textOf(place.path)
      return text === null ? [] : [{ ...place, text }]
    }),
  )
}

function aptPlaces(): Place[] {
  try {
    return fs.readdirSync(aptLists).flatMap((name): Place[] => {
      const form: Form | null = name.endsWith('.list') ? 'sources.list' : name.endsWith('.sources') ? 'deb822' : null
      return form === null ? [] : [{ manager: 'apt', form, path: `${aptLists}/${name}` }]
    })
  } catch {
    return []
  }
}

function textOf(path: string): string | null {
  try {
    return fs.statSync(path).size > limits.registryFileBytes ? null : fs.readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
