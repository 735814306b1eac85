import { describe, expect, test } from 'vitest'
import { fault } from '../../../kernel/index.ts'
import { MAX_RESULT_CHARS } from '../limits.ts'
import type { Workspace } from '../paths.ts'
import { planCall, presentAnswers, presentFault, toolParams } from './catalog.ts'

const workspace: Workspace = {
  session: 's-1',
  folders: [
    { name: 'sales', root: '/home/ada/sales', mode: 'rw' },
    { name: 'notes', root: '/home/ada/notes', mode: 'ro' },
  ],
  hosts: [],
}
const plan = (name: string, input: unknown): unknown => {
  const planned = planCall(name, input, workspace)
  return 'plan' in planned ? planned.plan : planned.error
}
const present = (name: string, input: unknown, ...bodies: unknown[]): unknown =>
  presentAnswers(
    name,
    input,
    bodies.map((body) => ({ body })),
    workspace,
  )

test('names, parameters and order are what a model knows from Claude Code', () => {
  const shape = toolParams().map(({ name, input_schema: { properties, required } }) => [name, Object.keys(properties as object), required])
  expect(shape).toEqual([
    ['Read', ['file_path', 'offset', 'limit', 'pages'], ['file_path']],
    ['Write', ['file_path', 'content'], ['file_path', 'content']],
    ['Edit', ['file_path', 'old_string', 'new_string', 'replace_all'], ['file_path', 'old_string', 'new_string']],
    ['MultiEdit', ['file_path', 'edits'], ['file_path', 'edits']],
    ['Glob', ['pattern', 'path', 'offset'], ['pattern']],
    ['Grep', ['pattern', 'path', 'glob', 'output_mode', '-i', '-C', 'head_limit', 'offset'], ['pattern']],
    ['List', ['path', 'depth', 'offset'], undefined],
    ['Move', ['path', 'new_path'], ['path', 'new_path']],
    ['Delete', ['path'], ['path']],
    ['Present', ['paths'], ['paths']],
    ['Bash', ['command', 'description', 'timeout', 'run_in_background'], ['command']],
    ['BashOutput', ['bash_id', 'wait'], undefined],
    ['KillShell', ['shell_id'], ['shell_id']],
    ['WebFetch', ['url', 'prompt', 'whole', 'pages'], ['url']],
    ['WebSearch', ['query', 'allowed_domains', 'blocked_domains'], ['query']],
  ])
  for (const { input_schema } of toolParams()) expect(input_schema).toMatchObject({ type: 'object', additionalProperties: false })
})

describe('what calls become', () => {
  test('a search looks in every folder, or in the one named', () => {
    expect(plan('Glob', { pattern: '**/*.csv' })).toMatchObject({
      access: 'read',
      title: 'Find **/*.csv',
      calls: [{ at: { folder: 'sales' }, kind: 'glob', body: { pattern: '**/*.csv' } }, { at: { folder: 'notes' } }],
    })
    expect(
      plan('Grep', { pattern: 'x', path: 'notes/old', output_mode: 'content', '-i': true, '-C': 2, head_limit: 5, glob: '*.md' }),
    ).toEqual({
      access: 'read',
      title: 'Search "x" in notes/old',
      calls: [
        {
          at: { folder: 'notes' },
          kind: 'grep',
          body: { pattern: 'x', mode: 'content', maxMatches: 5, glob: '*.md', ignoreCase: true, context: 2, path: 'old' },
          deadlineMs: 60_000,
        },
      ],
    })
  })

  test('what is cut is gone on with: each folder is asked from there on', () => {
    expect(plan('Glob', { pattern: '*', path: 'sales', offset: 250 })).toMatchObject({ calls: [{ body: { skip: 250, limit: 250 } }] })
    expect(plan('Grep', { pattern: 'x', offset: 7 })).toMatchObject({ calls: [{ body: { skip: 7 } }, { body: { skip: 7 } }] })
    expect(plan('List', { path: 'sales', offset: 1_000 })).toMatchObject({ calls: [{ body: { path: '', depth: 1, skip: 1_000 } }] })
  })

  test('a change in a read-only folder is not even asked for', () => {
    expect(plan('Write', { file_path: 'notes/a', content: '' })).toMatchObject({ code: 'read-only', rule: 'folder notes: mode ro' })
    expect(plan('Edit', { file_path: 'notes/a', old_string: 'a', new_string: 'b' })).toMatchObject({ code: 'read-only' })
  })

  test('a move stays in one folder; a deletion is asked for by itself', () => {
    expect(plan('Move', { path: 'sales/a', new_path: 'sales/b/c' })).toMatchObject({
      access: 'change',
      title: 'Move sales/a to sales/b/c',
      target: { kind: 'write', folder: 'sales', path: 'a', act: 'move', to: 'b/c' },
      preview: { kind: 'preview', body: { path: 'a', to: 'b/c' } },
      message: { kind: 'move', body: { path: 'a', to: 'b/c' } },
    })
    expect(plan('Move', { path: 'sales/a', new_path: 'notes/a' })).toMatchObject({ code: 'outside-folder' })
    expect(plan('Delete', { path: 'notes/a' })).toMatchObject({ code: 'read-only' })
    expect(plan('Delete', { path: 'sales/a' })).toMatchObject({
      target: { kind: 'write', folder: 'sales', path: 'a', act: 'delete' },
      preview: { body: { path: 'a', remove: true } },
      message: { kind: 'delete', body: { path: 'a', recursive: true } },
    })
  })

  test('a command shows its first line and asks for all of it', () => {
    expect(plan('Bash', { command: 'cd x\nrm y', description: 'clean up' })).toEqual({
      access: 'change',
      title: 'Run cd x',
      target: { kind: 'exec', command: 'cd x\nrm y' },
      detail: 'cd x\nrm y\n\n(clean up)',
      message: { kind: 'exec', body: { command: 'cd x\nrm y', timeoutMs: 120_000 }, deadlineMs: null },
    })
  })

  test.each([
    ['Read', { file_path: 'sales/a', offset: 0 }],
    ['Read', { file_path: 'sales/a', extra: 1 }],
    ['Edit', { file_path: 'sales/a', old_string: '', new_string: 'x' }],
    ['Bash', { command: 'x', timeout: 1e9 }],
    ['Bash', 'x'],
    ['WebFetch', null],
  ])('%s %j is bad-input', (name, input) => {
    expect(plan(name, input)).toMatchObject({ code: 'bad-input' })
  })
})

describe('what the model reads', () => {
  test('lines with numbers, where to read on, and no more than fits', () => {
    const reply = { text: 'a\nb\n', sha256: '', lines: 9, truncated: true, size: 30 }
    expect(present('Read', { file_path: 'sales/a', offset: 3 }, reply)).toEqual({
      ok: true,
      text: '     3\ta\n     4\tb\n(more follows: the file has 9 lines; read on with offset 5)',
    })
    const long = present(
      'Read',
      { file_path: 'sales/a' },
      { ...reply, text: `${'x'.repeat(1000)}\n`.repeat(200), lines: 200, truncated: false },
    ) as { text: string }
    expect(long.text.length).toBeLessThanOrEqual(MAX_RESULT_CHARS)
    const next = Number(/offset (\d+)\)$/.exec(long.text)?.[1])
    expect(long.text.split('\n').at(-2)).toMatch(new RegExp(`^ *${next - 1}\t`))
  })

  test('what is presented is looked at, and named where the member has it; what is connected nowhere is refused', () => {
    const paths = ['sales/report.md', '/home/ada/notes/old']
    expect(plan('Present', { paths })).toMatchObject({
      access: 'read',
      calls: [
        { at: { folder: 'sales' }, kind: 'stat', body: { path: 'report.md' } },
        { at: { folder: 'notes' }, kind: 'stat', body: { path: 'old' } },
      ],
    })
    expect(present('Present', { paths }, { type: 'file', size: 12 }, { type: 'folder', size: 4096 })).toEqual({
      ok: true,
      text: '/home/ada/sales/report.md  12 bytes\n/home/ada/notes/old/',
    })
    for (const path of ['/etc/passwd', '/home/ada/sales-other/x', 'elsewhere/x'])
      expect(plan('Present', { paths: [...paths, path] })).toMatchObject({ code: 'outside-folder' })
  })

  test('an image as it is, a notebook as its cells', () => {
    const whole = { text: '', sha256: '', lines: 0, truncated: false, size: 70 }
    const media = [{ type: 'image/png', data: Uint8Array.of(1, 2, 3), width: 4, height: 5 }]
    expect(present('Read', { file_path: 'sales/a.png' }, { ...whole, as: 'image', media })).toEqual({
      ok: true,
      text: '(image/png, 4 × 5 pixels, 70 bytes)',
      media: [{ media_type: 'image/png', data: 'AQID' }],
    })
    const cells = { ...whole, text: '[cell 1, code]\n', lines: 1, as: 'notebook', media }
    expect(present('Read', { file_path: 'sales/a.ipynb' }, cells)).toEqual({
      ok: true,
      text: '     1\t[cell 1, code]\n(shown as cells; Edit and Write work on the JSON of the file)',
      media: [{ media_type: 'image/png', data: 'AQID' }],
    })
  })

  test('found paths as they are on the device', () => {
    const found = (...replies: object[]) => present('Glob', { pattern: '*' }, ...replies)
    expect(found({ paths: ['a.csv'], truncated: false }, { paths: ['b.md'], truncated: true, next: 1 })).toEqual({
      ok: true,
      text: '/home/ada/sales/a.csv\n/home/ada/notes/b.md\n(there are more; go on with offset 1, or narrow the pattern)',
    })
    // Nothing is missed: some come again from who was cut later.
    expect(found({ paths: ['a.csv'], truncated: true, next: 250 }, { paths: ['b.md'], truncated: true, next: 100 })).toMatchObject({
      text: expect.stringMatching(/offset 100,/),
    })
    expect(found({ paths: ['a.csv'], truncated: true }, { paths: [], truncated: false })).toMatchObject({
      text: '/home/ada/sales/a.csv\n(there are more than can be looked at; narrow the pattern)',
    })
    expect(present('Glob', { pattern: '*' }, { paths: [], truncated: false }, { paths: [], truncated: false })).toEqual({
      ok: true,
      text: 'No file matches.',
    })
  })

  test('matches as grep prints them', () => {
    const matches = [{ path: 'a', line: 4, text: 'hit', before: ['b2', 'b3'], after: ['a5'] }]
    expect(present('Grep', { pattern: 'h', path: 'sales', output_mode: 'content' }, { matches, truncated: false, skipped: 0 })).toEqual({
      ok: true,
      text: '/home/ada/sales/a-2-b2\n/home/ada/sales/a-3-b3\n/home/ada/sales/a:4:hit\n/home/ada/sales/a-5-a5',
    })
    expect(
      present(
        'Grep',
        { pattern: 'h', path: 'sales', output_mode: 'count' },
        { matches: [{ path: 'a', count: 3 }], truncated: false, skipped: 0 },
      ),
    ).toEqual({ ok: true, text: '/home/ada/sales/a:3' })
  })

  test('how a command ended', () => {
    const ended = { exitCode: 0, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/x', outputFile: null }
    const run = (reply: object, output = 'out\n'): unknown =>
      presentAnswers('Bash', { command: 'x' }, [{ body: { ...ended, ...reply }, output }], workspace)
    expect(run({})).toEqual({ ok: true, text: 'out\n[exit code 0, cwd /x]' })
    expect(run({ exitCode: null, signal: 'SIGKILL' }, '')).toEqual({ ok: false, text: '(no output)\n[killed by SIGKILL, cwd /x]' })
    expect(run({ exitCode: null, timedOut: true })).toMatchObject({ ok: false, error: { code: 'exec-timeout' } })
    expect(run({ exitCode: 137, oom: true })).toMatchObject({ ok: false, error: { code: 'exec-failed' } })
    expect(run({ outputFile: '/run/outputs/4' })).toEqual({
      ok: true,
      text: 'out\n[exit code 0, cwd /x, all of the output in /run/outputs/4]',
    })
  })

  test('a command in the background: its id, what it wrote, how it ended, what else there is', () => {
    expect(plan('Bash', { command: 'npm run dev\nx', run_in_background: true })).toMatchObject({
      access: 'change',
      title: 'Run npm run dev in the background',
      target: { kind: 'exec', command: 'npm run dev\nx' },
      message: { kind: 'job', body: { command: 'npm run dev\nx' } },
    })
    expect(present('Bash', { command: 'x', run_in_background: true }, { job: 'job-3' })).toEqual({
      ok: true,
      text: 'Runs in the background as job-3.',
    })
    expect(plan('BashOutput', { bash_id: 'job-3', wait: 5 })).toMatchObject({
      access: 'read',
      calls: [{ at: { slot: 'workspace' }, kind: 'job-output', body: { job: 'job-3', waitMs: 5 }, deadlineMs: null }],
    })
    const view = { job: 'job-3', command: 'make\nall', state: 'running', ending: null, error: null }
    const ending = { exitCode: 2, signal: null, timedOut: false, oom: false, durationMs: 1, cwd: '/x', outputFile: null }
    const lost = fault('workspace-unavailable', 'The VM stopped.', { cause: 'killed' })
    const read = (more: object): unknown =>
      present('BashOutput', { bash_id: 'job-3' }, { ...view, output: 'a\n', missed: 0, outputFile: null, ...more })
    expect(read({})).toEqual({ ok: true, text: 'a\n[running]' })
    expect(read({ output: '', missed: 7, outputFile: '/run/outputs/9', state: 'ended', ending })).toEqual({
      ok: true,
      text: '(7 characters before this were not kept)\n(nothing new)\n[exit code 2, all of the output in /run/outputs/9]',
    })
    expect(read({ state: 'ended', error: lost })).toEqual({ ok: true, text: 'a\n[ended: The VM stopped. (killed)]' })
    expect(present('BashOutput', {}, { jobs: [view, { ...view, job: 'job-4', state: 'waiting' }] })).toEqual({
      ok: true,
      text: 'job-3: running: make\njob-4: waiting for its turn: make',
    })
    expect(present('BashOutput', {}, { jobs: [] })).toEqual({ ok: true, text: 'Nothing runs in the background.' })
    expect(plan('KillShell', { shell_id: 'job-3' })).toMatchObject({ calls: [{ kind: 'job-stop', body: { job: 'job-3' } }] })
    expect(planCall('KillShell', { shell_id: 'terminal' }, workspace)).toMatchObject({ error: { code: 'bad-input' } })
  })

  test('a page, marked as untrusted', () => {
    expect(
      present(
        'WebFetch',
        { url: 'https://example.com' },
        { status: 200, url: 'https://example.com/', contentType: 'text/html', title: 'Hi', text: '# Hi', truncated: false },
      ),
    ).toEqual({
      ok: true,
      text: 'https://example.com/ answered 200 (text/html): Hi\n--- untrusted content ---\n# Hi',
    })
  })

  test('a failure whole: what, why, which rule, what to do, and what was printed before', () => {
    const error = fault('workspace-unavailable', 'Workspace unavailable: it is starting again.', {
      cause: 'QEMU was killed',
      retryAfterMs: 500,
    })
    expect(presentFault(error, 'so far\n').text).toBe(
      'Workspace unavailable: it is starting again.\nCode: workspace-unavailable\nCause: QEMU was killed\nRemedy: File and web tools still work; retry later, or see `bulkhead vm status`.\nRetry after: 500 ms\nOutput until then:\nso far\n',
    )
  })

  test('an answer of the wrong shape is a defect, not a crash', () => {
    expect(present('Glob', { pattern: '*' }, null, null)).toMatchObject({ ok: false, error: { code: 'internal' } })
  })
})

test('a tool that policy blocks is not offered, and refused with the rule if called', () => {
  const blocked = { Bash: 'policy disabledBuiltinTools (managed settings, /m)' }
  expect(toolParams(blocked).map(({ name }) => name)).not.toContain('Bash')
  expect(planCall('Bash', { command: 'ls' }, { session: 's', folders: [], hosts: [], blocked })).toMatchObject({
    error: { code: 'policy-denied', rule: blocked.Bash },
  })
})
