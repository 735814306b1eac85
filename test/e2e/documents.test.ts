/** Web pages and PDF files as a model gets them: read by the reader, in its own process and jail. */
import http from 'node:http'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { manifest as egressManifest } from '../../actors/egress/manifest.ts'
import { machine as egressMachine } from '../../actors/egress/machine.ts'
import { createEffects } from '../../actors/egress/effects.ts'
import { protocol as egressProtocol } from '../../actors/egress/protocol.ts'
import { limits as egressLimits } from '../../actors/egress/limits.ts'
import { limits as gateLimits } from '../../actors/fs-gate/limits.ts'
import { limits as readerLimits } from '../../actors/reader/limits.ts'
import { actor as reader } from '../../actors/reader/index.ts'
import { pdfFile } from '../../actors/reader/testing/pdf-file.ts'
import { protocol as policyProtocol } from '../../actors/policy/protocol.ts'
import { createKernel, type Endpoint, type Kernel } from '../../kernel/kernel.ts'
import { startInline } from '../../kernel/placement-inline.ts'
import { startProcess } from '../../kernel/placement-process.ts'
import { startThread } from '../../kernel/placement-thread.ts'
import type { Home } from '../harness/product.ts'
import { openScriptedHome, type ScriptedHome } from '../harness/scripted-home.ts'
import { type ScriptedServer, say, toolResults, use } from '../harness/scripted-messages-server.ts'

const paragraph = `<p>${'This is a sentence that says something, with commas, about the matter at hand. '.repeat(8)}</p>`
const story = `<!doctype html><html><head><title>Story</title></head><body><nav><a href="/a">Menu</a></nav>
  <main><article><h1>Story</h1>${paragraph}<p><a href="more">More</a> ${paragraph}</article></main></body></html>`
const report = pdfFile(
  Array.from({ length: 3 }, (_, n) => [`Page ${n + 1} of the report`]),
  'Report',
)

test('what egress and the gates hand to the reader is what it takes', () => {
  expect([egressLimits.htmlChars, egressLimits.pdfBytes, gateLimits.largePdfBytes]).toEqual([
    readerLimits.htmlChars,
    readerLimits.pdfBytes,
    readerLimits.pdfBytes,
  ])
})

describe('fetched from the web', () => {
  let kernel: Kernel
  let asking: Endpoint
  let base: string
  const scratch = mkdtempSync(join(tmpdir(), 'bulkhead-test-documents-'))
  const server = http.createServer((request, response) => {
    if (request.url === '/story') response.setHeader('content-type', 'text/html').end(story)
    else if (request.url === '/report') response.setHeader('content-type', 'application/pdf').end(report)
    else response.setHeader('content-type', 'application/pdf').end('%PDF-1.7 damaged')
  })

  beforeAll(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    base = `http://pages.example:${(server.address() as AddressInfo).port}`
    mkdirSync(join(scratch, 'egress'))
    const effects = createEffects({
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
      addressPolicy: () => () => 'public',
    })
    const actor = {
      manifest: { ...egressManifest, placement: 'inline' as const },
      protocol: egressProtocol,
      machine: egressMachine,
      effects,
    }
    const entry = new URL('../../actors/reader/index.ts', import.meta.url).href
    kernel = createKernel({
      entries: [
        { ...actor, entry: '', load: async () => actor },
        { ...reader, entry, load: async () => reader },
      ],
      natives: [
        {
          id: 'policy',
          protocol: policyProtocol,
          handle: async (_kind, _body, { part, signal }) => {
            part({ policy: { values: { coworkEgressAllowedHosts: null }, decidedBy: {}, failedClosed: false } })
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            return { body: {} }
          },
        },
      ],
      params: { egress: { baseUrl: null, state: join(scratch, 'egress'), userHome: scratch } },
      placements: { inline: startInline, thread: startThread, process: startProcess },
      log: () => {},
    })
    await kernel.start()
    asking = kernel.endpoint('test', [{ name: 'egress', target: 'egress', limits: { hosts: ['pages.example'] }, reason: 'test' }])
  })
  afterAll(async () => {
    await kernel.stop()
    server.closeAllConnections()
    server.close()
    rmSync(scratch, { recursive: true, force: true })
  })
  const fetch = async (path: string, more: object = {}) => (await asking.request('egress', 'fetch', { url: base + path, ...more })).body

  test('a page: what a reader comes for, or all of it', async () => {
    const main = (await fetch('/story')) as { text: string }
    expect(main).toMatchObject({ part: 'article', contentType: 'text/html', truncated: false })
    expect(main.text).toContain(`[More](${base}/more)`)
    expect(main.text).not.toContain('Menu')
    expect(await fetch('/story', { whole: true })).toMatchObject({ part: 'whole', text: expect.stringContaining('Menu') as string })
  })

  test('a PDF file: all pages, or those asked for; a damaged one says so, and the next is read all the same', async () => {
    expect(await fetch('/report')).toMatchObject({ title: 'Report', pages: { first: 1, last: 3, of: 3 } })
    await expect(fetch('/damaged')).rejects.toMatchObject({ code: 'unsupported-content' })
    expect(await fetch('/report', { pages: { first: 2, last: 2 } })).toMatchObject({
      text: '--- page 2 ---\nPage 2 of the report',
      pages: { first: 2, last: 2, of: 3 },
    })
  })

  test('the reader reaches nothing: neither files nor network nor other actors', () => {
    const live = kernel.actors.get('reader')
    expect(live?.entry.manifest.grants).toEqual([])
    expect(live?.port?.jail).toBeNull()
    expect(Object.values(live?.facts ?? {}).some((may) => may)).toBe(false)
    expect(Object.keys(live?.facts ?? {})).not.toEqual([])
  })
})

describe('in a connected folder', () => {
  let home: Home
  let server: ScriptedServer
  let close: ScriptedHome['close']
  beforeAll(async () => {
    ;({ home, server, close } = await openScriptedHome({ BULKHEAD_VM: 'off' }))
  })
  afterAll(() => close())

  test('single pages of a PDF file, however large it is', async () => {
    const work = home.folder('work')
    // What is shown whole may not be as large as this.
    writeFileSync(join(work, 'report.pdf'), Buffer.concat([report, Buffer.alloc(5_000_000, '%')]))
    writeFileSync(join(work, 'notes.txt'), 'no pages')
    const read = (file_path: string, pages?: string) => use('Read', { file_path, ...(pages === undefined ? {} : { pages }) })
    const results: string[] = []
    server.script([
      [read('work/report.pdf'), read('work/report.pdf', '2-'), read('work/notes.txt', '1'), read('work/report.pdf', '9')],
      (request) => {
        results.push(...[...toolResults(request).values()].map(({ text }) => text))
        return [say('done')]
      },
    ])
    const run = await home.prompt('read', ['--folder', work])
    expect(results, run.story).toHaveLength(4)
    expect(results[0]).toContain('Code: too-large')
    expect(results[1]).toContain('Page 2 of the report')
    expect(results[1]).toContain('(pages 2 to 3 of 3)')
    expect(results[2]).toContain('Code: unsupported-content')
    expect(results[3]).toContain('The document has 3.')
  })
})
