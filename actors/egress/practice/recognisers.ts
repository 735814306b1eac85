/** Shapes of plain English, each a function from a clause to what it asks for, or null. Pure. */
import { type Aside, asidePattern, filePattern, onlyAside, restore } from './clauses.ts'
import type { Intent } from './intents.ts'
import { readQuestion } from './question.ts'
import { rearranging } from './rearranging.ts'
import { usingTool } from './tool-requests.ts'

type Recogniser = (clause: string, asides: readonly Aside[], before: readonly Intent[]) => Intent | readonly Intent[] | null

const fetching: Recogniser = (clause, asides) => {
  const url = asides.find((aside, index) => aside.kind === 'url' && clause.includes(`⟦${index}⟧`))?.raw
  if (url && !/^(?:run|execute|search|grep|write|save|replace|change)\b/i.test(clause)) return { do: 'fetch', url }
  const [, host] =
    /^(?:fetch|download|visit|get|browse(?: to)?)\s+(?:the )?(?:(?:web ?)?(?:page|site)\s+)?((?:[\w-]+\.)+[a-z]{2,}(?:[:/]\S*)?)$/i.exec(
      clause,
    ) ?? []
  return host ? { do: 'fetch', url: `https://${host}` } : null
}

const searchingWeb: Recogniser = (clause, asides) => {
  const [, query] =
    /^(?:search|look)\s+(?:on\s+|in\s+)?(?:the\s+)?(?:web|internet|net)\s+for\s+(.+)$/is.exec(clause) ??
    /^(?:search|look)\s+(?:online|on line)\s+for\s+(.+)$/is.exec(clause) ??
    /^(?:search for|look up|find)\s+(.+?)\s+(?:online|on the (?:web|internet|net))$/is.exec(clause) ??
    []
  return query === undefined ? null : { do: 'web-search', query: restore(query, asides) }
}

const editing: Recogniser = (clause, asides, before) => {
  const [, early] =
    new RegExp(`^(?:in|edit|open|update)\\s+(?:the file\\s+)?(${filePattern})\\s*[,:]?\\s+(?=replace|change|substitute|swap)`, 'i').exec(
      clause,
    ) ?? []
  const rest = early ? clause.slice(clause.search(/(?:replace|change|substitute|swap)\b/i)) : clause
  const body =
    /^(?:replace|change|substitute|swap)\s+(?:all\s+|every\s+|each\s+)?(?:(?:the\s+)?(?:occurrences?|instances?)\s+of\s+)?(?:the\s+(?:words?|text|string|line)\s+)?(.+?)\s+(?:with|by|to|for|into)\s+(?:the\s+(?:words?|text|string)\s+)?(.+)$/is.exec(
      rest,
    )
  if (!body) return null
  const [, from = '', tail = ''] = body
  const [, to = tail, late] =
    new RegExp(`^(.+?)\\s+(?:in|inside|within|of)\\s+(?:the file\\s+)?(${filePattern}|\\S+)$`, 'is').exec(tail) ?? []
  const file = restore(early ?? late ?? '', asides) || lastFile(before)
  return file
    ? { do: 'edit', file, from: restore(from, asides), to: restore(to, asides) }
    : { do: 'cannot', what: 'tell which file to change; please name it' }
}

const composing =
  /\b(?:poem|haiku|story|essay|letter|e-?mail|song|joke|article|blog|speech|novel|limerick|script|program|function|class|code|app|website|presentation|slides?)\b/i
const reference =
  /^(?:it|that|this|them|these|those|the|a|an|all|my|your|of|with|about|and|for|me|up|down|out|results?|reports?|summar(?:y|ies)|answers?|outputs?|tables?|lists?|totals?|findings?|figures?|numbers?|everything|short|brief|small|nice|new|full|complete|final|markdown|md|text|file|files|document|what you found|found|you|what|pages?|contents?)$/i

const writing: Recogniser = (clause, asides, before) => {
  const [, told = ''] =
    /^(?:write|save|put|store|create|make|produce|generate|output|export|draft|compose)\b\s*([\s\S]*)$/i.exec(clause) ?? []
  if (told === '') return null
  const rest = told
    .replace(/\s+as\s+an?\s+(?:\w+\s+)?(?:table|list|report)$/i, '')
    .replace(/\s+(?:in|to|into|inside)\s+(?:the|this|that|my)\s+(?:\w+\s+)*(?:folder|directory|workspace)$/i, '')
  const withText = new RegExp(
    `^(?:an?\\s+|the\\s+)?(?:new\\s+)?(?:text\\s+)?(?:file\\s+)?(?:called\\s+|named\\s+)?(${filePattern})\\s+(?:that (?:says|contains)|saying|containing|with)\\s+(?:the\\s+)?(?:(?:text|contents?|words?|line)\\b\\s*)?(?:of\\s+)?:?\\s*([\\s\\S]+)$`,
    'i',
  ).exec(rest)
  const computed = withText?.[2] && !withText[2].startsWith('⟦') ? tabulating(withText[2].replace(/^the\s+/i, ''), asides, before) : null
  if (withText?.[1] && computed && 'do' in computed) return [computed, { do: 'save', file: restore(withText[1], asides) }]
  if (withText?.[1] && withText[2] && !isReference(withText[2]))
    return { do: 'write', file: restore(withText[1], asides), content: restore(withText[2], asides) }
  const { content, file } = splitTarget(rest, asides)
  if (/^⟦\d+⟧$/.test(content) && file) return { do: 'write', file, content: restore(content, asides) }
  if (composing.test(content) && !content.startsWith('⟦')) return { do: 'cannot', what: `write ${restore(content, asides)}` }
  const target: Intent =
    file === null ? { do: 'save', file: /summar/i.test(content) ? 'summary.md' : 'report.md', unnamed: true } : { do: 'save', file }
  if (isReference(content)) return target
  const [, about] =
    /^(?:an?\s+|the\s+)?(?:\w+\s+)?(?:reports?|summary|table|list|overview)\s+(?:of|about|on|with|showing|for|that shows)\s+(.+)$/is.exec(
      content,
    ) ?? []
  if (about) {
    const inner = recognise(about, asides, before, writing)
    const first = inner ?? (/\b(?:summary|overview)\b/i.test(content) ? asList(summarising(`summarise ${about}`, asides, before)) : null)
    if (first) return [...first, target]
  }
  const question = content.startsWith('⟦') ? null : tabulating(content.replace(/^(?:the|an?)\s+/i, ''), asides, before)
  if (question && 'do' in question) return [question, target]
  return file && content !== '' ? { do: 'write', file, content: restore(content, asides) } : null
}

const running: Recogniser = (clause, asides) => {
  const [, told = ''] =
    /^(?:run|execute|exec|launch|start|invoke)\s+(?:the\s+|this\s+|an?\s+)?(?:(?:shell|bash|linux|following|python)\s+)*(?:commands?|cmd|scripts?|programs?|code)?\s*:?\s*([\s\S]+)$/i.exec(
      clause,
    ) ?? []
  const bare = told === '' && onlyAside(clause, asides)?.kind === 'code' ? clause : told
  if (bare === '') return null
  const [, seconds, unit] =
    /[\s,]+(?:with\s+)?(?:an?\s+)?timeout\s+(?:of\s+)?(\d+)\s*(ms|s|sec|seconds?|m|min|minutes?)\b/i.exec(bare) ?? []
  const text = bare
    .replace(/[\s,]+(?:with\s+)?(?:an?\s+)?timeout\s+(?:of\s+)?\d+\s*\w+/i, '')
    .replace(/\s+(?:in|inside)\s+the\s+(?:vm|workspace|sandbox|virtual machine|shell|terminal)$/i, '')
  const timeoutMs =
    seconds === undefined ? undefined : Math.min(600_000, Number(seconds) * (unit === 'ms' ? 1 : unit?.startsWith('m') ? 60_000 : 1_000))
  const aside = onlyAside(text, asides)
  const program = scriptProgram(restore(text, asides))
  if (program && !aside?.language) return { do: 'script', file: restore(text, asides).trim(), program }
  const command =
    aside?.language && /^py/i.test(aside.language) ? `python3 - <<'SCRIPT'\n${aside.raw}\nSCRIPT` : restoreCommand(text, asides)
  return { do: 'run', command, ...(timeoutMs === undefined ? {} : { timeoutMs }) }
}

const summarising: Recogniser = (clause, asides, before) => {
  const [, rest = ''] =
    /^(?:summari[sz]e|describe|outline|(?:give|show)\s+(?:me\s+)?(?:an?\s+)?(?:short\s+|brief\s+)?(?:summary|overview)\s+of)\s+([\s\S]+)$/i.exec(
      clause,
    ) ?? []
  if (rest === '') return null
  const files = filesIn(rest, asides)
  if (files.length === 0 && /\b(?:by|per|for each|grouped)\b/i.test(rest)) return null
  if (/^(?:it|that|this)\b/i.test(rest) && before.at(-1)?.do === 'fetch') return { do: 'look', files: [] }
  if (files.length === 0 && /^(?:it|them|that|this|those|these)\b/i.test(rest)) {
    const file = lastFile(before)
    return { do: 'summarise', files: file ? [file] : [] }
  }
  const kind = extensions.get(/\b(\w+)\s+files?\b/i.exec(rest)?.[1]?.toLowerCase() ?? '')
  return { do: 'summarise', files: files.length > 0 ? files : kind ? [`*.${kind}`] : globsIn(rest) }
}

const counting: Recogniser = (clause, asides) => {
  const [, what = '', file = ''] =
    new RegExp(
      `^(?:count|how many)\\s+(?:the\\s+)?(lines|words|characters|bytes)\\s+(?:are\\s+)?(?:there\\s+)?(?:in|of)\\s+(${filePattern})$`,
      'i',
    ).exec(clause) ?? []
  if (what === '') return null
  return {
    do: 'script',
    file: restore(file, asides),
    program: `wc -${{ lines: 'l', words: 'w', characters: 'm', bytes: 'c' }[what.toLowerCase()] ?? 'l'}`,
  }
}

const tabulating: Recogniser = (clause, asides, before) => {
  if (/^(?:search|grep|look|locate)\b/i.test(clause)) return null
  const earlier = before.findLast((intent) => intent.do === 'tabulate')
  // Quoted column names are words of the question; quoted values are told apart by what stands before them.
  const words = clause.replace(/(?<!(?:\bis|\bnot|\bequals?|\bcontains|\bthan|[=<>])\s*)⟦(\d+)⟧/g, (token, index) => {
    const { kind, raw } = asides[Number(index)] ?? { kind: 'url', raw: '' }
    return kind !== 'url' && /^[\p{L}\p{N}_ %()#$€£-]+$/u.test(raw) ? raw.replace(/[()]/g, ' ') : token
  })
  const question = readQuestion(words, {
    files: filesIn(clause, asides).filter((file) => /[./]/.test(file)),
    restore: (text) => restore(text, asides),
    earlier: earlier?.question ?? null,
  })
  return question ? { do: 'tabulate', question } : null
}

const listing: Recogniser = (clause, asides) => {
  const named =
    /^(?:find|list|show|locate|search for|look for)\s+(?:me\s+)?(?:all\s+)?(?:the\s+)?files?\s+(?:named|called|matching|like|ending (?:in|with))\s+(\S+)/i.exec(
      clause,
    )
  if (named?.[1]) {
    const wanted = restore(named[1], asides)
    return { do: 'list', pattern: wanted.includes('/') ? wanted : `**/${/ending/i.test(clause) ? '*' : ''}${wanted}`, path: null }
  }
  const [glob] = globsIn(restore(clause, asides))
  const asks = /^(?:list|ls|dir|show|display|find|what|which|tell|give|see)\b/i.test(clause)
  if (asks && glob && !/\b(?:for|contain\w*|mention\w*|with|occurrences?|lines?|references?|uses?)\b/i.test(clause))
    return { do: 'list', pattern: glob.includes('/') ? glob : `**/${glob}`, path: null }
  const nouns = /\b(?:files?|folders?|director(?:y|ies)|documents?|everything|contents?)\b/i
  const fileNamed = new RegExp(filePattern).test(clause.replace(/\bin\s+\S+\/$/, ''))
  if (/^(?:ls|dir)$/i.test(clause) || /^list$/i.test(clause)) return { do: 'list', pattern: '**/*', path: null }
  if (
    /^list\b/i.test(clause) ||
    (asks && nouns.test(clause) && !fileNamed && !/\b(?:mention|contain)/i.test(clause)) ||
    /^what(?:'s| is)\s+(?:in\s+)?(?:here|there|this folder)/i.test(clause)
  ) {
    const [, kind] = /\b(?:all\s+|the\s+)*\.?(\w+)\s+files?\b/i.exec(clause) ?? []
    const extension = kind ? extensions.get(kind.toLowerCase()) : undefined
    const [, place] =
      /\b(?:in|under|of|inside)\s+(?:the\s+)?(?:folder\s+|directory\s+)?([\w@~./⟦⟧-]+)(?:\s+(?:folder|directory))?$/i.exec(clause) ?? []
    const path =
      place && !/^(?:folders?|here|there|it|this|that|my|connected|workspace|directory|files?)$/i.test(place)
        ? restore(place, asides)
        : null
    return { do: 'list', pattern: extension ? `**/*.${extension}` : '**/*', path }
  }
  return null
}

const searching: Recogniser = (clause, asides) => {
  const shapes = [
    /^(?:search|grep|look|scan|check)\s+(?:(?:in|through)\s+)?(?<place>.*?)\s*\bfor\s+(?<what>.+)$/is,
    /^(?:find|list|show|get)\s+(?:me\s+)?(?:all\s+|every\s+|the\s+|each\s+)*(?:mentions?|occurrences?|lines?|references?|instances?|places?|uses?|files?|documents?)\s+(?:of|to|containing|with|that (?:contain|mention|have)|mentioning|matching|where)\s+(?<what>.+)$/is,
    /^(?:which|what)\s+(?:files?|documents?|lines?)\s+(?:mentions?|contains?|has|have)\s+(?<what>.+)$/is,
    /^where\s+(?:is|are|does|do)\s+(?<what>.+?)(?:\s+(?:mentioned|used|defined|appear|occur))?$/is,
    /^(?:grep|search|find|locate)\s+(?<what>.+)$/is,
  ]
  const match = shapes.reduce<RegExpExecArray | null>((got, shape) => got ?? shape.exec(clause), null)
  const groups = match?.groups
  if (!groups?.['what']) return null
  const [, wanted = groups['what'], where = groups['place'] ?? ''] =
    /^(.+?)\s+(?:in|inside|within|across|under|among)\s+(.+)$/is.exec(groups['what']) ?? []
  const text = wanted.replace(/^(?:the\s+)?(?:words?|text|string|phrase|term|pattern)\s+/i, '').replace(/^(?:all|every|any)\s+/i, '')
  const shown = restore(text, asides)
  const [, expression] = /^\/(.+)\/$/.exec(shown) ?? []
  const place = restore(where, asides)
    .replace(/^(?:all\s+|the\s+|my\s+|this\s+|these\s+)+/i, '')
    .replace(/\s+(?:files?|folder|directory)$/i, '')
  const [glob] = globsIn(place)
  const kind = extensions.get(place.toLowerCase())
  const vague =
    place === '' || /^(?:files?|folders?|here|it|them|everything|everywhere|directory|documents?|connected folders?)$/i.test(place)
  return {
    do: 'search',
    pattern: expression ?? escapeRegex(shown),
    shown,
    glob: glob ?? (kind ? `*.${kind}` : null),
    path: glob || kind || vague ? null : place,
  }
}

const reading: Recogniser = (clause, asides, before) => {
  const match =
    /^(?:read|show|open|display|print|cat|view|type|give|get|see|what(?:'s|\s+is)|what does)\s+(?:me\s+)?(?:in(?:side)?\s+)?(?:the\s+)?([\s\S]+?)(?:\s+(?:say|contain|file))?$/i.exec(
      clause,
    )
  if (!match?.[1]) return null
  const rest = match[1].replace(/^(?:(?:whole\s+|full\s+)?(?:contents?|text)\s+of\s+)(?:the\s+)?/i, '')
  const [, first] = /\bfirst\s+(\d+)\s+lines\b/i.exec(rest) ?? []
  const [, from, to] = /\blines\s+(\d+)\s*(?:-|–|to|through)\s*(\d+)\b/i.exec(rest) ?? []
  const span = first
    ? { limit: Number(first) }
    : from && to
      ? { offset: Math.max(1, Number(from)), limit: Math.max(1, Number(to) - Number(from) + 1) }
      : {}
  const named = filesIn(rest, asides)
  if (named.length > 0) return { do: 'read', files: named, ...span }
  if (/^(?:it|them|that|this)\b/i.test(rest)) {
    const file = lastFile(before)
    return file ? { do: 'read', files: [file], ...span } : null
  }
  if (!/^(?:read|open|cat|print|view|show|display)\b/i.test(clause)) return null
  const plain = rest.replace(/^(?:files?\s+)/i, '')
  const words = plain.split(/\s*,\s*(?:and\s+)?|\s+and\s+/).map((word) => restore(word, asides))
  return words.every((word) => /^[^\s]+$/.test(word)) ? { do: 'read', files: words, ...span } : null
}

const looking: Recogniser = (clause, asides) => {
  if (
    !/^(?:look (?:at|into)|analy[sz]e|check|inspect|examine|use|take|open|go through|process|consider|study|edit|update|modify)\b/i.test(
      clause,
    )
  )
    return null
  const files = filesIn(clause, asides)
  return files.length > 0 || /\b(?:files?|folder|csvs?|data|tables?|directory)\b/i.test(clause) ? { do: 'look', files } : null
}

const helping: Recogniser = (clause) =>
  /^(?:help|what can you do|who are you|what are you|hello|hi|hey|thanks|thank you)\b/i.test(clause) ? { do: 'help' } : null

/** Order matters: the more a shape asks of the words, the earlier it stands. */
const recognisers: readonly Recogniser[] = [
  helping,
  usingTool,
  searchingWeb,
  fetching,
  rearranging,
  editing,
  running,
  summarising,
  counting,
  tabulating,
  writing,
  listing,
  searching,
  reading,
  looking,
]

/** What the first shape that fits makes of a clause; null when none fits. `except` is left out. */
export function recognise(
  clause: string,
  asides: readonly Aside[],
  before: readonly Intent[],
  except?: Recogniser,
): readonly Intent[] | null {
  for (const recogniser of recognisers) {
    const found = recogniser === except ? null : recogniser(clause, asides, before)
    if (found) return asList(found)
  }
  return null
}

function asList(found: Intent | readonly Intent[] | null): readonly Intent[] | null {
  return found === null || !('do' in found) ? found : [found]
}

/** What people call kinds of files -> the extension. */
const extensions = new Map(
  Object.entries({
    csv: 'csv',
    tsv: 'tsv',
    text: 'txt',
    txt: 'txt',
    markdown: 'md',
    md: 'md',
    json: 'json',
    yaml: 'yaml',
    yml: 'yml',
    xml: 'xml',
    html: 'html',
    python: 'py',
    py: 'py',
    javascript: 'js',
    js: 'js',
    typescript: 'ts',
    ts: 'ts',
    log: 'log',
    pdf: 'pdf',
    image: '{png,jpg,jpeg,gif,svg}',
  }),
)

/** File-like words and quoted names, in order, without duplicates. */
function filesIn(text: string, asides: readonly Aside[]): string[] {
  const found = text.match(new RegExp(`${asidePattern}|${filePattern}`, 'g')) ?? []
  const names = found
    .map((one) => restore(one, asides))
    .filter((name) => name !== '' && !/[\n*?]/.test(name) && !/^https?:/.test(name) && (/[./]/.test(name) || found.length === 1))
  return [...new Set(names)].filter((name) => !/^\d+\.\d+$/.test(name))
}

function globsIn(text: string): string[] {
  return text.match(/[\w./{},-]*\*[\w./{},*?-]*/g) ?? []
}

function lastFile(before: readonly Intent[]): string | null {
  const intent = before.findLast(
    (one) =>
      one.do === 'read' ||
      (one.do === 'look' && one.files.length > 0) ||
      one.do === 'write' ||
      one.do === 'edit' ||
      one.do === 'save' ||
      (one.do === 'summarise' && one.files.length > 0),
  )
  if (!intent) return null
  return 'files' in intent ? (intent.files[0] ?? null) : 'file' in intent ? intent.file : null
}

function splitTarget(rest: string, asides: readonly Aside[]): { content: string; file: string | null } {
  const target = new RegExp(
    `^(?<content>[\\s\\S]*?)\\s*(?:\\b(?:in|into|to|as|at|called|named|under)\\s+)*(?:the\\s+|an?\\s+)?(?:(?:new\\s+)?file\\s+)?(?:called\\s+|named\\s+)?\\(?(?<file>${filePattern})\\)?(?:\\s+file)?$`,
    'i',
  ).exec(rest)
  if (!target?.groups) return { content: rest, file: null }
  return { content: (target.groups['content'] ?? '').trim(), file: restore(target.groups['file'] ?? '', asides) }
}

function isReference(text: string): boolean {
  return text.split(/[\s,:]+/).every((word) => word === '' || reference.test(word))
}

function scriptProgram(text: string): string | null {
  const [, extension] = /^[^\s|;&<>$]+\.(py|sh|js)$/i.exec(text.trim()) ?? []
  return extension ? ({ py: 'python3', sh: 'bash', js: 'node' }[extension.toLowerCase()] ?? null) : null
}

/** In a command quotes belong to the command; only a whole aside loses its own. */
function restoreCommand(text: string, asides: readonly Aside[]): string {
  if (onlyAside(text, asides)) return restore(text, asides)
  return text.replace(/⟦(\d+)⟧/g, (_, index) => asides[Number(index)]?.source ?? '')
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
