/** Tests only: the conversation's tools over a real folder, with results in the form the conversation gives them. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import picomatch from 'picomatch'

export type ToolAnswer = { text: string; isError: boolean }
export type FakeTools = { system: string; run(name: string, input: Record<string, unknown>): ToolAnswer }

/** `override` answers in place of a tool, when it returns something. Commands run on this machine, with the workspace path replaced. */
export function fakeTools(
  folders: readonly { name: string; root: string; mode: 'rw' | 'ro' }[],
  override: (name: string, input: Record<string, unknown>) => ToolAnswer | undefined = () => undefined,
): FakeTools {
  const workspaceOf = (name: string) => `/sessions/s-1/mnt/${name}`
  const lines = folders.map(({ name, root, mode }) => `- name: ${name} | path: ${root} | mode: ${mode} | workspace: ${workspaceOf(name)}`)
  const system = ['You are Bulkhead.', '', '<connected-folders>', ...lines, '</connected-folders>', '', 'Allowed hosts: none'].join('\n')
  const ok = (text: string): ToolAnswer => ({ text, isError: false })
  const fail = (code: string, message: string): ToolAnswer => ({ text: `${message}\nCode: ${code}\nRemedy: none.`, isError: true })
  const inside = (file: string) => folders.find(({ root }) => file === root || file.startsWith(`${root}/`))
  const walk = (root: string) =>
    fs
      .readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .toSorted()

  function run(name: string, input: Record<string, unknown>): ToolAnswer {
    const answered = override(name, input)
    if (answered) return answered
    const file = stringOf(input['file_path'] ?? input['path'] ?? '')
    const folder = inside(file)
    if (file !== '' && !folder) return fail('outside-folder', `${file} is not inside a connected folder.`)
    switch (name) {
      case 'Glob': {
        const roots = folder ? [file] : folders.map(({ root }) => root)
        const found = roots.flatMap((root) => walk(root).filter((one) => picomatch(String(input['pattern']))(path.relative(root, one))))
        return ok(found.length === 0 ? 'No file matches.' : found.join('\n'))
      }
      case 'Read': {
        if (!fs.existsSync(file)) return fail('not-found', `There is no ${file}.`)
        const text = fs.readFileSync(file, 'utf8')
        if (text === '') return ok('(the file is empty)')
        const all = text.replace(/\n$/, '').split('\n')
        const offset = Number(input['offset'] ?? 1)
        const shown = all
          .slice(offset - 1, offset - 1 + Number(input['limit'] ?? 2000))
          .map((line, index) => `${String(offset + index).padStart(6)}\t${line}`)
        return ok(
          [
            ...shown,
            ...(shown.length < all.length
              ? [`(more follows: the file has ${text.length} bytes; read on with offset ${offset + shown.length})`]
              : []),
          ].join('\n'),
        )
      }
      case 'Grep': {
        const pattern = new RegExp(String(input['pattern']))
        const glob = input['glob'] === undefined ? () => true : picomatch(stringOf(input['glob']), { basename: true })
        const hits = folders
          .flatMap(({ root }) => walk(root))
          .filter((one) => (file === '' || one.startsWith(file)) && glob(one))
          .flatMap((one) =>
            fs
              .readFileSync(one, 'utf8')
              .split('\n')
              .flatMap((line, index) => (pattern.test(line) ? [`${one}:${index + 1}:${line}`] : [])),
          )
        return ok(hits.length === 0 ? 'No match.' : hits.join('\n'))
      }
      case 'Write': {
        if (folder?.mode !== 'rw') return fail('read-only', `${folder?.name} is connected read-only.`)
        fs.mkdirSync(path.dirname(file), { recursive: true })
        fs.writeFileSync(file, String(input['content']))
        return ok(`Created ${path.basename(file)}.`)
      }
      case 'Edit': {
        const text = fs.readFileSync(file, 'utf8')
        const pieces = text.split(String(input['old_string']))
        if (pieces.length === 1) return fail('no-match', 'The text to replace is not in the file.')
        if (pieces.length > 2 && input['replace_all'] !== true) return fail('ambiguous-match', 'It occurs more than once.')
        fs.writeFileSync(file, pieces.join(String(input['new_string'])))
        return ok(`Edited ${path.basename(file)}: ${pieces.length - 1} replacement${pieces.length === 2 ? '' : 's'}.\n`)
      }
      case 'Bash': {
        const command = folders.reduce(
          (text, { name: folderName, root }) => text.replaceAll(workspaceOf(folderName), root),
          String(input['command']),
        )
        const { status, stdout, stderr } = spawnSync('bash', ['-c', command], {
          encoding: 'utf8',
          env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
        })
        return {
          text: `${(stdout + stderr).replace(/\n$/, '') || '(no output)'}\n[exit code ${status}, cwd /sessions/s-1]`,
          isError: status !== 0,
        }
      }
      default:
        return fail('unknown-tool', `There is no tool "${name}".`)
    }
  }
  return { system, run }
}

function stringOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
