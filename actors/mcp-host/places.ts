/** Where the host keeps things under the home folder, and what every server's start has in common. Pure. */
import { join } from 'node:path'
import type { LaunchSpec } from '../mcp-server/protocol.ts'
import type { Definition } from './definition.ts'

export type Place = {
  home: string
  nodeBinary: string
  plugins: string
  extensions: string
  /** Bundles the client puts here to be installed. */
  incoming: string
  pins: string
  /** A launch with nothing to start yet. */
  launch(name: string): LaunchSpec
}

export function placeOf({ home, nodeBinary }: { home: string; nodeBinary: string }): Place {
  return {
    home,
    nodeBinary,
    plugins: join(home, 'plugins'),
    extensions: join(home, 'extensions'),
    incoming: join(home, 'incoming'),
    pins: join(home, 'mcp', 'pins.json'),
    launch: (name) => ({
      name,
      command: 'node',
      args: [],
      env: {},
      network: false,
      folders: [],
      code: [],
      data: join(home, 'mcp', 'data', fileName(name)),
      nodeBinary,
    }),
  }
}

/** A file name for any name; different names never share one. */
function fileName(name: string): string {
  return encodeURIComponent(name).replace(/[.*~'()!]/g, (one) => `%${one.charCodeAt(0).toString(16)}`)
}

/** Something that is there and cannot be started: listed, with the reason. */
export function unusable(
  base: Pick<Definition, 'name' | 'source' | 'origin' | 'bundled' | 'signature'>,
  place: Place,
  message: string,
  cause: string,
): Definition {
  return { ...base, launch: place.launch(base.name), problem: { message, cause } }
}
