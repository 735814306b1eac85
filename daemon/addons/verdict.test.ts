import fc from 'fast-check'
import { expect, test } from 'vitest'
import { verdict } from './verdict.ts'

const hash = fc.constantFrom('a'.repeat(64), 'b'.repeat(64))
const consent = fc.option(fc.record({ hash, at: fc.constant('2026-01-01'), by: fc.constant('the member') }))
const list = fc.option(fc.subarray(['bell', `bell@${'a'.repeat(64)}`, `bell@${'b'.repeat(64)}`, 'other', `other@${'a'.repeat(64)}`]))

test('nothing runs that nobody agreed to, or that policy does not allow, or before policy is known', () => {
  fc.assert(
    fc.property(hash, consent, fc.option(list), (now, agreed, allowed) => {
      const said = verdict({ name: 'bell', hash: now, consent: agreed }, allowed === null ? null : { list: allowed, decidedBy: 'test' })
      const named = allowed === null || allowed.includes('bell') || allowed.includes(`bell@${now}`)
      const byMember = agreed?.hash === now
      const byAdministrator = allowed?.includes(`bell@${now}`) === true
      if (said.run) return named && (byMember || byAdministrator) && said.by === (byAdministrator ? 'test' : 'the member')
      return said.why !== '' && !(named && (byMember || byAdministrator) && allowed !== null)
    }),
  )
})

test('says which of the reasons it is', () => {
  const is = { name: 'bell', hash: 'a', consent: { hash: 'a', at: '', by: 'the member' } }
  const nobody = { list: null, decidedBy: 'default' }
  expect(verdict(is, null)).toMatchObject({ state: 'waiting' })
  expect(verdict(is, nobody)).toEqual({ run: true, by: 'the member' })
  expect(verdict({ ...is, hash: 'b' }, nobody)).toMatchObject({ state: 'changed' })
  expect(verdict({ ...is, consent: null }, nobody)).toMatchObject({ state: 'new' })
  expect(verdict(is, { list: ['bell@b'], decidedBy: 'x' })).toMatchObject({
    state: 'disabled',
    why: expect.stringContaining('another version'),
  })
})
