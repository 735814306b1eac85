/**
 * A guest of a test's own: the agent's files in a copy that the test changes, and the supervisor that may read them. Its code still imports
 * its half of the wire from the checkout.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { actor as supervisor } from '../../actors/vm-supervisor/index.ts'
import type { Permissions } from '../../kernel/index.ts'

const checkout = new URL('../../', import.meta.url).pathname

export const supervisorEntry = {
  manifest: supervisor.manifest,
  protocol: supervisor.protocol,
  entry: new URL('../../actors/vm-supervisor/index.ts', import.meta.url).href,
  load: async () => supervisor,
}

/** The supervisor, for a guest whose files are elsewhere. */
export const supervisorOfCopy = {
  ...supervisorEntry,
  manifest: {
    ...supervisor.manifest,
    permissions: (params: Record<string, unknown>): Permissions => {
      const { fsRead = [], ...others } = supervisor.manifest.permissions(params) as Permissions
      return { ...others, fsRead: [...fsRead, join(checkout, 'guest/')] }
    },
  },
}

/** Part of a file of the guest, and what takes its place. */
export type Change = { file: string; usual: string; becomes: string }

/** Throws when a part is not there: the agent is another now, and the test has to follow. */
export function copyGuest(dir: string, changes: readonly Change[]): void {
  cpSync(join(checkout, 'guest'), dir, { recursive: true })
  for (const { file, usual, becomes } of changes) {
    const path = join(dir, file)
    const text = readFileSync(path, 'utf8')
    if (!text.includes(usual)) throw new Error(`guest/${file} has no ${JSON.stringify(usual)} any more; this has to follow.`)
    writeFileSync(
      path,
      text.replace(usual, () => becomes),
    )
  }
}

/** First line of a command that is to run as root: within its session, or of the whole guest, which no session of the product is. */
export const rootMarks = { root: '#root', machine: '#machine' } as const

const marked = (...marks: readonly string[]): string => `grep { /^(${marks.join('|')})\\n/ } @command`

/** What a session that broke out could do: the agent also runs commands as root, where it gives up root's rights and where it enters the session. */
export const withRoot: readonly Change[] = [
  {
    file: 'agent/launcher.pl',
    usual: "join_namespace($holder, 'pid', $CLONE_NEWPID);",
    becomes: `join_namespace($holder, 'pid', $CLONE_NEWPID) unless grep { /^${rootMarks.machine}\\n/ } @rest;`,
  },
  { file: 'agent/launcher.pl', usual: 'confine($uid);', becomes: `confine($uid) unless ${marked(rootMarks.root, rootMarks.machine)};` },
  {
    file: 'agent/launcher.pl',
    usual: 'join_session($holder);',
    becomes: `join_session($holder) unless ${marked(rootMarks.machine)};`,
  },
]
