/**
 * Builds the workspace image for set-up and reports in lines of JSON (`ImageReport` in vm-image.js). Runs on the pinned Node.
 */
import { join } from 'node:path'
import { buildImage } from '../actors/vm-supervisor/image.ts'
import { diskFull, noSpace } from '../actors/vm-supervisor/image-commands.ts'
import { profileOf, profiles } from '../guest/image/recipe.ts'
import { asFault, fault } from '../kernel/errors.ts'
import type { Fault } from '../kernel/types.ts'
import { pinnedNode } from './pinned-node.js'
import { checkout, imagePlace } from './places.js'

const report = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const interruption = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interruption.abort())

try {
  const nodeBinary = pinnedNode(checkout)?.path ?? process.execPath
  const named = process.env['BULKHEAD_IMAGE_PROFILE']
  const profile = profileOf(named)
  if (profile === null)
    throw fault('image-failed', `There is no image profile "${named}".`, {
      remedy: `Set BULKHEAD_IMAGE_PROFILE to one of ${Object.keys(profiles).join(', ')}, or not at all.`,
    })
  const { dir } = await buildImage({
    imageDir: imagePlace(process.env),
    nodeBinary,
    guestDir: join(checkout, 'guest'),
    profile,
    onProgress: (progress) => report({ type: 'progress', ...progress }),
    signal: interruption.signal,
  })
  report({ type: 'done', dir })
} catch (thrown) {
  report({ type: 'failed', fault: imageFault(asFault(thrown)) })
  process.exitCode = 1
}

function imageFault(known: Fault): Fault {
  if (known.code !== 'internal') return known
  const cause = known.cause ?? ''
  const message = 'The workspace image could not be built.'
  return noSpace.test(cause) ? diskFull(message, cause) : fault('image-failed', message, { cause })
}
