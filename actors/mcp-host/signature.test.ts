import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { splitBundle, verifySignature, withoutComment } from './signature.ts'
import { makePublisher, makeZip } from './testing/bundles.ts'

const zip = makeZip([{ name: 'manifest.json', data: '{}' }])
const ada = makePublisher('Ada Lovelace')
const now = new Date()
/** By default at the time it is asked: a certificate made meanwhile is valid from then on. */
const state = (bytes: Buffer, trusted: string[] = [], at = new Date()) =>
  verifySignature(
    splitBundle(bytes),
    trusted.map((pem) => new X509Certificate(pem)),
    at,
  )

test('a signature openssl made is one that fits; trusted where its certificate is', () => {
  expect(state(ada.sign(zip), [ada.certificate])).toMatchObject({ state: 'trusted', publisher: 'Ada Lovelace' })
  expect(state(ada.sign(zip))).toMatchObject({ state: 'untrusted', publisher: 'Ada Lovelace' })
  expect(state(ada.sign(zip, { patched: true }), [ada.certificate])).toMatchObject({ state: 'trusted' })
  const curve = makePublisher('Curve', { ec: true })
  expect(state(curve.sign(zip), [curve.certificate])).toMatchObject({ state: 'trusted' })
})

test('what is unpacked is the zip alone', () => {
  const { content } = splitBundle(ada.sign(zip, { patched: true }))
  expect(withoutComment(content).equals(zip)).toBe(true)
})

test('none, broken, changed, wrong use, too late', () => {
  expect(state(zip)).toMatchObject({ state: 'none' })
  const signed = ada.sign(zip)
  for (const [at, mask] of [
    [40, 1],
    [zip.length + 30, 0xff],
    [signed.length - 40, 1],
  ] as const) {
    const changed = Buffer.from(signed)
    changed[at] = (changed[at] as number) ^ mask
    expect(state(changed, [ada.certificate]).state, `byte ${at}`).toBe('broken')
  }
  expect(state(Buffer.concat([signed, Buffer.from('x')]), [ada.certificate])).toMatchObject({ state: 'broken' })
  const web = makePublisher('Web', { usage: 'serverAuth' })
  expect(state(web.sign(zip), [web.certificate])).toMatchObject({
    state: 'untrusted',
    detail: expect.stringContaining('not for signing code'),
  })
  expect(state(signed, [ada.certificate], new Date(now.getTime() + 60 * 86_400_000))).toMatchObject({
    state: 'untrusted',
    detail: expect.stringContaining('not valid now'),
  })
})
