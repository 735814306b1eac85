import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parseCommand, UsageError } from './args.ts'

const dir = realpathSync(mkdtempSync(join(tmpdir(), 'args-')))
mkdirSync(join(dir, 'sales'))
symlinkSync('sales', join(dir, 'link'))
writeFileSync(join(dir, 'file'), '')
const sales = join(dir, 'sales')
afterAll(() => rmSync(dir, { recursive: true }))

const session = { folders: [], approve: 'ask', hosts: [] }

describe('understood', () => {
  const cases: [string[], object][] = [
    [[], { verb: 'terminal', ...session }],
    [['--folder', `${sales}:ro`], { verb: 'terminal', ...session, folders: [{ path: sales, mode: 'ro' }] }],
    [['run', 'do it'], { verb: 'run', prompt: 'do it', json: false, ...session }],
    [['run', 'do', 'it', '--json'], { verb: 'run', prompt: 'do it', json: true, ...session }],
    [['run', '--', '--folder'], { verb: 'run', prompt: '--folder', json: false, ...session }],
    [
      [
        'run',
        '--folder',
        sales,
        `--folder=${dir}:rw`,
        '--folder',
        join(dir, 'link'),
        '--approve',
        'edits',
        '--allow-host',
        '*.a.com',
        '--allow-host',
        'b.org:8443',
        '--session',
        'mine',
        '--model',
        'm',
        'x',
      ],
      {
        verb: 'run',
        prompt: 'x',
        json: false,
        folders: [
          { path: sales, mode: 'rw' },
          { path: dir, mode: 'rw' },
          { path: sales, mode: 'rw' },
        ],
        approve: 'edits',
        hosts: ['*.a.com', 'b.org:8443'],
        session: 'mine',
        model: 'm',
      },
    ],
    [['telemetry', 'test'], { verb: 'telemetry', action: 'test', json: false }],
    [['audit', 'verify'], { verb: 'audit', action: 'verify', json: false, dir: null, expect: {}, filter: {} }],
    [
      ['audit', 'verify', '--expect', `12:${'a'.repeat(64)}`, '--key', 'k'],
      { verb: 'audit', action: 'verify', json: false, dir: null, expect: { link: { n: 12, hash: 'a'.repeat(64) }, key: 'k' }, filter: {} },
    ],
    [
      ['audit', 'query', '--session', 's', '--since', '2026-11-26', '--dir', '/x'],
      {
        verb: 'audit',
        action: 'query',
        json: false,
        dir: '/x',
        expect: {},
        filter: { session: 's', since: '2026-11-26T00:00:00.000Z' },
      },
    ],
    [['vm', 'status', '--json'], { verb: 'vm', action: 'status', json: true }],
    [['egress', 'show'], { verb: 'egress', action: 'show', session: null, json: false }],
    [
      ['egress', 'allow', '*.a.com', '--session', 's-1'],
      { verb: 'egress', action: 'allow', pattern: '*.a.com', session: 's-1', json: false },
    ],
    [['egress', 'mode', 'packages'], { verb: 'egress', action: 'mode', mode: 'packages', session: null, json: false }],
    [['egress', 'mode', 'default', '--session', 's-1'], { verb: 'egress', action: 'mode', mode: null, session: 's-1', json: false }],
    [['egress', 'explain', 'a.com'], { verb: 'egress', action: 'explain', url: 'https://a.com/', session: null, json: false }],
    [['egress', 'log', '--count', '5', '--json'], { verb: 'egress', action: 'log', count: 5, session: null, json: true }],
    [['daemon', 'stop'], { verb: 'daemon', action: 'stop', json: false }],
    [['inspect'], { verb: 'inspect', json: false }],
    [['doctor', '--json'], { verb: 'doctor', json: true }],
    [['--help'], { verb: 'help' }],
    [['run', '--help'], { verb: 'help' }],
    [['--version'], { verb: 'version' }],
  ]
  test.each(cases)('%j', (args, command) => expect(parseCommand(args)).toEqual(command))
})

describe('refused with a word on what would be right', () => {
  const cases: [string[], RegExp][] = [
    [['run'], /needs a prompt/],
    [['run', '  '], /needs a prompt/],
    [['run', '--approve', 'maybe', 'x'], /ask, edits, all, none/],
    [['run', '--folder', join(dir, 'nope'), 'x'], /There is no folder/],
    [['run', '--folder', join(dir, 'file'), 'x'], /is not a folder/],
    [['run', '--folder', ':ro', 'x'], /needs a path/],
    [['run', '--allow-host', 'https://a.com/', 'x'], /not a URL/],
    [['run', '--session', 'No_Such', 'x'], /lower-case/],
    [['run', '--nonsense', 'x'], /--nonsense/],
    [['run', '--folder'], /folder/],
    [['vm'], /status, start, stop, restart/],
    [['audit', 'explode'], /verify, export, query/],
    [['audit', 'verify', '--expect', '12'], /N:HASH/],
    [['audit', 'query', '--since', 'soon'], /a time/],
    [['telemetry'], /status, test/],
    [['vm', 'explode'], /status, start, stop, restart/],
    [['daemon', 'restart'], /start, stop, status/],
    [['inspect', 'x'], /no argument/],
    [['--folder', sales, 'do it'], /bulkhead run "do it"/],
    [['frobnicate'], /no command "frobnicate"\.$/],
    [['stop'], /no command "stop"\. There is: bulkhead vm stop, bulkhead daemon stop\.$/],
    [['install'], /There is: bulkhead extension install\.$/],
  ]
  test.each(cases)('%j', (args, message) => {
    expect(() => parseCommand(args)).toThrow(UsageError)
    expect(() => parseCommand(args)).toThrow(message)
  })
})
