/**
 * Cuts secrets out of what comes back, also where one is split over chunks, and in the forms servers echo it: as it is, percent-encoded,
 * in JSON, in base64 (alone or in a Basic credential), in hex. Pure; one instance per stream.
 */
import { limits } from './limits.ts'

const mask = '[key]'
const maskBytes = Buffer.from(mask)

/**
 * `push` returns what may go on; it holds back only a tail that could be the beginning of a secret. `end` returns the rest. A secret
 * shorter than `limits.secretChars` is not looked for: it is part of ordinary text, and cutting it would damage answers.
 */
export function createScrubber(secrets: readonly string[]): { push(chunk: Uint8Array): Uint8Array; end(): Uint8Array } {
  const needles = formsOf(secrets).map((form) => Buffer.from(form))
  let held: Buffer = Buffer.alloc(0)
  if (needles.length === 0) return { push: (chunk) => chunk, end: () => held }
  const cut = (text: Buffer, last: boolean): { out: Uint8Array[]; rest: Buffer } => {
    const out: Uint8Array[] = []
    let from = 0
    for (;;) {
      const found = earliest(text, needles, from)
      const tail = last ? text.length : tailThatMayContinue(text, needles, from)
      // What may still grow into a longer secret must not be judged by the shorter one it contains.
      if (found === null || found.at >= tail) {
        out.push(text.subarray(from, tail))
        return { out, rest: text.subarray(tail) }
      }
      out.push(text.subarray(from, found.at), maskBytes)
      from = found.at + found.length
    }
  }
  return {
    push(chunk) {
      const { out, rest } = cut(Buffer.concat([held, chunk]), false)
      held = rest
      return Buffer.concat(out)
    },
    end() {
      const { out } = cut(held, true)
      held = Buffer.alloc(0)
      return Buffer.concat(out)
    },
  }
}

export function withoutSecrets(text: string, secrets: readonly string[]): string {
  const scrubber = createScrubber(secrets)
  return Buffer.concat([scrubber.push(Buffer.from(text)), scrubber.end()]).toString()
}

/** Longest first, so that of two that begin alike the whole one is cut. */
function formsOf(secrets: readonly string[]): string[] {
  const forms = secrets
    .filter((secret) => secret.length >= limits.secretChars)
    .flatMap((secret) => {
      const bytes = Buffer.from(secret)
      const inJson = JSON.stringify(secret).slice(1, -1)
      const encoded = encodeURIComponent(secret)
      const inLower = encoded.replace(/%../g, (code) => code.toLowerCase())
      return [secret, encoded, inLower, inJson, inJson.replaceAll('/', '\\/'), bytes.toString('hex'), ...base64Cores(bytes)]
    })
  return [...new Set(forms)].toSorted((a, b) => b.length - a.length)
}

/**
 * What base64 makes of the secret wherever in a text it stands: at each of the three offsets, the characters that depend on the secret
 * alone. `user:secret` and `secret:` are found by these.
 */
function base64Cores(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const first = Math.ceil((offset * 8) / 6)
    const last = Math.floor(((offset + bytes.length) * 8) / 6)
    const core = encoded.slice(first, last)
    return core.length < limits.secretChars ? [] : [core, core.replaceAll('+', '-').replaceAll('/', '_')]
  })
}

function earliest(text: Buffer, needles: readonly Buffer[], from: number): { at: number; length: number } | null {
  let best: { at: number; length: number } | null = null
  for (const needle of needles) {
    const at = text.indexOf(needle, from)
    if (at !== -1 && (best === null || at < best.at)) best = { at, length: needle.length }
  }
  return best
}

/** Where the shortest tail begins that holds every unfinished beginning of a needle. */
function tailThatMayContinue(text: Buffer, needles: readonly Buffer[], from: number): number {
  let tail = text.length
  for (const needle of needles) {
    for (let length = Math.min(text.length - from, needle.length - 1); length > text.length - tail; length -= 1) {
      if (text.subarray(text.length - length).equals(needle.subarray(0, length))) tail = text.length - length
    }
  }
  return tail
}
