/** An actor came back after a crash and remembers nothing: what sessions had given it is given again. */
import { restrictions } from './policy-rules.ts'
import { attachNetwork } from './egress-capability.ts'
import { attachFolders, connected, readable, view } from './opening.ts'
import type { Outgoing } from '../../kernel/index.ts'
import { andThen, type Context, type Session, type Step, stay, tell } from './state.ts'

export const watchRef = 'restarts'

/** Asked for once, when consent starts; its parts name the actors that came back. */
export const watch: Outgoing = { type: 'send', to: 'kernel', kind: 'watch-restarts', body: {}, ref: watchRef, deadlineMs: null }

export function restarted(context: Context, body: unknown): Step {
  const actor = typeof body === 'object' && body !== null && 'id' in body ? body.id : null
  const sessions = Object.values(context.sessions)
  if (actor === 'vm-supervisor')
    return sessions.reduce(
      (step, session) =>
        andThen(
          andThen(step, (now) => attachFolders(now, session, connected(session))),
          (now) => attachNetwork(now, session),
        ),
      stay(context),
    )
  // It signs with another certificate now, which programs of the workspace have to be told of.
  if (actor === 'egress') return sessions.reduce((step, session) => andThen(step, (now) => attachNetwork(now, session)), stay(context))
  const owner = sessions.find(({ folders }) => folders.some((folder) => folder.actor?.id === actor))
  // Its mount in the workspace holds handles the new gate does not know: the workspace gets a new capability and mounts anew.
  if (owner)
    return attachFolders(
      context,
      owner,
      connected(owner).filter((folder) => folder.actor?.id === actor),
    )
  const session = sessions.find(({ conversation }) => conversation?.id === actor)
  return session ? andThen(retell(context, session), (now) => restrict(now, session)) : stay(context)
}

/** A conversation starts again with the folders it was spawned with; it is told of those that came later, and of those that went. */
function retell(context: Context, session: Session): Step {
  const { conversation } = session
  if (!conversation) return stay(context)
  const folders = connected(session)
  const later = folders.filter(({ name }) => !conversation.folders.includes(name))
  if (later.length === 0 && folders.length === conversation.folders.length) return stay(context)
  return tell(context, conversation.slot, 'folders', { folders: folders.map(view) }, later.map(readable(session.id, context.policy)))
}

/** It was spawned with what policy blocked then. */
function restrict(context: Context, { conversation }: Session): Step {
  if (!conversation || context.policy === null) return stay(context)
  return tell(context, conversation.slot, 'restrict', restrictions(context.policy))
}
