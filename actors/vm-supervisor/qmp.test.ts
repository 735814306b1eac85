import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { maxQmpLine } from './limits.ts'
import { QmpClient, QmpDecoder, type QmpEvent } from './qmp.ts'

/** QEMU's end: what the client wrote, and a hand to answer with. */
function fakeQemu() {
  const written: Record<string, unknown>[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().trim().split('\n')) written.push(JSON.parse(line) as Record<string, unknown>)
      done()
    },
  })
  return { stream, written, say: (message: unknown) => stream.push(`${JSON.stringify(message)}\r\n`) }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

it('negotiates, matches answers to commands by id, and passes events on', async () => {
  const { stream, written, say } = fakeQemu()
  const events: QmpEvent[] = []
  const qmp = new QmpClient(stream, (event) => events.push(event))
  say({ QMP: { version: {} } })
  await turn()
  expect(written).toMatchObject([{ execute: 'qmp_capabilities' }])
  say({ return: {}, id: written[0]?.['id'] })
  await qmp.ready
  const [first, second] = [qmp.execute('a'), qmp.execute('b', { x: 1 })]
  say({ event: 'STOP', data: { why: 1 } })
  say({ return: 'for b', id: written[2]?.['id'] })
  say({ error: { class: 'GenericError', desc: 'no' }, id: written[1]?.['id'] })
  await expect(first).rejects.toThrow('no')
  await expect(second).resolves.toBe('for b')
  expect(events).toEqual([{ event: 'STOP', data: { why: 1 } }])
})

it('fails what is open and what follows when QEMU goes', async () => {
  const { stream, say } = fakeQemu()
  const qmp = new QmpClient(stream, () => {})
  say({ QMP: {} })
  await turn()
  const open = qmp.execute('quit')
  stream.destroy()
  await expect(open).rejects.toThrow()
  await expect(qmp.ready).rejects.toThrow()
  await expect(qmp.execute('x')).rejects.toThrow()
})

it('cuts lines whatever the pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.dictionary(fc.string(), fc.string()), { maxLength: 5 }), fc.integer({ min: 1, max: 40 }), (objects, size) => {
      const bytes = new TextEncoder().encode(objects.map((object) => `${JSON.stringify(object)}\r\n`).join(''))
      const decoder = new QmpDecoder()
      const out: unknown[] = []
      for (let at = 0; at < bytes.length; at += size) out.push(...decoder.push(bytes.subarray(at, at + size)))
      expect(JSON.stringify(out)).toBe(JSON.stringify(objects))
    }),
  )
})

it('drops what is no object and refuses to hoard', () => {
  const decoder = new QmpDecoder()
  expect(decoder.push(new TextEncoder().encode('[1]\nnonsense\n3\n{"a":1}\n'))).toEqual([{ a: 1 }])
  expect(() => decoder.push(new Uint8Array(maxQmpLine + 1).fill(97))).toThrow(RangeError)
})
