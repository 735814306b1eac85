/** A web page as Markdown: what a reader came for, or all of it. Pure. */
import { isProbablyReaderable, Readability } from '@mozilla/readability'
import { parseHTML } from 'linkedom'
import TurndownService from 'turndown'
import type { BodyOf, ReplyOf } from '../../kernel/index.ts'
import { limits } from './limits.ts'
import type { protocol } from './protocol.ts'

type Reply = ReplyOf<typeof protocol, 'page'>

const noContent = ['script', 'style', 'noscript', 'template', 'title', 'meta', 'link', 'iframe', 'object', 'canvas', 'svg'] as const
/** Deeper than any page people write; parsers' time grows with depth times length, and their recursion with depth. */
const deepest = 400
/** Elements that need no end tag: left open they do not nest. */
const unnested = new Set(
  'area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead tbody tfoot option optgroup html head body'.split(
    ' ',
  ),
)

const turndown = new TurndownService({ headingStyle: 'atx', codeBlockStyle: 'fenced', bulletListMarker: '-' }).remove([
  ...noContent,
] as never)

/** As much of a document as is used here; the project's types have no browser in them. */
type Element = { getAttribute(name: string): string | null; setAttribute(name: string, value: string): void }
type Document = {
  title: string
  body: Element | null
  documentElement: Element
  querySelector(selector: string): Element | null
  querySelectorAll(selector: string): Iterable<Element>
}

export function readPage({ html, url, whole }: BodyOf<typeof protocol, 'page'>): Reply {
  if (nesting(html) > deepest) return reply(null, bareText(html), 'whole')
  try {
    const document = parse(html, url)
    const title = document.title.replace(/\s+/g, ' ').trim() || null
    if (whole || !isProbablyReaderable(document as never)) return reply(title, wholeText(document), 'whole')
    const article = new Readability<unknown>(document as never, { serializer: (node: unknown) => node }).parse()
    if (article?.content && article.textContent?.trim())
      return reply(article.title?.trim() || title, markdown(article.content as Element), 'article')
    // It takes documents apart in search of an article.
    return reply(title, wholeText(parse(html, url)), 'whole')
  } catch {
    // Hostile nesting overflows a parser's recursion; bare text still serves the reader.
    return reply(null, bareText(html), 'whole')
  }
}

function reply(title: string | null, text: string, part: Reply['part']): Reply {
  const cut = text.length > limits.textChars
  return { title: title?.slice(0, limits.titleChars) ?? null, text: cut ? text.slice(0, limits.textChars) : text, part, truncated: cut }
}

function parse(html: string, url: string): Document {
  // A fragment has no place for what it holds until it is given a body.
  const source = /<(html|body|head)[\s>]/i.test(html) ? html : `<html><body>${html}</body></html>`
  const { document } = parseHTML(source) as unknown as { document: Document }
  const base = document.querySelector('base[href]')?.getAttribute('href')
  const from = base && URL.canParse(base, url) ? new URL(base, url).href : url
  complete(document, 'a[href]', 'href', from)
  complete(document, 'img[src]', 'src', from)
  return document
}

/** A relative address is of no use to whoever has the text alone. */
function complete(document: Document, selector: string, attribute: string, from: string): void {
  for (const element of document.querySelectorAll(selector)) {
    const said = element.getAttribute(attribute) ?? ''
    if (!said.startsWith('#') && URL.canParse(said, from)) element.setAttribute(attribute, new URL(said, from).href)
  }
}

function wholeText({ body, documentElement }: Document): string {
  return markdown(body ?? documentElement)
}

function markdown(node: Element): string {
  return turndown.turndown(node as never).trim()
}

function nesting(html: string): number {
  let depth = 0
  let most = 0
  for (const [, end, name = ''] of html.matchAll(/<(\/?)([a-z][a-z0-9-]*)/gi)) {
    if (unnested.has(name.toLowerCase())) continue
    depth = end ? Math.max(0, depth - 1) : depth + 1
    most = Math.max(most, depth)
  }
  return most
}

/** In one pass: what a page writes must not decide how long this takes. */
function bareText(html: string): string {
  const out: string[] = []
  let hidden: string | null = null
  for (const piece of html.split('<')) {
    const tag = /^\/?[a-z]+/i.exec(piece)?.[0].toLowerCase()
    if (hidden === null && (tag === 'script' || tag === 'style')) hidden = `/${tag}`
    else if (hidden === tag) hidden = null
    const end = piece.indexOf('>')
    if (hidden === null) out.push(end === -1 && tag !== undefined ? '' : piece.slice(end + 1))
  }
  return out.join(' ').replace(/\s+/g, ' ').trim()
}
