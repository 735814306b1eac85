/**
 * What a guest in other hands may send to the host on its four ports. A command `victim` (id `victim` of the link) runs meanwhile, and the host asks
 * for a sign of life after it. Bytes as they are: nothing here is made by the code that will read it, but for the frame around a header.
 */
import { maxFrame, maxPayload } from '../../guest/frames.ts'
import { protocolVersion } from '../../guest/wire.ts'

export type Port = 'control' | 'files' | 'output' | 'connections'
export type Hostile = {
  what: string
  ports: readonly Port[]
  bytes: (victim: number) => Uint8Array
  /** `ended`: the link is, with a reason, and the VM with it. `ignored`: everything goes on as if it had not come. */
  contained: 'ended' | 'ignored'
}

const every: readonly Port[] = ['control', 'files', 'output', 'connections']
const words: readonly Port[] = ['control', 'output']

/** A frame that says its sizes, whatever they are. */
function sized(rest: number, header: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const sizes = Buffer.alloc(6)
  sizes.writeUInt32BE(rest, 0)
  sizes.writeUInt16BE(header, 4)
  return Buffer.concat([sizes, body])
}

/** A whole frame with this header and payload. */
export function framed(header: string | Uint8Array, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const bytes = typeof header === 'string' ? Buffer.from(header) : header
  return sized(2 + bytes.length + payload.length, bytes.length, Buffer.concat([bytes, payload]))
}

const says = (message: object): Uint8Array => framed(JSON.stringify(message))

const ended = (what: string, bytes: Uint8Array, ports = every): Hostile => ({ what, ports, bytes: () => bytes, contained: 'ended' })
const ignored = (what: string, bytes: Hostile['bytes'] | Uint8Array, ports = every): Hostile => ({
  what,
  ports,
  bytes: typeof bytes === 'function' ? bytes : () => bytes,
  contained: 'ignored',
})

const borders: readonly Hostile[] = [
  ended('a frame of no size', sized(0, 0, Buffer.alloc(16))),
  ended('a frame with no header', sized(2, 0, Buffer.alloc(16))),
  ended('a header of one byte', sized(3, 1, Buffer.from('{'))),
  ended('a header larger than its frame', sized(4, 400, Buffer.alloc(400))),
  ended('a frame one byte over the largest', sized(maxFrame + 1, 2, Buffer.from('{}'))),
  ended('a frame of 4 GiB', sized(0xffff_ffff, 2, Buffer.from('{}'))),
  ended('a payload one byte over the largest', sized(2 + 2 + maxPayload + 1, 2, Buffer.from('{}'))),
  ended('what was never a frame', Buffer.alloc(64, 0xff)),
  ended('a good frame and then the rest of nothing', Buffer.concat([says({ t: 'nothing' }), Buffer.alloc(64, 0xff)])),
]

const headers: readonly Hostile[] = [
  ignored('a header that is no JSON', framed('{"t":')),
  ignored('a header that is no UTF-8', framed(Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d]))),
  ignored('a header with a NUL', framed('{"t":"exit\0"}')),
  ignored('a header of null', framed('null')),
  ignored('a header that is a list', framed('[{"t":"exit"}]')),
  ignored('a header that is a number', framed('4294967296')),
  ignored('an empty object', framed('{}')),
  ignored('a kind there is not', says({ t: 'root', id: 1 })),
  ignored('a kind of every object', says({ t: 'constructor', id: 1 })),
  ignored('a prototype of its own', framed('{"__proto__":{"t":"exit","id":1},"constructor":{"prototype":{"t":"exit"}}}')),
  ignored('a header nested ten thousand deep', framed(`{"t":${'['.repeat(10_000)}${']'.repeat(10_000)}}`)),
  ignored('the largest header there is', framed(`{"t":"${'x'.repeat(65_535 - 8)}"}`)),
]

const exit = (id: unknown, more: object = {}): object => ({
  t: 'exit',
  id,
  code: 0,
  signal: null,
  timedOut: false,
  oom: false,
  durationMs: 1,
  cwd: '/x',
  piped: 0,
  ...more,
})

const claims: readonly Hostile[] = [
  ...[-1, 1.5, 1e300, '1', null, { toString: 1 }].map((id) =>
    ignored(`the end of a command called ${JSON.stringify(id)}`, says(exit(id)), ['control']),
  ),
  ignored('the end of a command of an earlier machine', says(exit(4_711)), ['control']),
  ignored('the end of a command nobody began, twice', Buffer.concat([says(exit(99)), says(exit(99))]), ['control']),
  ignored('an exit code out of range', (victim) => says(exit(victim, { code: 4_096 })), ['control']),
  ignored('an end in a folder that is no path', (victim) => says(exit(victim, { cwd: '../x' })), ['control']),
  ignored('an end in a folder with a NUL', (victim) => says(exit(victim, { cwd: '/x\0' })), ['control']),
  ignored('an end after less than no time', (victim) => says(exit(victim, { durationMs: -1 })), ['control']),
  ignored('an end after less than no output', (victim) => says(exit(victim, { piped: -5 })), ['control']),
  ignored('output of a command nobody began', framed('{"t":"out","id":99,"stream":"stdout"}', Buffer.from('theirs')), words),
  ignored(
    'output on a stream there is not',
    (victim) => framed(`{"t":"out","id":${victim},"stream":"stdin"}`, Buffer.from('theirs')),
    words,
  ),
  ignored('a file that is no path', (victim) => says({ t: 'kept', id: victim, path: 'x' }), ['control']),
  ignored('more input taken than was given', (victim) => says({ t: 'took', id: victim, bytes: 1e9 }), ['control']),
  ignored('a refusal of a command nobody began', says({ t: 'failed', re: 'exec', id: 99, code: 'failed', message: 'x' }), ['control']),
  ignored('a session nobody asked for', says({ t: 'sessioned', session: 'theirs' }), ['control']),
  ignored(
    'a refusal of a session nobody asked for',
    says({ t: 'failed', re: 'session', session: 'theirs', code: 'failed', message: 'x' }),
    ['control'],
  ),
  ignored('the end of a session nobody asked for', says({ t: 'unsessioned', session: 'theirs' }), ['control']),
  ignored(
    'an answer to no question',
    Buffer.concat([says({ t: 'pong', n: 9_999, busy: true }), says({ t: 'awake' }), says({ t: 'warmed', problem: 'x' })]),
    ['control'],
  ),
  ignored('a second welcome', says({ t: 'ready', protocol: protocolVersion, epoch: '1', agent: 'a', kernel: 'k', bootMs: 1, stages: {} }), [
    'control',
  ]),
  ignored('an answer to an echo nobody sent', says({ t: 'echo', id: 99 }), ['output']),
  ignored('a request of a folder nobody connected', framed('{"c":"theirs/data#1","op":"msg"}', Buffer.alloc(7)), ['files']),
  ignored('a channel whose name climbs', framed('{"c":"s/../../etc#1","op":"msg"}', Buffer.alloc(7)), ['files']),
  ignored('a channel with no number', framed('{"c":"s/data","op":"msg"}', Buffer.alloc(7)), ['files']),
  ignored('the end of a channel that never was', says({ c: 's/data#7', op: 'close' }), ['files']),
  ignored('a connection of a session there is not', says({ net: 'open', n: 1, session: 'theirs', to: { host: 'a.example', port: 80 } }), [
    'connections',
  ]),
  ignored('bytes of a connection that never was', framed('{"net":"data","n":7}', Buffer.from('x')), ['connections']),
]

export const hostile: readonly Hostile[] = [...borders, ...headers, ...claims]
/** Each on each of its ports, whole and a byte at a time. */
export const count = hostile.reduce((sum, { ports }) => sum + 2 * ports.length, 0)
