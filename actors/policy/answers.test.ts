import { expect, test } from 'vitest'
import { changeEntry, know } from './answers.ts'
import type { Source } from './sources.ts'

const local = (values: Record<string, unknown>): Source[] => [{ kind: 'local', place: '/home/ada/settings.json', state: 'present', values }]
const known = (values: Record<string, unknown>) => know(local(values), { home: '/home/ada', user: 'ada' })

test('the audit log hears which keys changed and who decides them, and no value', () => {
  const first = known({ otlpEndpoint: 'https://user:pass@c.example', otlpHeaders: { authorization: 'Bearer secret' } })
  expect(changeEntry(null, first)).toEqual({
    action: 'policy.read',
    data: {
      keys: { otlpEndpoint: 'local settings, /home/ada/settings.json', otlpHeaders: 'local settings, /home/ada/settings.json' },
      sources: ['local: present'],
      failedClosed: false,
    },
  })
  const second = known({
    otlpEndpoint: 'https://user:pass@c.example',
    otlpHeaders: { authorization: 'Bearer other' },
    isLocalDevMcpEnabled: false,
  })
  const change = changeEntry(first, second)
  expect(change.action).toBe('policy.changed')
  expect(Object.keys(change.data['keys'] as object)).toEqual(['isLocalDevMcpEnabled', 'otlpHeaders'])
  expect(JSON.stringify(change)).not.toMatch(/secret|other|pass/)
  expect(changeEntry(second, known({})).data['keys']).toMatchObject({ otlpEndpoint: 'default' })
})
