/**
 * Asks an actor's code what it is, in a process that may read that code and nothing else. Argument: the URL of its `index.ts`. The answer goes
 * to descriptor 3 as JSON; whoever started this believes none of it.
 */
import { writeSync } from 'node:fs'
import { z } from 'zod'
import type { Actor } from '../../kernel/types.ts'
import { alters } from '../../kernel/unaltered.ts'

await import('../../kernel/outside-imports.ts')

/** Given by name, so that this file loads nothing of the daemon. */
const [entry = '', own = ''] = process.argv.slice(2)
const { actor } = (await import(entry)) as { actor: Actor }
const { manifest, protocol } = actor
const { kind, purpose, grants, permissionReasons, tools = [], mailbox, stopMs } = manifest
const { fsRead = [], fsWrite = [], ...more } = manifest.permissions({ data: own })
const refused = Object.entries({ ...more, fds: manifest.fds, handles: manifest.handles, lingers: manifest.lingers }).flatMap(
  ([name, value]) => (value === undefined || value === false ? [] : [name]),
)
if (refused.length > 0) throw new Error(`actors from outside are not given: ${refused.join(', ')}`)

/** Its author is told here, in the words of their code; whoever reads the answer asks the same of it. */
function schemaOf(schema: z.ZodType): object {
  const altered = alters(schema)
  if (altered !== null) throw new Error(`a schema would change what it judges, and messages arrive as they were sent: ${altered}`)
  return z.toJSONSchema(schema, { io: 'input' })
}

const described = {
  kind,
  purpose,
  grants,
  permissions: { fsRead, fsWrite },
  permissionReasons,
  protocol: Object.fromEntries(
    Object.entries(protocol).map(([name, { body, reply, part, deadlineMs }]) => [
      name,
      {
        body: schemaOf(body),
        ...(reply ? { reply: schemaOf(reply) } : {}),
        ...(part ? { part: schemaOf(part) } : {}),
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
      },
    ]),
  ),
  tools: tools.map((tool) => ({ readOnly: false, ...tool })),
  ...(mailbox === undefined ? {} : { mailbox }),
  ...(stopMs === undefined ? {} : { stopMs }),
}
writeSync(3, JSON.stringify(described))
process.exit(0)
