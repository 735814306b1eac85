/** Terminals that clients have open in the workspace. Whose they are is decided here: a client reaches its own and no other. */
import { fault } from '../../kernel/index.ts'
import type { ClientCall } from './client-methods.ts'
import { maxShells } from './limits.ts'
import { type Context, effect, fail, type Out, type Shell, type Step, stay, without } from './state.ts'

type Opened = Extract<ClientCall, { method: 'shell/open' }>['params']
type Steered = Extract<ClientCall, { method: 'shell/input' | 'shell/resize' }>

/** The workspace's name for it. */
export const handleOf = ({ conn, shell }: Pick<Shell, 'conn' | 'shell'>): string => `terminal-${conn}-${shell}`

export function openShell(context: Context, conn: number, call: number, { shell, session, ...asked }: Opened): Step {
  const own = Object.values(context.shells).filter((one) => one.conn === conn)
  if (own.length >= maxShells) return stay(context, fail(conn, call, fault('overloaded', `${maxShells} terminals are open.`)))
  if (own.some((one) => one.shell === shell))
    return stay(context, fail(conn, call, fault('already-exists', `There is a terminal ${shell} already.`)))
  const ref = `shell:${context.next}`
  const opened: Shell = { conn, call, shell, session }
  return stay(
    { ...context, next: context.next + 1, shells: { ...context.shells, [ref]: opened } },
    effect({ name: 'shell', params: { ...opened, ref, ...asked } }),
  )
}

/** The message that carries it to the workspace, or why there is none. */
export function steered(
  { shells }: Context,
  conn: number,
  { method, params }: Steered,
): { kind: 'input' | 'resize'; body: Record<string, unknown> } | null {
  const found = Object.values(shells).find((one) => one.conn === conn && one.shell === params.shell)
  if (!found) return null
  const to = { session: found.session, handle: handleOf(found) }
  if (method === 'shell/resize') return { kind: 'resize', body: { ...to, cols: params.cols, rows: params.rows } }
  return { kind: 'input', body: { ...to, bytes: new Uint8Array(Buffer.from(params.data, 'base64')), end: params.end ?? false } }
}

export function shellClosed(context: Context, ref: string): Step {
  return stay({ ...context, shells: without(context.shells, ref) })
}

/** Their client does not want them any more, or is gone. */
export function endShells(context: Context, which: (shell: Shell) => boolean): Step {
  const refs = Object.entries(context.shells).flatMap(([ref, shell]) => (which(shell) ? [ref] : []))
  const kept = refs.reduce((shells, ref) => without(shells, ref), context.shells)
  return stay({ ...context, shells: kept }, ...refs.map((ref): Out => ({ type: 'interrupt', ref })))
}
