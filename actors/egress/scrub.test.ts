import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits } from './limits.ts'
import { answerHeaders } from './model-request.ts'
import { createScrubber, withoutSecrets } from './scrub.ts'

const key = 'sk-ant-api03-abcDEF_123+/=='

function scrub(secrets: readonly string[], chunks: readonly string[]): string {
  const scrubber = createScrubber(secrets)
  const out = [...chunks.map((chunk) => scrubber.push(Buffer.from(chunk))), scrubber.end()]
  return Buffer.concat(out).toString()
}

describe('a value too short to be told from ordinary text', () => {
  test.each(['k', 'ab', 'abc1234'])('%s is not cut out of a stream, a header or a message', (short) => {
    expect(short.length).toBeLessThan(limits.secretChars)
    expect(scrub([short], ['a bucket of abc', '1234 keys'])).toBe('a bucket of abc1234 keys')
    expect(answerHeaders({ 'content-type': 'text/markdown; x=abc1234' }, short)).toEqual({ 'content-type': 'text/markdown; x=abc1234' })
    expect(withoutSecrets('abc1234k', [short])).toBe('abc1234k')
  })
})

describe('a secret', () => {
  const forms = {
    plain: key,
    'percent-encoded': encodeURIComponent(key),
    'in JSON': JSON.stringify(key).slice(1, -1).replaceAll('/', '\\/'),
    base64: Buffer.from(key).toString('base64'),
    'Basic, as a password': Buffer.from(`user:${key}`).toString('base64'),
    'Basic, as a user': Buffer.from(`${key}:`).toString('base64'),
    'hexadecimal, as by a debugger': Buffer.from(key).toString('hex'),
  }
  test.each(Object.entries(forms))('is cut out %s', (_name, form) => {
    expect(withoutSecrets(`before ${form} after`, [key])).not.toContain(form)
    expect(scrub([key], [`before ${form} after`])).not.toContain(form)
  })

  test('is cut out wherever it is split, and everything else passes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom(...Object.values(forms), key.slice(0, 9), key.slice(3)))),
        fc.array(fc.nat(30)),
        (pieces, cuts) => {
          const text = pieces.join('|')
          const chunks: string[] = []
          let at = 0
          for (const cut of cuts) {
            chunks.push(text.slice(at, at + cut))
            at += cut
          }
          chunks.push(text.slice(at))
          expect(scrub([key], chunks)).toBe(withoutSecrets(text, [key]))
        },
      ),
    )
  })

  test('one of several, the longer first', () => {
    expect(scrub(['secret-1234', 'secret-1234-longer'], ['a secret-1234-lon', 'ger b secret-1234 c'])).toBe('a [key] b [key] c')
  })

  test('nothing to look for: what comes passes as it is', () => {
    const chunk = Buffer.from('anything')
    expect(createScrubber([]).push(chunk)).toBe(chunk)
  })
})
