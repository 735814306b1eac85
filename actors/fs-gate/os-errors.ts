/** What the operating system says, as faults a member can read. */
import { type Fault, fault, isFault } from '../../kernel/index.ts'

/** Whatever a file operation on `path` threw, as a fault; faults pass through. */
export function osFault(thrown: unknown, path: string): Fault {
  if (isFault(thrown)) return thrown
  const code = codeOf(thrown)
  const name = path === '' ? 'the folder' : path
  const cause = thrown instanceof Error ? reason(thrown) : String(thrown)
  switch (code) {
    case 'ENOENT':
    case 'ESTALE':
      return fault('not-found', `${name} does not exist.`)
    case 'EEXIST':
    case 'ENOTEMPTY':
      return fault('already-exists', `${name} is already there.`)
    case 'ENOTDIR':
      return fault('not-a-folder', `A component of ${name} is not a folder.`)
    case 'EISDIR':
      return fault('not-a-file', `${name} is a folder.`)
    case 'ELOOP':
      return fault('symlink-escape', `${name} leads through a symbolic link that cannot be followed.`, { cause })
    case 'ENAMETOOLONG':
      return fault('bad-path', 'A name in the path is too long.', { cause })
    case 'EROFS':
      return fault('read-only', `${name} lies on a read-only file system.`, { cause })
    case 'EMFILE':
    case 'ENFILE':
      return fault('overloaded', 'Too many files are open.', { cause, retryAfterMs: 1_000 })
    case 'ENOSPC':
    case 'EDQUOT':
      return fault('io-failed', `There is no space left for ${name}.`, { cause, remedy: 'Free some space, then retry.' })
    case 'EACCES':
    case 'EPERM':
      return fault('io-failed', `The operating system does not allow this on ${name}.`, {
        cause,
        remedy: 'Check the permissions of the file and its folder.',
      })
    case undefined:
      return fault('internal', `Something went wrong with ${name}.`, { cause })
    default:
      return fault('io-failed', `${name} could not be used.`, { cause })
  }
}

/** Node's error code (`ENOENT`), undefined when it is no system error. */
export function codeOf(thrown: unknown): string | undefined {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
}

/** Without the paths of open handles, which mean nothing to a reader. */
function reason(error: Error): string {
  return error.message.replace(/,? '\/proc\/self\/fd\/.*$/, '')
}
