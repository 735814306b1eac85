/**
 * How the network is reached, as the member's environment says, else the operating system: proxy variables, a PAC script, certificates to
 * trust besides. Read by the client, which has the member's environment and may read their files; handed to egress where no other process sees it, because a proxy's
 * address may hold a password.
 */
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { fault } from '../kernel/index.ts'
import { systemProxy } from './system-proxy.ts'

export type NetworkSettings = {
  proxy: { http?: string; https?: string; all?: string; no?: string; pac?: string }
  /** PEM, or null. */
  ca: string | null
}

const largestFile = 1024 * 1024

/** Throws a fault when a file it names cannot be read: without it, requests would go another way than the member wants. */
export function networkSettings(env: NodeJS.ProcessEnv, system: () => NetworkSettings['proxy'] = systemProxy): NetworkSettings {
  // The small spelling counts before the large one, as in curl.
  const variable = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined
  const pac = env['BULKHEAD_PROXY_PAC'] || undefined
  const given = {
    http: variable('HTTP_PROXY'),
    https: variable('HTTPS_PROXY'),
    all: variable('ALL_PROXY'),
    no: variable('NO_PROXY'),
    pac: pac === undefined || /^https?:\/\//.test(pac) ? pac : readText(pac, 'BULKHEAD_PROXY_PAC'),
  }
  const ca = env['NODE_EXTRA_CA_CERTS'] || null
  const proxy = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  // Variables that name a proxy say it whole.
  const named = Object.keys(proxy).some((key) => key !== 'no')
  return {
    proxy: named ? proxy : { ...system(), ...proxy },
    ca: ca === null ? null : readText(ca, 'NODE_EXTRA_CA_CERTS'),
  }
}

function readText(name: string, variable: string): string {
  try {
    const path = name.startsWith('file:') ? fileURLToPath(name) : name
    if (statSync(path).size > largestFile) throw new Error(`it is larger than ${largestFile} bytes`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw fault('bad-settings', `The file that ${variable} names cannot be read.`, {
      cause: error instanceof Error ? error.message : String(error),
      remedy: `Correct ${variable}, or unset it.`,
    })
  }
}
