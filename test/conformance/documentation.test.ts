/** What the documentation shows is true: commands are commands, settings are settings, every client method is described. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { clientMethods, prefix } from '../../actors/gateway/client-methods.ts'
import { readValues } from '../../actors/policy/evaluate.ts'
import { parseCommand } from '../../client/args.ts'
import { checkout } from '../harness/product.ts'

const documents = ['README.md', ...readdirSync(join(checkout, 'docs')).filter((name) => name.endsWith('.md'))].map((name) => ({
  name,
  text: readFileSync(name === 'README.md' ? join(checkout, name) : join(checkout, 'docs', name), 'utf8'),
}))

/** Fenced blocks of a language. */
const blocks = (text: string, language: string) =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].flatMap(([, fence, body = '']) => (fence === language ? [body] : []))

/** Words of a command line as a shell splits them, without expansions: the documentation uses none. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare ?? '')
}

const commands = documents.flatMap(({ name, text }) =>
  blocks(text, 'sh')
    .flatMap((body) => body.split('\n'))
    .flatMap((line) => {
      const [, rest] = /^(?:\w+=\S+ )*(?:bulkhead|npm start --)(?: (.*))?$/.exec(line) ?? [null]
      // Set-up is done before the client is started.
      return rest === null || rest === 'setup' ? [] : [[name, line, words(rest ?? '')] as const]
    }),
)

test('there are commands to look at', () => expect(commands.length).toBeGreaterThan(15))

test.each(commands)('%s: %s', (_name, _line, args) => {
  expect(() => parseCommand(args)).not.toThrow()
})

describe('settings', () => {
  const settings = documents
    .filter(({ name }) => name === 'ADMINS.md' || name === 'POLICY.md')
    .flatMap(({ name, text }) => blocks(text, 'json').map((body) => [name, body] as const))
  test.each(settings)('%s: %s', (_name, body) => {
    expect(readValues(JSON.parse(body) as Record<string, unknown>, 'example', { home: '/home/ada', user: 'ada' }).problems).toEqual([])
  })
})

describe('PROTOCOL.md', () => {
  const { text } = documents.find(({ name }) => name === 'PROTOCOL.md') as { text: string }
  test.each(Object.keys(clientMethods))('%s is described', (method) => expect(text).toContain(`\`${prefix}${method}\``))
  test('describes no method that is not there', () => {
    const notifications = ['event', 'vm', 'shell', 'permission_resolved', '…']
    const named = [...text.matchAll(/`_bulkhead\/([^`]+)`/g)].map(([, name = '']) => name)
    expect(named.filter((name) => !Object.hasOwn(clientMethods, name) && !notifications.includes(name))).toEqual([])
  })
  test.each(blocks(text, 'json').flatMap((body) => body.trim().split('\n')))('%s', (line) => {
    const { method, params } = JSON.parse(line) as { method: string; params: unknown }
    const schema = clientMethods[method.slice(prefix.length) as keyof typeof clientMethods]
    expect(() => schema.parse(params)).not.toThrow()
  })
})
