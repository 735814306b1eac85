/** `bulkhead explore NAME`: a page to walk a model's states. Needs no daemon; ends with Ctrl-C. */
import { serveExplorer } from '../checker/explorer/server.ts'
import { createWalk } from '../checker/explorer/walk.ts'
import { subjects } from '../checker/subjects.ts'
import { UsageError } from './args.ts'
import { exitCodes } from './exit-codes.ts'

/** What the page's overview may explore before it shows what it has. */
const maxStates = 200_000

export async function explore(options: { name: string; port: number; out(text: string): void; ended: Promise<void> }): Promise<number> {
  const known = subjects()
  const subject = known.find(({ name }) => name === options.name)
  if (!subject)
    throw new UsageError(`explore: there is no model of "${options.name}" (there are: ${known.map(({ name }) => name).join(', ')})`)
  const explorer = await serveExplorer(createWalk(await subject.load('small'), maxStates), options.port)
  options.out(`${explorer.url}\n`)
  await options.ended
  await explorer.close()
  return exitCodes.done
}
