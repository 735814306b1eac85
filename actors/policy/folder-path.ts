/**
 * Paths of `allowedWorkspaceFolders`: absolute, or beginning with `~` or a variable. The home folder comes from the user database and not
 * from `$HOME`, which the member could point anywhere; a variable that is unknown or unset on this device makes its entry void.
 */

export type Variables = {
  /** Home folder of the user the daemon runs as. */
  home: string
  user: string
}

const known = ['OneDrive', 'OneDriveCommercial', 'OneDriveConsumer', 'APPDATA', 'LOCALAPPDATA', 'USERNAME', 'XDG_DOCUMENTS_DIR']

/** The path in full without empty and `.` parts, or why the entry is void. */
export function folderPath(text: string, { home, user }: Variables): { path: string } | { why: string } {
  if (text.includes('\0')) return { why: 'it holds a NUL character' }
  let unset: string | null = null
  const expanded = text.replaceAll(/%([A-Za-z_]+)%/g, (whole, name: string) => {
    if (name === 'USERNAME' && user !== '') return user
    unset ??= known.includes(name) ? `${whole} is not set on this device` : `${whole} is not a known variable`
    return ''
  })
  if (unset !== null) return { why: unset }
  const full = expanded === '~' || expanded.startsWith('~/') ? `${home}${expanded.slice(1)}` : expanded
  if (!full.startsWith('/')) return { why: 'it is not an absolute path' }
  const parts = full.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) return { why: 'it contains ".."' }
  return { path: `/${parts.join('/')}` }
}
