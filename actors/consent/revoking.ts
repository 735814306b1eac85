/** What the member takes back: a grant, or a whole session. */
import { fault } from '../../kernel/index.ts'
import { renewEgress } from './opening.ts'
import { dropFolder, endSession, unknownSession } from './sessions.ts'
import { type Context, refuse, type Step, stay, tell, andThen, withSession } from './state.ts'

/** `close` from the gateway. */
export function close(context: Context, request: number, id: string): Step {
  if (!context.sessions[id]) return stay(context, refuse(request, unknownSession(id)))
  if (Object.values(context.openings).some(({ session }) => session === id))
    return stay(context, refuse(request, fault('not-now', `Session ${id} is being opened.`)))
  return andThen(endSession(context, id), (now) => stay(now, { type: 'reply', request, body: {} }))
}

/** `revoke` from the gateway. */
export function revoke(context: Context, request: number, id: string, grant: string): Step {
  const session = context.sessions[id]
  if (!session) return stay(context, refuse(request, unknownSession(id)))
  const answer = (now: Context) => stay(now, { type: 'reply', request, body: {} })
  const folder = session.folders.find(({ held }) => held && String(held.grant) === grant)
  if (folder) {
    const rest = session.folders.filter((item) => item !== folder && item.held).map(({ name, root, mode }) => ({ name, root, mode }))
    const { conversation } = session
    const told = andThen(dropFolder(context, id, folder.name), (now) =>
      conversation ? tell(now, conversation.slot, 'folders', { folders: rest }) : stay(now),
    )
    return andThen(told, answer)
  }
  if (session.egress && String(session.egress.grant) === grant && session.hosts.length > 0) {
    if (Object.values(context.openings).some((opening) => opening.session === id))
      return stay(context, refuse(request, fault('not-now', `Session ${id} is being opened.`)))
    // One capability carries the hosts and the model API: it goes, with what it grew out of, and one without hosts takes its place.
    const gone = [...session.outgrown, session.egress]
    const changed = withSession(context, id, (now) => ({ ...now, hosts: [], egress: null, outgrown: [] }))
    const revoked = gone.reduce(
      (step, { grant: held }) => andThen(step, (now) => tell(now, 'kernel', 'revoke', { grant: held })),
      stay(changed),
    )
    return andThen(revoked, (now) => renewEgress(now, request, { ...session, hosts: [], egress: null }))
  }
  const answered = session.grants.find((item) => String(item.grant) === grant)
  if (!answered)
    return stay(
      context,
      refuse(request, fault('not-found', `Session ${id} has no grant ${grant}.`, { remedy: 'List its grants to see which there are.' })),
    )
  const forgotten = withSession(context, id, (now) => ({ ...now, grants: now.grants.filter((item) => item !== answered) }))
  return andThen(tell(forgotten, 'kernel', 'revoke', { grant: answered.grant }), answer)
}
