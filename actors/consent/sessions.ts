/** Taking things back: a folder, a grant, a whole session. Everything is revoked first and stopped second, so that nothing slips in between. */
import { fault } from '../../kernel/index.ts'
import { type Context, type Folder, refuse, type Step, stay, tell, andThen, withSession, without } from './state.ts'

/** Disconnects a folder: its grant and all derived from it die, its process ends. Says nothing to the conversation. */
export function dropFolder(context: Context, id: string, name: string): Step {
  const folder = context.sessions[id]?.folders.find((item) => item.name === name)
  if (!folder) return stay(context)
  const forgotten = withSession(context, id, (session) => ({
    ...session,
    folders: session.folders.filter((item) => item.name !== name),
    grants: session.grants.filter((grant) => grant.folder !== name),
  }))
  return endFolder(forgotten, folder)
}

function endFolder(context: Context, { held, actor }: Folder): Step {
  const revoked = held ? tell(context, 'kernel', 'revoke', { grant: held.grant }) : stay(context)
  return andThen(revoked, (now) => (actor ? tell(now, 'kernel', 'stop', { id: actor.id }) : stay(now)))
}

/** Ends all of a session's actors and grants, and refuses what it still asks. */
export function endSession(context: Context, id: string): Step {
  const session = context.sessions[id]
  if (!session) return stay(context)
  const questions = Object.entries(context.asks).filter(([, ask]) => ask.session === id)
  const aboutHosts = Object.entries(context.hostQuestions).filter(([, question]) => question.session === id)
  const forgotten: Context = {
    ...context,
    sessions: without(context.sessions, id),
    hostQuestions: Object.fromEntries(Object.entries(context.hostQuestions).filter(([, question]) => question.session !== id)),
    asks: Object.fromEntries(Object.entries(context.asks).filter(([, ask]) => ask.session !== id)),
  }
  const refused: Step = {
    context: forgotten,
    out: [...questions, ...aboutHosts].flatMap(([ref, { request }]) => [
      { type: 'cancel', ref } as const,
      refuse(request, fault('cancelled', 'The session was closed.')),
    ]),
  }
  const grants = [...session.grants, ...session.outgrown, ...(session.egress ? [session.egress] : [])]
  const revoked = grants.reduce((step, { grant }) => andThen(step, (now) => tell(now, 'kernel', 'revoke', { grant })), refused)
  const { conversation } = session
  const stopped = andThen(revoked, (now) => (conversation ? tell(now, 'kernel', 'stop', { id: conversation.id }) : stay(now)))
  const parted = session.folders.reduce((step, folder) => andThen(step, (now) => endFolder(now, folder)), stopped)
  return andThen(parted, (now) => tell(now, 'workspace', 'detach', { session: id }))
}

export const unknownSession = (id: string) => fault('no-such-session', `There is no open session ${id}.`)
