/** The host's end of the files port, between a guest's frames and the gates of its folders. */
import { duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameDecoder } from '../../guest/frames.ts'
import { silentTag } from '../../guest/wire.ts'
import { fault } from '../../kernel/index.ts'
import { maxFilesInFlight } from './limits.ts'
import { FilesLink, type Gate } from './link-files.ts'

/** A T-message of that tag: size, type 100, tag. */
const message = (tag: number) => new Uint8Array([7, 0, 0, 0, 100, tag, 0])

function files(gate: Partial<Gate>) {
  const [host, guest] = duplexPair()
  const heard: { header: unknown; payload: number[] }[] = []
  const decoder = new FrameDecoder()
  guest.on('data', (chunk: Uint8Array) => {
    for (const decoded of decoder.push(chunk))
      if (decoded.ok) heard.push({ header: decoded.frame.header, payload: [...decoded.frame.payload] })
  })
  const closed: string[] = []
  const whole: Gate = { ask: async (_conn, frame) => frame, close: (conn) => closed.push(conn), ...gate }
  let revoked = false
  const link = new FilesLink(host, '3', (session, folder) => (!revoked && session === 's' && folder === 'data' ? whole : null))
  const revoke = () => {
    revoked = true
  }
  return { link, revoke, heard, closed, ask: (c: string, frame: Uint8Array) => guest.write(encodeFrame({ c, op: 'msg' }, frame)), guest }
}

describe('files link', () => {
  it('asks the gate of that folder, under a connection name of this boot', async () => {
    const conns: string[] = []
    const { ask, heard } = files({
      ask: async (conn, frame) => {
        conns.push(conn)
        return frame
      },
    })
    ask('s/data#1', message(5))
    await turn()
    expect(conns).toEqual(['3:s/data#1'])
    expect(heard).toEqual([{ header: { c: 's/data#1', op: 'msg' }, payload: [...message(5)] }])
  })

  it('answers for gates that refuse, and for folders that were never connected', async () => {
    const { ask, heard } = files({ ask: async () => Promise.reject(fault('revoked', 'gone')) })
    ask('s/data#1', message(5))
    ask('other/data#1', message(6))
    ask('s/else#1', message(7))
    await turn()
    const errno = heard.map(({ payload }) => ({ tag: payload[5], errno: payload[7] }))
    expect(errno).toEqual(expect.arrayContaining([{ tag: 5, errno: 13 }, { tag: 6, errno: 13 }, { tag: 7, errno: 13 }])) // biome-ignore format: short
  })

  it('a gate that goes while it is asked: permission denied if its folder was taken away, an error otherwise', async () => {
    const asked: number[] = []
    const answers = [fault('actor-down', 'stopped'), fault('revoked', 'gone'), fault('not-now', 'stopping'), fault('actor-down', 'stopped'), fault('not-now', 'stopping'), null] // biome-ignore format: short
    const { ask, heard } = files({
      ask: async (_conn, frame) => {
        asked.push(frame[4] ?? 0)
        const answer = answers.shift()
        if (answer) throw answer
        return frame
      },
    })
    for (const tag of [5, 6, 7]) {
      ask('s/data#1', message(tag))
      await turn()
    }
    expect(heard.map(({ payload }) => ({ tag: payload[5], errno: payload[7] }))).toEqual([
      { tag: 5, errno: 13 },
      { tag: 6, errno: 5 },
      { tag: 7, errno: 5 },
    ])
    // What it asks with changes nothing (Tflush).
    expect(asked).toEqual([100, 108, 100, 108, 100, 108])
  })

  it('asks no gate any more for a connection whose folder was taken away, also one with files open', async () => {
    const asked: string[] = []
    const { ask, heard, revoke } = files({
      ask: async (conn, frame) => {
        asked.push(conn)
        return frame
      },
    })
    ask('s/data#1', message(5))
    await turn()
    revoke()
    for (const tag of [6, 7, 8]) ask('s/data#1', message(tag))
    await turn()
    expect(asked).toHaveLength(1)
    expect(heard.slice(1).map(({ payload }) => ({ type: payload[4], tag: payload[5], errno: payload[7] }))).toEqual(
      [6, 7, 8].map((tag) => ({ type: 7, tag, errno: 13 })),
    )
  })

  it('does not pass on an answer to another question', async () => {
    const { ask, heard } = files({ ask: async () => message(99) })
    ask('s/data#1', message(5))
    await turn()
    expect(heard[0]?.payload.slice(4)).toEqual([7, 5, 0, 5, 0, 0, 0])
  })

  it('passes on what follows an answer, if that is messages; and no answer to what was answered in the guest', async () => {
    const follows: number[][] = [[...message(8), ...message(9)], [...message(8), 1, 2, 3], []]
    const { ask, heard } = files({ ask: async (_conn, frame) => new Uint8Array([...frame, ...(follows.shift() ?? [])]) })
    for (const tag of [1, 2, 3]) ask('s/data#1', message(tag))
    const unanswered = new Uint8Array(message(0))
    new DataView(unanswered.buffer).setUint16(5, silentTag, true)
    ask('s/data#1', unanswered)
    ask('s/else#1', unanswered)
    ask('s/data#1', message(4))
    await turn()
    const said = heard.map(({ payload }) => payload)
    expect(said.slice(0, 1)).toEqual([[...message(1), ...message(8), ...message(9)]])
    expect(said.slice(1).map((payload) => ({ type: payload[4], tag: payload[5] }))).toEqual([
      { type: 7, tag: 2 },
      { type: 100, tag: 3 },
      { type: 100, tag: 4 },
    ])
  })

  it('what gets no answer goes along with the next message of its connection, in order and bounded; nothing waits for one', async () => {
    const asked: number[][] = []
    const { guest, heard, closed } = files({
      ask: async (_conn, frame, before) => {
        asked.push([...before, frame].map((one) => one[7] ?? 0))
        return frame
      },
    })
    const numbered = (n: number, tag: number) => new Uint8Array([8, 0, 0, 0, 100, tag & 255, tag >> 8, n])
    const sent = (c: string, frame: Uint8Array) => encodeFrame({ c, op: 'msg' }, frame)
    const unanswered = (n: number) => sent('s/data#1', numbered(n, silentTag))
    const together = (...frames: Uint8Array[]) => guest.write(Buffer.concat(frames))
    together(unanswered(1), unanswered(2), sent('s/data#2', numbered(3, 7)), sent('s/data#1', numbered(4, 8)), unanswered(5))
    await turn()
    expect(asked).toEqual([[3], [1, 2, 4], [5]])
    expect(heard.map(({ payload }) => payload[7])).toEqual([3, 4])
    asked.length = 0
    together(...Array.from({ length: 150 }, (_, n) => unanswered(n)))
    await turn()
    expect(asked.map((frames) => frames.length)).toEqual([65, 65, 20])
    expect(asked.flat()).toEqual(Array.from({ length: 150 }, (_, n) => n))
    asked.length = 0
    together(unanswered(1), encodeFrame({ c: 's/data#1', op: 'close' }))
    await turn()
    expect([asked, closed]).toEqual([[[1]], ['3:s/data#1']])
  })

  it('closes a connection that sends what is no 9P message', async () => {
    const { ask, heard, closed } = files({})
    ask('s/data#1', message(1))
    await turn()
    ask('s/data#1', new Uint8Array([1, 2, 3]))
    await turn()
    expect(heard.at(-1)?.header).toEqual({ c: 's/data#1', op: 'close' })
    expect(closed).toEqual(['3:s/data#1'])
  })

  it('stops reading while too many questions are open, and tells the gates when it ends', async () => {
    const open: (() => void)[] = []
    const { ask, closed, link } = files({ ask: (_conn, frame) => new Promise((resolve) => open.push(() => resolve(frame))) })
    for (let i = 0; i < maxFilesInFlight + 20; i++) {
      ask('s/data#1', message(i))
      await turn()
    }
    expect(open.length).toBe(maxFilesInFlight)
    for (const answer of open.splice(0)) answer()
    await turn()
    expect(open.length).toBe(20)
    link.end()
    expect(closed).toEqual(['3:s/data#1'])
  })
})
