/** Whether settings of git are harmless: they name no program, no other file of settings and no other address. Pure; anything not understood is not. */

/** By section, keys that only say how a repository is laid out, where it came from and whose it is. */
const harmless: Readonly<Record<string, readonly string[]>> = {
  core: [
    'repositoryformatversion',
    'filemode',
    'bare',
    'logallrefupdates',
    'ignorecase',
    'precomposeunicode',
    'symlinks',
    'autocrlf',
    'eol',
    'safecrlf',
    'compression',
    'sparsecheckout',
    'sparsecheckoutcone',
    'sharedrepository',
  ],
  extensions: [
    'objectformat',
    'worktreeconfig',
    'refstorage',
    'partialclone',
    'compatobjectformat',
    'noop',
    'preciousobjects',
    'relativeworktrees',
  ],
  remote: ['url', 'fetch', 'push', 'tagopt', 'promisor', 'partialclonefilter', 'prune', 'mirror'],
  branch: ['remote', 'merge', 'rebase', 'description', 'pushremote'],
  submodule: ['url', 'active', 'path', 'branch', 'ignore', 'fetchrecursesubmodules'],
  user: ['name', 'email'],
  author: ['name', 'email'],
  committer: ['name', 'email'],
  init: ['defaultbranch'],
  pull: ['rebase', 'ff'],
  push: ['default', 'autosetupremote', 'followtags'],
  fetch: ['prune', 'prunetags'],
  merge: ['ff', 'conflictstyle'],
  rebase: ['autosquash', 'autostash'],
  gc: ['auto', 'autodetach', 'pruneexpire', 'reflogexpire'],
  maintenance: ['auto', 'strategy'],
  pack: ['threads', 'windowmemory'],
  index: ['version'],
  color: ['ui'],
  status: ['showuntrackedfiles'],
  lfs: ['repositoryformatversion'],
}

const largest = 64 * 1024

/** `now`: what is there already, which may stay: the member, or git on the device, put it there. */
export function isHarmlessGitConfig(bytes: Uint8Array, now: Uint8Array = new Uint8Array()): boolean {
  const lines = linesOf(bytes)
  if (!lines) return false
  const there = new Set((linesOf(now) ?? []).map(({ header, entry }) => `${header}\n${entry}`))
  return lines.every(({ header, entry }) => there.has(`${header}\n${entry}`) || isHarmless(header, entry))
}

type Line = { header: string; entry: string }

/** Entries with the section they are in; null when the text is not written as git writes it. */
function linesOf(bytes: Uint8Array): Line[] | null {
  if (bytes.length > largest) return null
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
  const lines: Line[] = []
  let header = ''
  for (const line of text.split('\n')) {
    const plain = line.trim()
    if (plain === '' || plain.startsWith('#') || plain.startsWith(';')) continue
    // A value that goes on in the next line.
    if (plain.endsWith('\\') || /[\0\r]/.test(line)) return null
    if (plain.startsWith('[')) header = plain
    lines.push({ header, entry: plain.startsWith('[') ? '' : plain })
  }
  return lines
}

function isHarmless(header: string, entry: string): boolean {
  const section = (/^\[([A-Za-z0-9-]+)(?: "(?:[^"\\]|\\.)*")?\]$/.exec(header)?.[1] ?? '').toLowerCase()
  if (!Object.hasOwn(harmless, section)) return false
  if (entry === '') return true
  const [, key = '', value = ''] = /^([A-Za-z][A-Za-z0-9-]*)(?:\s*=\s*(.*))?$/.exec(entry) ?? []
  if (!harmless[section]?.includes(key.toLowerCase())) return false
  // `ext::` and the like are programs; `-u…` is taken for an option.
  return key.toLowerCase() !== 'url' || isAddress(value)
}

function isAddress(value: string): boolean {
  const plain = value.replace(/^"(.*)"$/, '$1')
  return (
    /^(https?|git|ssh|file):\/\/[^-]/.test(plain) ||
    /^[A-Za-z0-9_.~/][^:]*$/.test(plain) ||
    /^[A-Za-z0-9_.]+@[A-Za-z0-9.][A-Za-z0-9.-]*:(?!:)[^-]/.test(plain)
  )
}

/** What the `.git` file of a worktree or submodule may say: a folder of a repository's own, where hooks and settings are protected too. */
export function isHarmlessGitdir(bytes: Uint8Array): boolean {
  const path = /^gitdir: ([^\0\n]+)\n?$/.exec(Buffer.from(bytes).toString('latin1'))?.[1]?.split('/') ?? []
  const git = path.lastIndexOf('.git')
  const below = path.slice(git + 1)
  return (
    git !== -1 &&
    below.length >= 2 &&
    (below[0] === 'worktrees' || below[0] === 'modules') &&
    below.every((name) => name !== '..' && name !== '.')
  )
}
