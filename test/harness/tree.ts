import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Every name below a folder with its kind, mode and content, for comparing folders whole. */
export function treeOf(root: string, below = ''): Record<string, string> {
  const found: Record<string, string> = {}
  for (const entry of readdirSync(join(root, below), { withFileTypes: true })) {
    const name = below === '' ? entry.name : `${below}/${entry.name}`
    const full = join(root, name)
    const bits = (lstatSync(full).mode & 0o777).toString(8)
    if (entry.isDirectory()) Object.assign(found, { [name]: `folder ${bits}` }, treeOf(root, name))
    else if (entry.isSymbolicLink()) found[name] = `link ${readlinkSync(full)}`
    else found[name] = `file ${bits} ${readFileSync(full, 'latin1')}`
  }
  return found
}
