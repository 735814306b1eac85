/**
 * Paths that something on the device runs or obeys: a hook, an editor's task, a shell's start file. Whoever writes there runs code outside
 * every wall, later and with the member's rights. Judged by the path alone, at any depth, whether it is there or not, and in every spelling
 * that some file system takes for the same name. Pure.
 *
 * Removing and reading such a file runs nothing, so neither is protected.
 */

/** `vet`: programs that need to write there may, if the content is harmless: git's own settings, and the file that leads to a worktree. */
export type Protection = { rule: string; vet: 'git-config' | 'gitdir' | null }

/** Folders whose content as a whole is protected. */
const folders: readonly string[] = [
  '.husky',
  '.bulkhead',
  '.idea',
  '.ssh',
  '.cursor',
  '.codex',
  '.gemini',
  '.config/git',
  '.config/fish',
  '.config/autostart',
]
/** Files by name, anywhere. */
const files: ReadonlySet<string> = new Set(
  `.bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zprofile
   .zshenv .zlogin .zlogout .kshrc .cshrc .tcshrc .inputrc .xprofile
   .xsession .xinitrc .envrc .netrc .ripgreprc .gitconfig .mcp.json .npmrc
   .yarnrc .yarnrc.yml .pnpmfile.cjs sitecustomize.py usercustomize.py`.split(/\s+/),
)
/** Files by the end of their path. */
const tails: readonly string[] = ['.vscode/tasks.json', '.vscode/settings.json', '.vscode/launch.json', '.vscode/mcp.json']
const endings: readonly string[] = ['.desktop', '.lnk', '.code-workspace']
/** Nobody opens a dependency as a project, and packages carry their authors' leavings. */
const leavings: ReadonlySet<string> = new Set(['.idea', '.cursor', '.codex', '.gemini', '.husky', '.npmrc', '.yarnrc', '.yarnrc.yml'])

export function protection(parts: readonly string[]): Protection | null {
  const names = parts.map(folded)
  return gitProtection(names) ?? otherProtection(names)
}

function gitProtection(names: readonly string[]): Protection | null {
  const git = names.lastIndexOf('.git')
  const last = names.at(-1) ?? ''
  if (git === -1) return null
  const rule = (what: string) => `protected path: ${what}`
  if (git === names.length - 1) return { rule: rule('.git'), vet: 'gitdir' }
  const below = names.slice(git + 1)
  // Also those of submodules and worktrees: `.git/modules/x/hooks`.
  const hooks = below.indexOf('hooks')
  if (hooks !== -1 && hooks < below.length - 1 && !last.endsWith('.sample') && !isRef(below)) return { rule: rule('.git/hooks'), vet: null }
  if ((last === 'config' || last === 'config.worktree') && !isRef(below)) return { rule: rule('.git/config'), vet: 'git-config' }
  if (below.length === 1 && last === 'commondir') return { rule: rule('.git/commondir'), vet: null }
  return null
}

/** A branch may be called `hooks/x` or `config`. */
function isRef([first]: readonly string[]): boolean {
  return first === 'refs' || first === 'logs' || first === 'objects'
}

function otherProtection(names: readonly string[]): Protection | null {
  const last = names.at(-1) ?? ''
  const path = names.join('/')
  const dependency = names.includes('node_modules')
  const inside = folders.find((folder) => `/${path}`.includes(`/${folder}/`) && !(dependency && leavings.has(folder)))
  const agent = /(^|\/)\.claude\/(settings[^/]*\.json|hooks\/.|commands\/.|agents\/.|skills\/.|plugins\/.)/.test(path)
  const tail = tails.find((end) => path === end || path.endsWith(`/${end}`))
  const ending = endings.find((end) => last.endsWith(end))
  const found =
    inside ??
    (agent ? '.claude' : undefined) ??
    (tail && !dependency ? tail : undefined) ??
    (ending ? `*${ending}` : undefined) ??
    (files.has(last) && !(dependency && leavings.has(last)) ? last : undefined)
  return found === undefined ? null : { rule: `protected path: ${found}`, vet: null }
}

/** Code points HFS+ passes over in names. */
const ignorable = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g

/** One spelling for all that a case-insensitive, normalising, or Windows file system takes for the same name. */
export function folded(name: string): string {
  const plain = name.normalize('NFKC').replace(ignorable, '').toLowerCase()
  // NTFS: `.git::$INDEX_ALLOCATION` is `.git`, and so are `.git.` and `.git `.
  const file = (plain.split(':', 1)[0] ?? '').replace(/[. ]+$/, '')
  return /^git~\d+$/.test(file) ? '.git' : file
}

/** Whether a folder of that name may have protected paths in it that others have not: such a folder's content is looked at when it gets the name. */
export function hasProtectedInside(parts: readonly string[]): boolean {
  const names = parts.map(folded)
  const first = names.find(
    (name) => name === '.git' || name === '.claude' || name === '.vscode' || name === '.config' || folders.includes(name),
  )
  return first !== undefined
}

/** Names that together make a folder a bare repository, whose `config` git obeys as it does `.git/config`. */
export const bareRepository: ReadonlySet<string> = new Set(['head', 'objects', 'refs', 'config'])
