/** Linux error numbers, and how anything thrown becomes one. */
import { isFault } from '../../kernel/index.ts'

export const errno = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EBADF: 9,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  EISDIR: 21,
  ENOTDIR: 20,
  EINVAL: 22,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ELOOP: 40,
  EPROTO: 71,
  EILSEQ: 84,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  ESTALE: 116,
} as const

/** An answer that is an error. */
export class NinepError extends Error {
  readonly errno: number

  constructor(code: keyof typeof errno) {
    super(code)
    this.errno = errno[code]
  }
}

const faults: Readonly<Partial<Record<string, number>>> = { 'not-found': errno.ENOENT, 'store-full': errno.ENOSPC }

export function errnoOf(thrown: unknown): number {
  if (thrown instanceof NinepError) return thrown.errno
  if (isFault(thrown)) return faults[thrown.code] ?? errno.EACCES
  if (!(thrown instanceof Error)) return errno.EIO
  const { code } = thrown as NodeJS.ErrnoException
  if (code === 'ERR_ACCESS_DENIED') return errno.EACCES
  // Node's numbers are the system's own, negated. They are Linux's: this server runs nowhere else.
  const number = (thrown as NodeJS.ErrnoException).errno
  if (typeof number === 'number' && number < 0) return -number
  return errno[code as keyof typeof errno] ?? errno.EIO
}
