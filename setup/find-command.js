import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where system programs are that an ordinary user's PATH may lack. */
const systemFolders = process.platform === 'win32' ? [] : ['/usr/local/sbin', '/usr/sbin', '/sbin']

/**
 * The full path of a program, as a shell would find it, or null.
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 */
export function findCommand(name, env) {
  const suffixes = process.platform === 'win32' ? (env.PATHEXT ?? '.EXE;.CMD').split(';') : ['']
  for (const folder of [...(env.PATH ?? '').split(delimiter), ...systemFolders]) {
    if (!folder) continue
    for (const suffix of suffixes) {
      const path = join(folder, name + suffix)
      if (isProgram(path)) return path
    }
  }
  return null
}

/** @param {string} path */
function isProgram(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
