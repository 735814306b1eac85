/** What the host knows of a server before it runs: from managed policy, settings, a plugin or an extension, in one form. */
import type { LaunchSpec } from '../mcp-server/protocol.ts'

/** `actor`: an actor from outside; it is no program of ours to start, and whether it runs is decided where it is kept. */
export type Source = 'managed' | 'settings' | 'plugin' | 'extension' | 'actor'

export type Definition = {
  /** Unique; the middle of its tools' names. */
  name: string
  source: Source
  /** For people: the file or bundle it is from, `extension report-maker 1.2.0`. */
  origin: string
  /** An extension inside a plugin falls under both keys of the policy. */
  bundled: boolean
  /** Null for what an extension's signature does not matter to. */
  signature: SignatureState | null
  launch: LaunchSpec
  /** Why it cannot be started although it is there. */
  problem: { message: string; cause: string } | null
}

/** An actor from outside, as far as the host can know it. With other code it is another. */
export function actorDefinition({ name, hash }: { name: string; hash: string }): Definition {
  const launch = { name, command: '', args: [hash], env: {}, network: false, folders: [], code: [], data: '', nodeBinary: '' }
  return { name, source: 'actor', origin: 'actor from outside', bundled: false, signature: null, launch, problem: null }
}

/**
 * `none`: there is none. `broken`: there is one, and it is not what it should be. `untrusted`: it fits, by a certificate nobody here trusts.
 * `trusted`: by a publisher the administrator trusts.
 */
export type SignatureState = { state: 'none' | 'broken' | 'untrusted' | 'trusted'; publisher: string | null; detail: string }

/** Where a program lies that an argument or command names by its absolute path: readable inside the jail, and nothing above it. */
export function codeRoots(command: string, args: readonly string[]): string[] {
  const script = args.find((arg) => !arg.startsWith('-'))
  const named = [command, ...(interpreters.test(command.split('/').at(-1) ?? '') && script !== undefined ? [script] : [])]
  const roots = named.filter((path) => path.startsWith('/') && !/^\/(?:usr|bin|sbin|lib|lib64)\//.test(path)).map(rootOf)
  return [...new Set(roots)].filter((path) => path.split('/').length > 2)
}

const interpreters = /^(?:node|bun|deno|python[\d.]*|ruby|php|perl|bash|sh|uv|java)$/

/** A package needs those installed beside it: all of its `node_modules`. Anything else has its own folder. */
function rootOf(path: string): string {
  const at = path.indexOf('/node_modules/')
  return at > 0 ? path.slice(0, at + '/node_modules'.length) : path.slice(0, path.lastIndexOf('/'))
}
