import type { ContentBlockParam } from '@anthropic-ai/sdk/resources/messages'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Message, messageEntry, replayed, validHistory, withCacheMark, withoutOldMedia } from './history.ts'

const text = (body: string): ContentBlockParam => ({ type: 'text', text: body })
const call = (id: string): ContentBlockParam => ({ type: 'tool_use', id, name: 'Read', input: {} })
const result = (id: string): ContentBlockParam => ({ type: 'tool_result', tool_use_id: id, content: 'ok' })
const block = fc.oneof(fc.constant(text('t')), fc.constantFrom('a', 'b', 'c').map(call), fc.constantFrom('a', 'b', 'c').map(result))
const message: fc.Arbitrary<Message> = fc
  .record({
    role: fc.constantFrom('user', 'assistant'),
    content: fc.uniqueArray(block, { maxLength: 4, selector: (item) => JSON.stringify(item) }),
  })
  .map(({ role, content }) => ({
    role,
    content: content.filter(({ type }) => (role === 'user' ? type !== 'tool_use' : type !== 'tool_result')),
  }))

describe('what is sent', () => {
  test('shows images of this turn only, and loses no text', () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AQID' } } as const
    const look = (id: string): ContentBlockParam => ({ type: 'tool_result', tool_use_id: id, content: [{ type: 'text', text: id }, image] })
    const history: Message[] = [
      { role: 'user', content: [text('look')] },
      { role: 'assistant', content: [call('a')] },
      { role: 'user', content: [look('a'), result('b')] },
      { role: 'assistant', content: [text('seen')] },
      { role: 'user', content: [text('again')] },
      { role: 'assistant', content: [call('c')] },
      { role: 'user', content: [look('c')] },
    ]
    const sent = withoutOldMedia(history)
    expect(sent.slice(3)).toEqual(history.slice(3))
    expect(sent[2]?.content[1]).toEqual(result('b'))
    expect(JSON.stringify(sent[2])).not.toContain('AQID')
    expect(JSON.stringify(sent[2])).toContain('"text":"a"')
    expect(withoutOldMedia(sent)).toEqual(sent)
  })

  test('is valid however the history ended', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
        const sent = validHistory(messages)
        for (const [index, { role, content }] of sent.entries()) {
          expect(content.length).toBeGreaterThan(0)
          if (role === 'assistant') expect(sent[index - 1]?.role).not.toBe(role)
          const calls = content.flatMap((item) => (item.type === 'tool_use' ? [item.id] : []))
          const next = sent[index + 1]?.content ?? []
          const answers = next.flatMap((item) => (item.type === 'tool_result' ? [item.tool_use_id] : []))
          if (role === 'assistant') expect([...new Set(answers)].toSorted()).toEqual([...new Set(calls)].toSorted())
          const firstOther = content.findIndex(({ type }) => type !== 'tool_result')
          expect(content.slice(firstOther === -1 ? content.length : firstOther).some(({ type }) => type === 'tool_result')).toBe(false)
        }
        expect(validHistory(sent)).toEqual(sent)
      }),
    )
  })

  test('a call without a result gets one that says so', () => {
    const [, , repaired] = validHistory([
      { role: 'user', content: [text('go')] },
      { role: 'assistant', content: [call('a'), call('b')] },
      { role: 'user', content: [result('b'), text('next')] },
    ])
    expect(repaired?.content).toMatchObject([{ tool_use_id: 'b' }, { tool_use_id: 'a', is_error: true }, { type: 'text' }])
  })

  test('carries the cache mark on its last user block, and only there', () => {
    const marked = withCacheMark([
      { role: 'user', content: [text('one')] },
      { role: 'assistant', content: [text('two')] },
      { role: 'user', content: [result('a'), text('three')] },
      { role: 'assistant', content: [text('four')] },
    ])
    expect(JSON.stringify(marked).split('cache_control').length).toBe(2)
    expect(marked[2]?.content[1]).toMatchObject({ cache_control: { type: 'ephemeral' } })
  })
})

test('the journal brings back what was said, without what was withdrawn and what others wrote', () => {
  const said: Message = { role: 'user', content: [text('kept')] }
  const entries: unknown[] = [
    messageEntry(said),
    { type: 'grant', entry: { x: 1 } },
    messageEntry({ role: 'user', content: [text('declined')] }),
    { type: 'withdrawn', entry: { messages: 1 } },
    { type: 'message', entry: 'nonsense' },
  ]
  expect(entries.reduce<readonly Message[]>(replayed, [])).toEqual([said])
})
