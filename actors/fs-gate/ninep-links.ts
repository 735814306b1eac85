/**
 * Symbolic links a guest makes or moves. The guest follows links in its own tree, where they can do no harm; but the member's programs
 * follow them on the device. So no link comes to be, by making or by moving, that leads out of the folder. (Links that lead out
 * absolutely and were there before may move: they lead where they led.)
 */
import * as fs from 'node:fs'
import { at, openFolder, scoped, self } from './handles.ts'
import { NinepError } from './ninep-errors.ts'
import { linkStaysInside } from './path.ts'

/** Entries looked at in a folder that moves up. More: EXDEV, upon which `mv` copies, and each link is looked at as it is made. */
const mostEntries = 5_000

/** Throws EPERM or EXDEV when moving `name` of `folder` (components `from`, with its name) into the folder `to` would make a link lead out. */
export function checkMove(folder: number, name: string, from: readonly string[], to: readonly string[]): void {
  const stat = fs.lstatSync(at(folder, name))
  if (stat.isSymbolicLink()) checkLink(folder, name, to)
  // The same depth or deeper: what stayed inside does so still.
  else if (stat.isDirectory() && to.length + 1 < from.length) checkTree(folder, name, to)
}

function checkLink(folder: number, name: string, to: readonly string[]): void {
  const text = fs.readlinkSync(at(folder, name))
  if (!text.startsWith('/') && !linkStaysInside(text, to)) throw new NinepError('EPERM')
}

function checkTree(folder: number, name: string, to: readonly string[]): void {
  let seen = 0
  const visit = (fd: number, inside: readonly string[]): void => {
    for (const entry of fs.readdirSync(self(fd), { withFileTypes: true })) {
      seen += 1
      if (seen > mostEntries) throw new NinepError('EXDEV')
      if (entry.isSymbolicLink()) checkLink(fd, entry.name, inside)
      else if (entry.isDirectory()) scoped((scope) => visit(scope.own(openFolder(fd, entry.name)), [...inside, entry.name]))
    }
  }
  scoped((scope) => visit(scope.own(openFolder(folder, name)), [...to, name]))
}
